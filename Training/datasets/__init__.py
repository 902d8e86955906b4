"""Data sets: where their files lie, how they are split, and how patches are drawn from them."""
