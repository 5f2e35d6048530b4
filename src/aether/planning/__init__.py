"""Brief to plan: what is impossible, what the pilots say, what each candidate would give, and the decision."""
