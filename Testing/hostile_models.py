"""Models of other programs made to harm: each a function that writes one into a folder and gives its path.

``MARK`` in the environment names a file that every payload would make.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from Testing import monai_samples, nnunet_samples

MARK = "BRAINTUMORSEG_TEST_MARK"
Maker = Callable[[Path], Path]
_TOUCH = f"open(__import__('os').environ[{MARK!r}], 'w').close()"


class _Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def _named(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls what may not be there."""
    body = pickle.dumps(arguments, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + body + b"R."


def _payloads() -> dict[str, bytes]:
    import importlib
    import subprocess

    touch = f'touch "${MARK}"'
    return {
        "os.system": pickle.dumps({"a": _Calls(os.system, touch)}, 2),
        "eval": pickle.dumps({"a": _Calls(eval, _TOUCH)}, 2),
        "exec": pickle.dumps({"a": _Calls(exec, _TOUCH)}, 2),
        "subprocess": pickle.dumps({"a": _Calls(subprocess.check_output, touch, None)}, 2),
        "import": pickle.dumps({"a": _Calls(importlib.import_module, "antigravity")}, 2),
        "open": pickle.dumps({"a": _Calls(io.open, os.environ.get(MARK, "mark"), "w")}, 2),
        "nt.system": _named("nt", "system", touch),
        "posix.system": _named("posix", "system", touch),
        "getattr": _named("builtins", "getattr", "x", "__class__"),
        "jit": _named("torch.jit", "load", "x"),
        "hub": _named("torch.hub", "load", "a/b", "c"),
        "runpy": _named("runpy", "run_path", "x"),
        "numpy-array-of-objects": _named("numpy.core.multiarray", "_reconstruct", 0, (0,), b"b"),
        "numpy-load": _named("numpy", "load", "x"),
        "code-object": _named("types", "CodeType", 0),
        "endless-loop-name": _named("torch.load.__globals__", "os", touch),
    }


def _archive(
    file: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, more: dict[str, bytes] | None = None
) -> Path:
    """A file laid out as ``torch.save`` does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in {"a/data.pkl": pickled, "a/version": b"3\n", **(more or {})}.items():
            archive.writestr(name, content)
    return file


def _nnunet(folder: Path) -> Path:
    nnunet_samples.write_model(folder)
    return next(folder.rglob("checkpoint_final.pth"))


def _nnunet_with(replace: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Path:
        replace(_nnunet(folder))
        return folder

    return make


def _bundle_with(replace: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Path:
        monai_samples.write_bundle(folder / "tiny")
        replace(folder / "tiny" / "models" / "model.pt")
        return folder / "tiny"

    return make


def _auto_with(replace: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Path:
        replace(folder / "model.pt")
        return folder / "model.pt"

    return make


def _saved(values: Any) -> Callable[[Path], object]:
    return lambda file: torch.save(values, file)


def _weights(value: Any) -> dict[str, Maker]:
    """The same values as the weights of each kind of model."""
    config = monai_samples.auto3dseg_config()
    init = {"configuration": "3d_fullres"}
    return {
        "nnunet": _nnunet_with(_saved({"network_weights": value, "init_args": init})),
        "bundle": _bundle_with(_saved(value)),
        "auto": _auto_with(_saved({"state_dict": value, "config": config})),
    }


def _zip_of(name: str | zipfile.ZipInfo, content: bytes = b"evil", compression: int = zipfile.ZIP_STORED) -> Maker:
    """A whole exported model with one entry more."""

    def make(folder: Path) -> Path:
        nnunet_samples.write_model(folder / "in")
        file = folder / "deep" / "er" / "model.zip"
        file.parent.mkdir(parents=True)
        with zipfile.ZipFile(file, "w", compression) as archive:
            for each in sorted((folder / "in").rglob("*.*")):
                if each.is_file():
                    archive.write(each, each.relative_to(folder / "in").as_posix())
            archive.writestr(name, content, compression)
        return file

    return make


def _entry(name: str, mode: int = 0, flags: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.flag_bits = flags
    return info


def _encrypted(folder: Path) -> Path:
    """The bit of encryption set in the directory."""
    file = _zip_of("more.txt")(folder)
    content = bytearray(file.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 8] |= 1
    file.write_bytes(content)
    return file


def _changed_zip(change: Callable[[bytearray], object]) -> Maker:
    def make(folder: Path) -> Path:
        file = _zip_of("more.txt")(folder)
        content = bytearray(file.read_bytes())
        change(content)
        file.write_bytes(content)
        return file

    return make


def _larger_than_it_says(content: bytearray) -> None:
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)


def _many_entries(folder: Path) -> Path:
    file = folder / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("plans.json", "{}")
        archive.writestr("dataset.json", "{}")
        for number in range(20_010):
            archive.writestr(f"{number}", b"")
    return file


def _json(name: str, text: str | bytes) -> Maker:
    """A results folder with another text in one of its files."""

    def make(folder: Path) -> Path:
        _nnunet(folder)
        file = next(folder.rglob(name))
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return make


def _plans(**changes: Any) -> Maker:
    """Plans with other values in their configuration."""

    def make(folder: Path) -> Path:
        plans = nnunet_samples.make_plans(3, (16, 16, 16), (4, 8))
        plans["configurations"]["3d_fullres"] |= changes
        nnunet_samples.write_model(folder, plans=plans)
        return folder

    return make


def _architecture(**changes: Any) -> Maker:
    def make(folder: Path) -> Path:
        plans = nnunet_samples.make_plans(3, (16, 16, 16), (4, 8))
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= changes
        nnunet_samples.write_model(folder, plans=plans)
        return folder

    return make


def _bundle_config(**changes: Any) -> Maker:
    def make(folder: Path) -> Path:
        monai_samples.write_bundle(folder / "tiny", {**monai_samples.BUNDLE, **changes})
        return folder / "tiny"

    return make


def _bundle_yaml(text: str) -> Maker:
    def make(folder: Path) -> Path:
        monai_samples.write_bundle(folder / "tiny")
        (folder / "tiny" / "configs" / "inference.json").unlink()
        (folder / "tiny" / "configs" / "inference.yaml").write_text(text)
        return folder / "tiny"

    return make


def _auto(**changes: Any) -> Maker:
    def make(folder: Path) -> Path:
        config = monai_samples.auto3dseg_config()
        monai_samples.write_auto3dseg(folder / "model.pt", config)
        torch.save({"state_dict": {"a": torch.zeros(1)}, "config": config | changes}, folder / "model.pt")
        return folder / "model.pt"

    return make


def _linked(folder: Path) -> Path:
    """The folder within is a link to itself."""
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "plans.json").symlink_to("/dev/zero")
    (folder / "dataset.json").symlink_to("/dev/zero")
    return folder


def _pipe(folder: Path) -> Path:
    file = _nnunet(folder)
    file.unlink()
    os.mkfifo(file)
    return folder


def cases() -> dict[str, Maker]:
    """Name → what writes it."""
    found: dict[str, Maker] = {}
    for name, pickled in _payloads().items():
        found[f"pickle-{name}-nnunet"] = _nnunet_with(lambda file, p=pickled: _archive(file, p))
        found[f"pickle-{name}-auto"] = _auto_with(lambda file, p=pickled: _archive(file, p))
    for name in ("os.system", "eval", "numpy-array-of-objects"):
        pickled = _payloads()[name]
        found[f"pickle-{name}-bundle"] = _bundle_with(lambda file, p=pickled: _archive(file, p))
        found[f"old-form-{name}-nnunet"] = _nnunet_with(lambda file, p=pickled: file.write_bytes(p))
        found[f"old-form-{name}-bundle"] = _bundle_with(lambda file, p=pickled: file.write_bytes(p))
    good = pickle.dumps({"a": 1})
    found |= {
        "torch-compressed": _nnunet_with(lambda file: _archive(file, good, zipfile.ZIP_DEFLATED)),
        "torch-two-pickles": _nnunet_with(lambda file: _archive(file, good, more={"b/data.pkl": good})),
        "torch-no-pickle": _nnunet_with(lambda file: zipfile.ZipFile(file, "w").writestr("a/other", b"x")),
        "torch-bomb": _auto_with(lambda file: _archive(file, b"0" * (70 << 20))),
        "torch-empty": _nnunet_with(lambda file: file.write_bytes(b"")),
        "torch-cut": _nnunet_with(lambda file: file.write_bytes(file.read_bytes()[:-300])),
        "torch-garbage-pickle": _nnunet_with(lambda file: _archive(file, b"\x80\x02" + b"(" * 5000 + b".")),
        "torch-not-a-table": _nnunet_with(_saved([1, 2, 3])),
    }
    values: dict[str, Any] = {
        "huge-tensor": {"a.weight": torch.zeros(1).expand(1 << 40)},
        "nan": {"a.weight": torch.full((3,), float("nan"))},
        "complex": {"a.weight": torch.zeros(3, dtype=torch.complex64)},
        "sparse": {"a.weight": torch.zeros(3, 3).to_sparse()},
        "no-tensor": {"a.weight": "text"},
        "number-as-name": {5: torch.zeros(1)},
        "control-characters": {"a\x1b[2J": torch.zeros(1)},
        "empty": {},
        "other-network": {"a.weight": torch.zeros(3)},
    }
    for name, value in values.items():
        found |= {f"{name}-{kind}": maker for kind, maker in _weights(value).items()}
    regular = stat.S_IFREG | 0o644
    found |= {
        "zip-slip": _zip_of("../evil.txt"),
        "zip-slip-deep": _zip_of("a/b/../../../evil.txt"),
        "zip-absolute": _zip_of("/tmp/evil.txt"),
        "zip-backslash": _zip_of("..\\evil.txt"),
        "zip-drive": _zip_of("C:evil.txt"),
        "zip-link": _zip_of(_entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd"),
        "zip-device": _zip_of(_entry("device", stat.S_IFCHR | 0o666)),
        "zip-pipe": _zip_of(_entry("pipe", stat.S_IFIFO | 0o666)),
        "zip-bomb": _zip_of(_entry("more.bin", regular), b"\0" * (8 << 20), zipfile.ZIP_DEFLATED),
        "zip-twice": _zip_of("Dataset001_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres/PLANS.json"),
        "zip-control-characters": _zip_of("a\x1b[2Jb"),
        "zip-long-name": _zip_of("a" * 2000),
        "zip-encrypted": _encrypted,
        "zip-many": _many_entries,
        "zip-cut": _changed_zip(lambda content: content.__delitem__(slice(len(content) // 2, None))),
        "zip-changed": _changed_zip(lambda content: content.__setitem__(slice(60, 90), b"x" * 30)),
        "zip-larger-than-it-says": _changed_zip(_larger_than_it_says),
        "folder-of-links": _linked,
        "pipe-for-weights": _pipe,
    }
    deep = "[" * 200_000 + "]" * 200_000
    found |= {
        "json-none": _json("plans.json", "no JSON"),
        "json-deep": _json("plans.json", deep),
        "json-list": _json("plans.json", "[]"),
        "json-text": _json("dataset.json", '"text"'),
        "json-bytes": _json("dataset.json", b"\xff\xfe\x00"),
        "json-huge": _json("plans.json", '{"a": "' + "x" * (17 << 20) + '"}'),
        "json-labels-list": _json("dataset.json", json.dumps({"labels": [], "channel_names": {"0": "T1"}})),
        "json-channels-number": _json("dataset.json", json.dumps({"labels": {"background": 0}, "channel_names": 4})),
        "patch-huge": _plans(patch_size=[100000, 100000, 100000]),
        "patch-negative": _plans(patch_size=[-1, 16, 16]),
        "patch-nan": _plans(patch_size=[float("nan")] * 3),
        "patch-long": _plans(patch_size=[16] * 100),
        "spacing-text": _plans(spacing="1"),
        "spacing-tiny": _plans(spacing=[1e-9, 1e-9, 1e-9]),
        "inherits-itself": _plans(inherits_from="3d_fullres", patch_size=None),
        "features-huge": _architecture(features_per_stage=[1 << 30, 1 << 30]),
        "stages-many": _architecture(features_per_stage=[4] * 60),
        "strides-zero": _architecture(strides=[[0, 0, 0], [2, 2, 2]]),
        "norm-from-a-module": _architecture(norm_op="os.system"),
        "bundle-target-a-program": _bundle_config(network_def={"_target_": "os.system", "command": "x"}),
        "bundle-expression-network": _bundle_config(network_def=f"${_TOUCH}"),
        "bundle-expression-windows": _bundle_config(inferer=f"${_TOUCH}"),
        "bundle-expression-argument": _bundle_config(
            network_def={**monai_samples.BUNDLE_NETWORK, "init_filters": f"${_TOUCH}"}
        ),
        "bundle-refers-to-itself": _bundle_config(spatial_size="@spatial_size"),
        "bundle-imports": _bundle_config(imports=[f"${_TOUCH}"], inferer={"_target_": f"${_TOUCH}"}),
        "yaml-object": _bundle_yaml(f"a: !!python/object/apply:os.system ['touch ${MARK}']\n"),
        "yaml-name": _bundle_yaml("a: !!python/name:os.system\n"),
        "yaml-laughs": _bundle_yaml("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
        "yaml-deep": _bundle_yaml("[" * 5000),
        "auto-target-a-program": _auto(network={"_target_": "$" + _TOUCH}),
        "auto-network-text": _auto(network=f"${_TOUCH}"),
        "auto-roi-huge": _auto(roi_size=[10**9] * 3),
        "auto-bounds": _auto(normalize_mode={"a": 1}),
    }
    return found
