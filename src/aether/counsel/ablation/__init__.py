"""Ablations: variants of one recipe, trained at equal compute with the same seeds, and what the differences show."""
