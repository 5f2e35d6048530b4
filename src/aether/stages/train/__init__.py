"""Pretraining of a decoder on packed documents: recipe, estimate, loop, checkpoints, and the ladder for loss spikes."""
