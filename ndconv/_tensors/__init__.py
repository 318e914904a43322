"""Running programs on tensors: cached or compiled, or step by step under a compiler; autocast, layouts and borders.

Knows torch. Of derivatives it knows their forms, and nothing else.
"""

from torch.compiler import is_compiling

from ndconv._form import cache

cache.passed_by = is_compiling
