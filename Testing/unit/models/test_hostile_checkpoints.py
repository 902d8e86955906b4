"""Files whose digest is right and whose claims are not: refused before memory is taken, by one kind of error."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.io.user_folder import user_folder
from BrainTumorSegLib.models.catalogue import EMBEDDED, add, find, installed, load_model, models_folder
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, read_description
from BrainTumorSegLib.models.description import AccuracyRecord, NetworkSpec, TrainingRecord
from BrainTumorSegLib.models.licence import accept_licence, pending_licence
from BrainTumorSegLib.models.model_card import model_card
from Testing.forging import assembled, forge
from Testing.samples import describe_model, with_field, write_oracle


def parts_of(path: Path) -> tuple[str, dict[str, Any], bytes]:
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:size])
    return table.pop("__metadata__")["braintumorseg"], table, content[size:]


def tensor(kind: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("kernel", "scale"),
    [
        ([1, 1, 700], [10_000, 1, 1]),  # multiplied as they are, 28 MB of 21 kB
        ([8, 4, 1], [8, 3, 1]),
        ([8, 4, 1], [8, 0, 1]),
        ([8, 4, 1], [8, 8, 1]),
        ([8, 4], [8, 4]),
        ([8, 4, 3], [8, 4, 3]),
        ([0, 4, 3], [0, 4, 1]),
    ],
)
def test_scales_that_do_not_fit_their_kernel_are_refused(tmp_path: Path, kernel: list[int], scale: list[int]) -> None:
    whole = kernel[0] * kernel[1] * (kernel[2:] or [1])[0]
    end = whole + 2 * scale[0] * scale[1] * (scale[2:] or [1])[0]
    table = {"w": tensor("I8", kernel, 0, whole), "w.scale": tensor("F16", scale, whole, end)}
    path = tmp_path / "m.safetensors"
    path.write_bytes(assembled(json.dumps(dataclasses.asdict(describe_model(storage="int8"))), table, bytes(end)))
    with pytest.raises(CheckpointError, match="scales of weight 'w'" if kernel[0] else "fit"):
        load_checkpoint(path).check_fit()


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("unet", {"width": 6000}),
        ("unet", {"width": 1024}),  # within the limits, but not the network of these weights
        ("unet", {"levels": 40}),
        ("unet", {"levels": 10**400}),
        ("unet", {"levels": True}),
        ("unet", {"availability": "yes"}),
        ("segresnet", {"blocks_down": [10**9]}),
        ("segresnet", {"blocks_down": [1] * 10**5}),
        ("segresnet", {"blocks_up": [1]}),
        ("segresnet", {"norm": "x"}),
        ("segresnet", {"dropout": float("nan")}),
        ("dynunet", {"filters": [4096] * 12}),
        ("swin_unetr", {"window": 10**6}),
        ("swin_unetr", {"depths": [10**9] * 4}),
        ("attention_unet", {"channels": 8}),
        ("flexible_unet", {"encoder": ["efficientnet-b0"]}),
        ("flexible_unet", {"encoder": "resnet200", "decoder": [4096] * 5}),
        ("encoders", {"encoder": "tu-regnety_2560"}),
    ],
)
def test_networks_larger_than_the_weights_are_not_built(tmp_path: Path, family: str, arguments: dict[str, Any]) -> None:
    path = forge(
        tmp_path / "m.safetensors", with_field(describe_model(), "network", {"family": family, "arguments": arguments})
    )
    began = time.monotonic()
    with pytest.raises(CheckpointError):
        load_checkpoint(path).check_fit()
    assert time.monotonic() - began < 30  # MONAI may have to be imported


@pytest.mark.parametrize(("size", "named"), [(9_000_000_000, "larger than"), (30_000_000, "fit its network")])
def test_holes_are_not_read(tmp_path: Path, size: int, named: str) -> None:
    """A sparse file is as large as its table says, and its digest is right."""
    path = tmp_path / "m.safetensors"
    text = json.dumps(dataclasses.asdict(describe_model()))
    table = {"w": tensor("F16", [size // 2], 0, size)}
    body = bytes(size) if size < 10**9 else b""
    path.write_bytes(assembled(text, table, body))
    del body
    os.truncate(path, path.stat().st_size + (size if size > 10**9 else 0))
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(path).check_fit()


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F4"},
        {"dtype": "F6_E2M3"},
        {"dtype": "F8_E5M2"},
        {"dtype": "C64"},
        {"dtype": None},
        {"shape": [-1]},
        {"shape": [True]},
        {"shape": [10**400]},
        {"shape": [10**18, 0]},
        {"shape": [1] * 100},
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [8]},
        {"more": 1},
    ],
    ids=str,
)
def test_tables_that_do_not_describe_the_bytes_are_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    text, table, body = parts_of(write_oracle(tmp_path / "m.safetensors"))
    name = next(iter(table))
    table[name] = {**table[name], **entry}
    (tmp_path / "m.safetensors").write_bytes(assembled(text, table, body))
    for read in (read_description, load_checkpoint):
        with pytest.raises(CheckpointError, match="damaged"):
            read(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x" * 300),
        ("title", "\x1b[2J\x1b[31mred"),
        ("title", "two\nlines"),
        ("title", "x" * 10_000),
        ("title", "\u202egnp"),
        ("title", "\ud800"),
        ("version", "\x00"),
        ("weights_licence", "free\x07"),
        ("weights_licence", "x" * 10**6),
        ("training.recipe", {"a": {"b\x1b": 1}}),
        ("training.recipe", {"a": 10**400}),
        ("training.steps", 10**400),
        ("training.versions", {"torch": "\x9b31m"}),
        ("tiling.patch", [10**9] * 3),
        ("tiling.patch", [1024] * 3),
        ("tiling.patch", [1, 1, 1]),
        ("tiling.overlap", 0.999999),
        ("preprocessing.spacing", [1e-300] * 3),
        ("preprocessing.spacing", [0.1, 0.1, 0.1]),
        ("preprocessing.spacing", [1e9] * 3),
        ("postprocessing.minimum_et_mm3", -1.0),
        ("postprocessing.temperatures", {"ET": 1e-300}),
        ("weight", 1e300),
        ("outputs", [{"name": "WT", "labels": [1, 2, 3]}] * 1000),
    ],
)  # fmt: skip
def test_descriptions_that_exhaust_or_deceive_are_refused(tmp_path: Path, field: str, value: Any) -> None:
    path = forge(tmp_path / "m.safetensors", with_field(describe_model(), field, value))
    for read in (read_description, load_checkpoint, add):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert caught.value.sentence().isprintable()


def test_nested_without_end(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    path = forge(tmp_path / "m.safetensors", with_field(describe_model(), "training.recipe", {"a": deep}))
    with pytest.raises(CheckpointError, match="deep"):
        read_description(path)


def test_accuracy_of_what_is_not_there_is_refused() -> None:
    for record in (
        AccuracyRecord("data", 1, "Dice", "", {"XX": 1.0}),
        AccuracyRecord("data", 1, "Dice", "", {"WT": 1.0}, ("pet",)),
    ):
        with pytest.raises(CheckpointError, match="accuracy"):
            describe_model(accuracy=(record,))


def test_cards_of_odd_but_harmless_descriptions() -> None:
    for notes in ([], "text", 5, {"before": ["x"]}, None):
        assert "tiny-3d" in model_card(describe_model(training=TrainingRecord(recipe={"notes": notes})))
    records = tuple(
        AccuracyRecord("data", 1, "Dice", "", values, given)
        for values, given in (({"WT": 1.0}, ("t1",)), ({"ET": 0.5}, ("t2",)))
    )
    assert "0.500" in model_card(describe_model(accuracy=records))


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    """Two readers may take either."""
    path = write_oracle(tmp_path / "m.safetensors")
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    _, table, _ = parts_of(path)
    name = next(iter(table))
    header = content[8:size].rstrip()[:-1] + f', "{name}": {json.dumps(table[name])}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[size:])
    with pytest.raises(CheckpointError, match="damaged"):
        read_description(path)


def test_what_is_no_file_stops_nobody(tmp_path: Path) -> None:
    models_folder().mkdir()
    os.mkfifo(models_folder() / "pipe.safetensors")
    (models_folder() / "zero.safetensors").symlink_to("/dev/zero")
    (models_folder() / "loop.safetensors").symlink_to("loop.safetensors")
    (models_folder() / "folder.safetensors").mkdir()
    write_oracle(models_folder() / "mine.safetensors", id="mine")
    models, errors = installed()
    assert {"mine", "brats-segresnet"} <= set(models)
    named = " ".join(str(error) for error in errors)
    assert len(errors) == 4 and all(name in named for name in ("pipe", "zero", "loop", "folder"))
    assert load_model("mine").description.id == "mine"
    with pytest.raises(CheckpointError):
        load_checkpoint(models_folder() / "pipe.safetensors")
    for name in ("x" * 5000, "a\0b", "pipe"):
        with pytest.raises(CheckpointError):
            find(name)


def test_a_model_that_finds_brains_hides_none_of_tumours(tmp_path: Path) -> None:
    models_folder().mkdir()
    brain = Path(__file__).parents[3] / "BrainTumorSegLib/preprocessing/brain_extraction/brain-unet.safetensors"
    (models_folder() / "brain.safetensors").write_bytes(brain.read_bytes())
    models, errors = installed()
    assert "brats-segresnet" in models and "brain-unet" not in models
    assert len(errors) == 1 and "not tumours" in str(errors[0])
    assert "any kind" in model_card(read_description(brain))


@pytest.mark.parametrize("kind", ["file", "nowhere", "loop"])
def test_a_home_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    place = tmp_path / "home"
    if kind == "file":
        place.write_text("")
    if kind == "loop":
        place.symlink_to(place)
    monkeypatch.delenv("BRAINTUMORSEG_HOME")
    monkeypatch.setenv("HOME", str(place))
    models, errors = installed()
    assert "brats-segresnet" in models and len(errors) == (kind == "loop")
    assert find("lgg-unet").path.parent == EMBEDDED
    accept_licence(describe_model(weights_licence="CC-BY-NC"))  # cannot be kept: the next use asks again


def test_a_user_without_home_and_without_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is started under a number."""

    def nobody(_number: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("BRAINTUMORSEG_HOME")
    with pytest.raises(RequestError, match="home") as caught:
        user_folder()
    assert "BRAINTUMORSEG_HOME" in caught.value.remedy
    models, errors = installed()
    assert "brats-segresnet" in models and len(errors) == 1
    assert pending_licence(describe_model(weights_licence="CC-BY-NC")) == "CC-BY-NC"
    accept_licence(describe_model(weights_licence="CC-BY-NC"))


def test_members_are_held_to_their_weights(tmp_path: Path) -> None:
    member = dataclasses.asdict(describe_model())
    values = with_field(describe_model(), "network", {"family": "ensemble", "arguments": {}}) | {"id": "both"}
    values["members"] = [
        member | {"id": "one"},
        member | {"id": "two", "network": dataclasses.asdict(NetworkSpec("unet", {"width": 512}))},
    ]
    _, table, body = parts_of(write_oracle(tmp_path / "m.safetensors"))
    twice = {f"0.{name}": entry for name, entry in table.items()}
    for name, entry in table.items():
        begin, end = entry["data_offsets"]
        twice[f"1.{name}"] = entry | {"data_offsets": [begin + len(body), end + len(body)]}
    path = tmp_path / "m.safetensors"
    path.write_bytes(assembled(json.dumps(values), twice, body + body))
    with pytest.raises(CheckpointError, match="weights of two do not fit"):
        load_checkpoint(path).check_fit()
    path.write_bytes(assembled(json.dumps(values), {f"0.{name}": entry for name, entry in table.items()}, body))
    with pytest.raises(CheckpointError, match="not those of its members"):
        load_checkpoint(path).check_fit()
