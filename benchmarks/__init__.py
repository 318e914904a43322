"""The demo on real handwritten digits, and the benchmarks: public names of ndconv only."""
