"""Model surgery: another vocabulary, depth, number of heads or width for a trained model, with held-out texts before and after."""
