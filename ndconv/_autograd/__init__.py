"""The one autograd.Function, told which slot is open, and what stands around it.

Knows derivatives. Which program runs is none of its business.
"""
