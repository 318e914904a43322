"""The machine and its speed: what torch says of it, rates for prices, and measurements.

Knows problems and prices. It does not know which lowering runs, nor why.
"""
