"""The one autograd.Function, told which slot is open, and the code around it.

Knows derivatives. Does not know which program runs.
"""
