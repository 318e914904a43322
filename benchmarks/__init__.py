"""The demo on real handwritten digits, and the benchmarks: public names of ndconv only."""

import os

# torch's profiler, which measures memory, would say on stderr that it began and ended; read when torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")
