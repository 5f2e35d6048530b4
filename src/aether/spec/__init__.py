"""The nouns that everything passes around: frozen values, no heavy import, no behaviour beyond their own checks."""
