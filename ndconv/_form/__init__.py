"""The integers of a convolution: which indices belong together, its equations, and memories of answers about them.

Knows integers and symbols that stand for them. Imports nothing else of this library, and no torch.
"""
