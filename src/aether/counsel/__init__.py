"""The engineer: brings brief, plan, run, evidence, verdict and report together. No LLM is needed."""
