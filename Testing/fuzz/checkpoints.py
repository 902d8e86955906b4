"""Damaged and hostile checkpoints for the campaign: small ones of every kind, changed, mostly under a right digest."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BrainTumorSegLib.commands import models as command
from BrainTumorSegLib.commands.console import Console
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models import catalogue
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, read_description, save_checkpoint
from BrainTumorSegLib.models.description import NetworkSpec
from BrainTumorSegLib.models.ensemble import average_of
from BrainTumorSegLib.models.limits import is_plain
from BrainTumorSegLib.models.model_card import model_card
from BrainTumorSegLib.networks import create_network
from Testing.forging import assembled
from Testing.fuzz.child import Sample
from Testing.samples import describe_model, make_oracle, make_patient

Parts = tuple[str, dict[str, Any], bytes]  # description, tensor table, tensors
Random = np.random.Generator

# A small form of each kind of checkpoint; the ensemble and the U-Nets apart.
_NETWORKS: dict[str, dict[str, Any]] = {
    "segresnet": {"width": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "dynunet": {"filters": [4, 8, 8]},
    "attention_unet": {"channels": [4, 8]},
    "swin_unetr": {"width": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": 3},
}
_HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    3,
    7,
    40,
    6000,
    10**9,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**400,
    1e-300,
    1e300,
    1e-9,
    0.0,
    -0.5,
    0.999,
    float("nan"),
    float("inf"),
    "",
    "x",
    "t1",
    "WT",
    "\x1b[2J\x1b[31mred",
    "\ud800",
    "a\nb",
    "\u202egnp",
    "\x00",
    "é" * 300,
    "x" * 100_000,
    "../../up",
    "os.system",
    "%s%n",
    "<b>x</b>",
    [],
    [[]],
    [0],
    [10**9],
    [1] * 10_000,
    [10**9] * 3,
    [1, 1, 1],
    [0, 0, 0],
    [1024, 1024, 1024],
    ["t1"],
    ["ET"],
    {},
    {"": 0},
    {"ET": 1e-300},
    {"WT": 10**400},
    {"notes": []},
    {"a": {"b": []}},
)
_KINDS = ("F16", "BF16", "F32", "F64", "F4", "F6_E2M3", "F8_E5M2", "C64", "I8", "I64", "U64", "BOOL", "", 5, None)


def make(seed: tuple[int, int], folder: Path) -> Sample:
    """See :class:`Testing.fuzz.child.Subject`."""
    rng = np.random.default_rng(seed)
    kind = _any(rng, tuple(_CHANGES))
    path = folder / "model.safetensors"
    _CHANGES[kind](rng, path, _any(rng, _sound()))
    return Sample(path, kind)


def read(path: Path) -> None:
    """All that is done with a model: listed, described, added, run. See :class:`Testing.fuzz.child.Subject`."""
    os.environ["BRAINTUMORSEG_HOME"] = str(path.parent.parent / "user")
    catalogue.models_folder = lambda: path.parent
    command.list_models(Console("none"))
    assert set(catalogue.installed()[0]) >= {"brats-segresnet", "lgg-unet"}, "a bad model hides others"
    text = model_card(read_description(path))
    assert is_plain(text), "control characters in the card"
    checkpoint = load_checkpoint(path)
    checkpoint.check()
    if checkpoint.description.task == "tumour":
        # By the reference: what a faster one compiles first takes seconds of its own.
        segment_case(make_patient().case(), checkpoint, RunOptions(device="cpu", backend="torch"))


@functools.cache
def _sound() -> tuple[bytes, ...]:
    """The files that are changed."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        models = [make_oracle(3), make_oracle(2), make_oracle(3, outputs="classes", storage="int8", id="tiny-int8")]
        written = [(model.description, model.weights) for model in models]
        written.append(average_of(models, "together"))
        for family, arguments in _NETWORKS.items():
            network = create_network(family, dimensions=3, in_channels=4, out_channels=3, arguments=arguments)
            written.append((describe_model(network=NetworkSpec(family, arguments)), network.state_dict()))
        return tuple(save_checkpoint(d, weights, path).read_bytes() for d, weights in written)


def _any(rng: Random, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _parts(content: bytes) -> Parts:
    size = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:size])
    return table.pop("__metadata__")["braintumorseg"], table, content[size:]


