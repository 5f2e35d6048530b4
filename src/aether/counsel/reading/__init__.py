"""From free text to a request, without a language model: words and numbers by small grammars, names from the tables of knowledge."""
