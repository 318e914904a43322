"""From a form to a program: what of it is computed in which dtype, and by which lowering.

Knows what was asked for and what each lowering's program costs. It sees no tensor.
"""
