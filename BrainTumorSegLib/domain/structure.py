"""Frozen dataclasses from plain values (JSON, TOML), with every type checked."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """A plain value as ``kind``: dataclasses, tuples, dicts and plain types, nested at will.

    Raises:
        TypeError: a value has another type, or a field without default is missing.
        ValueError: a field is not known, or a tuple has another length.
    """
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(kind)  # type: ignore[arg-type]
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"unknown field {where}{unknown[0]}")
        fields = {name: from_json(hints[name], item, f"{where}{name}.") for name, item in value.items()}
        return kind(**fields)  # type: ignore[operator]
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(from_json(k, item, where) for k, item in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {str(key): from_json(arguments[1], item, f"{where}{key}.") for key, item in value.items()}
    if kind is float:
        if type(value) in (int, float) and abs(value) <= sys.float_info.max:  # NaN and infinity are not
            return float(value)
    elif kind is int:
        if type(value) is int and abs(value) < 1 << 63:
            return value
    elif isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    name = getattr(kind, "__name__", str(kind))
    raise TypeError(f"{where.rstrip('.') or 'the value'} is {str(value)[:60]!r}, which is no {name}")
