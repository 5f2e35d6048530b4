"""Exchangeable parts of a decoder, one file per family, and `PartsDecoder`, which puts them together. Needs torch."""
