"""Defences of the server: who may ask and how often, what is let in, what is let out, and what is written down about it."""
