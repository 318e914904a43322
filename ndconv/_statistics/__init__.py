"""Sums over gradients and windows that need neither all gradients nor all windows at once.

Knows tensors, the three operations on them, and what each way to a sum would take. It checks nothing.
"""
