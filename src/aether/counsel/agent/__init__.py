"""The conversation with a language model: it decides words, tools decide numbers, and what it says is checked."""
