from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from BrainTumorSegLib.domain.structure import from_json


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    scale: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    many: tuple[Inner, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    on: bool = False


def test_nested_values() -> None:
    value = {
        "name": "a",
        "inner": {"size": [1, 2], "scale": 3},
        "many": [{"size": [4, 5]}],
        "table": {"x": 1},
        "anything": {"y": [1, {"z": None}]},
        "on": True,
    }
    assert from_json(Outer, value) == Outer(
        "a", Inner((1, 2), 3.0), (Inner((4, 5)),), {"x": 1.0}, {"y": [1, {"z": None}]}, True
    )


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"name": 1}, TypeError, "name"),
        ({"name": None}, TypeError, "name"),
        ({"inner": 3}, TypeError, "inner"),
        ({"inner": {"size": [1]}}, ValueError, ""),
        ({"inner": {"size": [1, 2, 3]}}, ValueError, ""),
        ({"inner": {"size": [1, 2.0]}}, TypeError, "inner.size"),
        ({"inner": {"size": [1, True]}}, TypeError, "inner.size"),
        ({"inner": {"size": [1, 2], "scale": "x"}}, TypeError, "inner.scale"),
        ({"inner": {"size": [1, 2], "scale": float("nan")}}, TypeError, "inner.scale"),
        ({"inner": {"size": [1, 2], "scale": True}}, TypeError, "inner.scale"),
        ({"inner": {}}, TypeError, "size"),
        ({"inner": {"size": [1, 2], "colour": 1}}, ValueError, "inner.colour"),
        ({"table": {"x": "1"}}, TypeError, "table.x"),
        ({"table": [1]}, TypeError, "table"),
        ({"many": {"size": [1, 2]}}, TypeError, "many"),
        ({"on": 1}, TypeError, "on"),
        ({"other": 1}, ValueError, "other"),
    ],
)
def test_mistyped_values_are_refused(change: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error) as caught:
        from_json(Outer, {"name": "a", "inner": {"size": [1, 2]}, **change})
    assert named in str(caught.value)


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(TypeError, match="inner"):
        from_json(Outer, {"name": "a"})
