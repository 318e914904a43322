"""Programs run on tensors: looked up or compiled, at once where a compiler traces, with autocast, layouts and borders.

Knows torch. Of derivatives it knows which forms they have, and nothing else.
"""

from torch.compiler import is_compiling

from ndconv._form import cache

cache.passed_by = is_compiling