def _sound_one(rng: Random, path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _bits(rng: Random, path: Path, content: bytes) -> None:
    """Some bits, of the header as often as of the weights; the digest stays."""
    changed = bytearray(content)
    end = _any(rng, (9, 2000, len(content)))
    for _ in range(int(rng.integers(1, 5))):
        changed[int(rng.integers(min(end, len(content))))] ^= 1 << int(rng.integers(8))
    path.write_bytes(changed)


def _cut(rng: Random, path: Path, content: bytes) -> None:
    length = int(rng.integers(len(content)))
    path.write_bytes(content[:length] if rng.random() < 0.7 else content + bytes(length))


def _described(rng: Random, path: Path, content: bytes) -> None:
    """One to three values anywhere in the description, or one more or fewer."""
    text, table, body = _parts(content)
    values = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        place: Any = values
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = _any(rng, keys)
            inner = place[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
                place = inner
                continue
            break
        action = rng.random()
        if action < 0.1:
            del place[key]
        elif action < 0.2 and isinstance(place, dict):
            place[_any(rng, ("extra", "\x1b[0m", "\ud800", "WT", "notes"))] = _any(rng, _HOSTILE)
        else:
            place[key] = _near(rng, place[key]) if rng.random() < 0.7 else _any(rng, _HOSTILE)
        if not values or not place:
            break
    path.write_bytes(assembled(json.dumps(values), table, body))


def _near(rng: Random, value: Any) -> Any:
    """A value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(_any(rng, (value + 1, value - 1, 2 * value, value * 1000, -value, 10**9)))
    if isinstance(value, float):
        return float(_any(rng, (value * 1e-3, value * 1e3, -value, value / 2, 1e-300, 1e300)))
    if isinstance(value, str):
        return _any(
            rng, (value + "\x1b]0;x\x07", value * 1000, value[:-1], value.upper(), "unet", "int8", "brain", "any")
        )
    if isinstance(value, list):
        return _any(rng, (value + value, value[:-1], value[::-1], value * 5000))
    return {}


def _arguments(rng: Random, path: Path, content: bytes) -> None:
    """A network that is far larger, deeper or other than the weights."""
    text, table, body = _parts(content)
    values = json.loads(text)
    network = _any(rng, [values, *values["members"]])["network"]
    many: tuple[Any, ...] = (
        [10**9],
        [32] * 12,
        [4096] * 12,
        [1] * 10**5,
        [0, 0],
        [1, -1],
        [8, 16],
        [1.5],
        ["x"],
        [10**400],
    )
    name, value = _any(
        rng,
        [
            *(("width", n) for n in (6000, 1024, 0, -1, 10**9, 2.5, 10**400, True, "8")),
            *(("levels", n) for n in (40, 8, 0, 10**9, -3, 10**400)),
            *(
                (name, n)
                for name in ("blocks_down", "blocks_up", "filters", "channels", "depths", "heads")
                for n in many
            ),
            *(("widths", n) for n in many),
            *(("window", n) for n in (16, 10**6, 0, -7)),
            *(("form", n) for n in ("small", "full", "d7", "\x1b[2J")),
            *(("encoder", n) for n in ("efficientnet-b8", "resnet200", "tu-hf-hub:x/y", "../x")),
            *(("dropout", n) for n in (0.5, 2, -1, float("nan"))),
            ("availability", True),
            ("norm", "batch"),
            ("norm", "x" * 1000),
            ("residual", True),
            ("multitask", True),
        ],
    )
    network["arguments"][name] = value
    if rng.random() < 0.3:
        network["family"] = _any(
            rng,
            (
                "unet",
                "segresnet",
                "dynunet",
                "swin_unetr",
                "u2net",
                "resunet_a",
                "resunet_plus_plus",
                "flexible_unet",
                "encoders",
                "attention_unet",
                "ensemble",
                "__import__",
                "",
            ),
        )
    path.write_bytes(assembled(json.dumps(values), table, body))


def _table(rng: Random, path: Path, content: bytes) -> None:
    """A tensor's type, shape or place."""
    text, table, body = _parts(content)
    name = _any(rng, list(table))
    entry = table[name]
    match int(rng.integers(7)):
        case 0:
            entry["dtype"] = _any(rng, _KINDS)
        case 1:
            entry["shape"] = _any(
                rng, ([], [0], [10**9], [10**18, 0], [-1], [1.0], [True], [10**400], [1] * 100, "x", None)
            )
        case 2:
            entry["shape"] = entry["shape"][::-1] if rng.random() < 0.5 else [*entry["shape"], 1]
        case 3:
            entry["data_offsets"] = _any(
                rng, ([0, 0], [0, 10**12], [-8, 8], [8], [0, 1, 2], "x", [0, 2**64], [0.0, 8.0])
            )
        case 4:
            table[_any(rng, ("extra", "\ud800", "\x1b[2J", "__metadata", name + ".scale"))] = table.pop(name)
        case 5:
            table[name] = _any(rng, (None, [], {}, 5, "x", {"dtype": "F16"}, {**entry, "more": 1}))
        case _:
            del table[name]
    path.write_bytes(assembled(text, table, body))


def _scales(rng: Random, path: Path, content: bytes) -> None:
    """Kernels and scales in eight bits that would grow when they are multiplied, and others that do not go together."""
    text, table, body = _parts(content)
    name = _any(rng, [name for name in table if name.endswith("weight")])
    outputs, large = int(_any(rng, (1, 8, 700))), int(_any(rng, (1, 1000, 10**5)))
    kernel, scale = _any(
        rng,
        [
            ([outputs, 1, 1, 1, 1], [1, large, 1, 1, 1]),
            ([1, 1, large], [1, 1, 1]),
            ([outputs, 4, 1], [outputs, 3, 1]),
            ([outputs, 4], [outputs, 4]),
            ([0, 4, 3], [0, 4, 1]),
            ([outputs, 4, 3], [outputs, 0, 1]),
            ([], []),
            ([1], [1, 1]),
        ],
    )
    kind, size = _any(rng, [("F16", 2), ("F32", 4), ("I8", 1), ("I64", 8)])
    begin = len(body)
    middle, end = begin + int(np.prod(kernel)), begin + int(np.prod(kernel)) + size * int(np.prod(scale))
    if rng.random() < 0.5:
        table, begin, middle, end, body = {}, 0, middle - begin, end - begin, b""
    table[name] = {"dtype": "I8", "shape": kernel, "data_offsets": [begin, middle]}
    table[name + ".scale"] = {"dtype": kind, "shape": scale, "data_offsets": [middle, end]}
    path.write_bytes(assembled(text, table, body + bytes(end - len(body))))


def _weights(rng: Random, path: Path, content: bytes) -> None:
    """Bytes of the weights: not finite, enormous, or any."""
    text, table, body = _parts(content)
    changed = bytearray(body)
    at = int(rng.integers(len(body) // 2)) * 2
    pattern = _any(rng, (b"\x00\x7c", b"\x00\x7e", b"\xff\x7b", b"\xff\xff", b"\x00\x00\x80\x7f", bytes(rng.bytes(64))))
    changed[at : at + len(pattern)] = pattern
    path.write_bytes(assembled(text, table, bytes(changed[: len(body)])))


def _json(rng: Random, path: Path, content: bytes) -> None:
    """Texts that are hardly JSON: deep, a name twice, half a character, another encoding, numbers without end."""
    text, table, body = _parts(content)
    depth = int(_any(rng, (30, 900, 5000, 200_000)))
    deep = "[" * depth + "]" * depth
    texts = [
        text[:-1] + f', "training": {{"recipe": {{"a": {deep}}}}}}}',
        text[:-1] + ', "id": "twice"}',
        text.replace('"title"', '"title": "\\ud800", "x"'),
        text + " ",
        text + "x",
        deep,
        "{" * depth,
        '{"schema_version": ' + "9" * depth + "}",
        '{"schema_version": 4}',
        '{"schema_version": 1e400}',
        text.replace("1.0", "NaN"),
        text.replace("1.0", "-Infinity"),
        text.replace("3", "3" * 5000),
        "\x1b" + text,
        "",
        text.replace('"members": []', f'"members": [{text}, {text}]'),
    ]
    file = assembled(_any(rng, texts), table, body)
    size = 8 + int.from_bytes(file[:8], "little")
    header = file[8:size]
    header = _any(
        rng,
        [
            header,
            header,
            header,
            header.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + header,
            header.rstrip()[:-1] + b", " + header[1:],
            b'{"a": ' + deep.encode() + b", " + header[1:],
        ],
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header + file[size:])


def _length(rng: Random, path: Path, content: bytes) -> None:
    """Another length of the header, or another program's file."""
    start = _any(rng, (0, 1, 2, 8, 100, 2**31, 2**63, 2**64 - 1, len(content), len(content) - 8, len(content) - 9))
    foreign = (
        b"PK\x03\x04" + bytes(64),
        b"\x80\x04." + bytes(9),
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"{}" * 20,
        b"",
        bytes(1000),
    )
    path.write_bytes(start.to_bytes(8, "little") + content[8:] if rng.random() < 0.6 else _any(rng, foreign))


def _sparse(rng: Random, path: Path, content: bytes) -> None:
    """Gigabytes that are claimed and, as holes, there."""
    text, table, _ = _parts(content)
    size = int(_any(rng, (10**8, 3 * 10**9, 9 * 10**9)))
    if rng.random() < 0.5:
        table = {"kernel": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}
    file = assembled(text, table, b"")
    path.write_bytes(file)
    os.truncate(path, len(file) + size)


def _no_file(rng: Random, path: Path, content: bytes) -> None:
    """A pipe, a device, a folder, a link to itself or to nowhere."""
    match int(rng.integers(5)):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to("/dev/zero")
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to(path)
        case _:
            path.symlink_to("nowhere")


_CHANGES: dict[str, Callable[[Random, Path, bytes], None]] = {
    "unchanged": _sound_one,
    "bits": _bits,
    "cut or longer": _cut,
    "description, right digest": _described,
    "arguments, right digest": _arguments,
    "tensor table, right digest": _table,
    "scales, right digest": _scales,
    "weights, right digest": _weights,
    "JSON, right digest": _json,
    "header's length, foreign": _length,
    "sparse": _sparse,
    "no regular file": _no_file,
}
