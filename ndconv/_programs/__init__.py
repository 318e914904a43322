"""Programs: the steps that a lowering makes of a problem, on tensors of which everything but the numbers is known.

Knows integers. Programs are recorded, priced and written out as Python source here, but not run. Nothing here imports
torch.
"""
