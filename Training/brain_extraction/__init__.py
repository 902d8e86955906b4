"""The included network for brain extraction: its training material and its training."""
