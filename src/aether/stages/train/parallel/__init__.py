"""Training by several processes on one grid of ranks: one file per kind of parallelism, launched by torchrun."""
