"""Aether: from a brief to a model that measurably meets it, or a proof that it cannot."""

__version__ = "0.1.0"
