"""Checkpoints: what they say of themselves, how they are stored, which are installed."""
