"""Optimisers: which rule moves which weight, with one file per rule. See docs/optimisers.md."""
