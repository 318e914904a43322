"""Proof of the planner: predicted against measured time of every exact lowering, and the loss by its picks."""
