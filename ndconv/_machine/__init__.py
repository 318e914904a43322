"""What this machine is and how fast it is: what torch says of it, rates for prices, and what was measured.

Knows problems and prices. It does not know which lowering runs, nor why.
"""
