"""What a language model claims in a reply, held against evidence: numbers, results, citations, code."""
