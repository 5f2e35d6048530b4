"""What ruff is for Python, for model work: rules over training scripts, configurations, serving commands, manifests, requirements."""
