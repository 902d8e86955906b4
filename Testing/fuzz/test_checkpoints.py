"""Properties of what parses checkpoints: whatever a file says, it is taken or refused in our own words."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.models.checkpoint_file import check_fit
from BrainTumorSegLib.models.description import parse_description
from BrainTumorSegLib.models.limits import is_plain
from BrainTumorSegLib.models.model_card import model_card
from BrainTumorSegLib.models.quantisation import unpacked
from BrainTumorSegLib.models.tensor_file import StoredTensor, read_header
from BrainTumorSegLib.networks import FAMILIES, create_network, family_of
from BrainTumorSegLib.networks.outline import shapes_only
from Testing.forging import assembled
from Testing.samples import describe_model

# The same examples at every run.
some = settings(max_examples=150, deadline=None, derandomize=True, database=None)

texts = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["t1", "WT", "n4", "unet", "\x1b[2J", "\ud800", "x" * 999]
)
numbers = st.integers() | st.floats() | st.sampled_from([10**9, 10**400, 2**63, 1e-300])
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


def places(plain: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and dicts."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [where, *(place for key, item in inner for place in places(item, (*where, key)))][not where :]


PLAIN = json.loads(json.dumps(dataclasses.asdict(describe_model())))


@some
@given(st.sampled_from(places(PLAIN)), values)
def test_any_value_anywhere_in_a_description(place: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(PLAIN))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        description = parse_description(json.dumps(changed), "file")
    except CheckpointError as error:
        assert error.sentence().isprintable()
        return
    assert is_plain(model_card(description))
    assert description.modality_subsets
    assert parse_description(json.dumps(dataclasses.asdict(description)), "file") == description


@some
@given(st.binary(max_size=60), st.integers(-9, 9), st.binary(max_size=20))
def test_any_header(text: bytes, off: int, body: bytes) -> None:
    content = max(len(text) + 2 + off, 0).to_bytes(8, "little") + b"{" + text + b"}" + body
    with pytest.raises(CheckpointError):
        read_header(io.BytesIO(content), "file")


@some
@given(
    st.dictionaries(texts, values | st.fixed_dictionaries({"dtype": texts, "shape": values, "data_offsets": values}))
)
def test_any_table(table: dict[str, Any]) -> None:
    """What is let through fills the file without gap or overlap."""
    content = assembled(json.dumps(PLAIN), {name: v for name, v in table.items() if name != "__metadata__"}, b"")
    try:
        header = read_header(io.BytesIO(content), "file")
    except CheckpointError:
        return
    assert all(0 in tensor.shape for tensor in header.tensors.values())


ARGUMENTS = [
    "width",
    "widths",
    "levels",
    "blocks_down",
    "blocks_up",
    "filters",
    "channels",
    "depths",
    "heads",
    "window",
    "form",
    "encoder",
    "decoder",
    "dropout",
    "norm",
    "residual",
    "availability",
    "multitask",
    "x",
]
shapes = st.lists(st.integers(0, 9) | st.just(10**6), max_size=5).map(tuple)


@some
@given(shapes, shapes, st.sampled_from(["F16", "F32", "I8", "I64"]))
def test_what_is_unpacked_is_no_larger_than_four_times_itself(
    kernel: tuple[int, ...], scale: tuple[int, ...], kind: str
) -> None:
    stored = {"w": StoredTensor("I8", kernel), "w.scale": StoredTensor(kind, scale)}
    try:
        weights = unpacked(stored)
    except CheckpointError:
        return
    assert weights == {"w": StoredTensor("F32", kernel)}
    assert scale[0] == kernel[0] and kernel[1] % scale[1] == 0


@settings(some, max_examples=250)
@given(
    st.sampled_from(sorted(set(FAMILIES) - {"encoders"})),
    st.sampled_from([2, 3]),
    st.sampled_from(ARGUMENTS),
    values | st.lists(st.integers(-1, 40), max_size=13) | st.integers(-1, 1100),
)
def test_any_argument_of_any_network(family: str, dimensions: int, name: str, value: Any) -> None:
    try:
        with shapes_only():
            create_network(family, dimensions=dimensions, in_channels=4, out_channels=3, arguments={name: value})
    except CheckpointError:
        return
    assert name != "x"


def test_every_number_has_limits() -> None:
    """Of every network's arguments; without them a checkpoint could ask for any."""
    import inspect

    for name in FAMILIES:
        family = family_of(name)
        for argument, parameter in inspect.signature(family.build).parameters.items():
            default = parameter.default
            number = default[0] if isinstance(default, tuple) else default
            if type(number) in (int, float):
                assert argument in family.limits, f"{name} has no limits of {argument}"


def test_the_weights_of_another_network_do_not_fit() -> None:
    with pytest.raises(CheckpointError, match="do not fit"):
        check_fit(describe_model(), {"w": StoredTensor("F16", (8, 4))})
