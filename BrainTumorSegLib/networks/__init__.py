"""Networks by name: one file a family, one table."""

from .family import NetworkFamily
from .registry import FAMILIES, create_network, family_of

__all__ = ["FAMILIES", "NetworkFamily", "create_network", "family_of"]
