"""Measures of agreement between segmentations."""

from .overlap import dice

__all__ = ["dice"]
