"""Sums over per-sample gradients and windows, without all gradients or all windows in memory at once.

Knows tensors, the three operations on them, and the cost of each method for a sum. It checks nothing.
"""
