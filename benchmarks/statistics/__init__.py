"""Statistics of gradients against other ways to compute them: time, memory, and the targets."""
