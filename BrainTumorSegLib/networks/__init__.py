"""Networks by name: one file a family, one registry."""

from .registry import NetworkFamily, create_network, families, register

__all__ = ["NetworkFamily", "create_network", "families", "register"]
