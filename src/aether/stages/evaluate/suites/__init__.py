"""Suites: tasks of lm-evaluation-harness, inspect-ai and one's own JSONL, against local weights or an endpoint, kept item by item."""
