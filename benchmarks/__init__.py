"""The demo on real handwritten digits, and the benchmarks: public names of ndconv only."""

import os

# Keeps torch's profiler, which measures memory, from printing to stderr. Read when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
