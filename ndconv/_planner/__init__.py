"""From a form to a program: which parts are computed, in which dtype, and by which lowering.

Knows the settings and what each lowering's program costs. It sees no tensor.
"""
