"""Statistics of gradients against how they are computed without ndconv: time, memory, and what was wished for."""
