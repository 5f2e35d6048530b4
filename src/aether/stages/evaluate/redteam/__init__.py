"""Red-teaming: known attacks on a model or an endpoint, judges held against people, over-refusal beside attack success."""
