"""Smaller or other models from a checkpoint: its vocabulary, so far."""
