"""From a training log or a run to what is wrong with it, the lines that show it, and the next experiment."""
