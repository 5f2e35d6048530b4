"""Benchmarks: Aether and its peers on the same work, in one run. Records are in `records/`."""
