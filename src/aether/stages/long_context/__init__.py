"""Whether a model really reads the longer context that it was extended to: loss by position, a pass key, and what short texts lost."""
