"""Programs: what a lowering makes of a problem, as steps on tensors of which everything but the numbers is known.

Knows integers. A program is recorded here, priced here and written out as Python source here; who runs it is further
down. Nothing here imports torch.
"""
