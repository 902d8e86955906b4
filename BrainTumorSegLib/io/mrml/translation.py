"""Translation by the application; the scene alone (slicer-core) has none, and speaks English."""

from __future__ import annotations

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text itself."""
        return text


__all__ = ["tr"]
