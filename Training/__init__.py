"""Offline training: recipes in, self-describing checkpoints out."""
