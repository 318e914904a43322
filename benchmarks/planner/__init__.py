"""Proof of the planner: what it predicts of every exact lowering against what that takes, and what its picks cost."""
