"""Architectures, tokenizers, and weights in and out. `config` is torch-free; the rest needs the `train` extra."""
