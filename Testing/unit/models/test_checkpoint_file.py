from __future__ import annotations

import dataclasses
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.models.checkpoint_file import (
    Checkpoint,
    load_checkpoint,
    read_description,
    save_checkpoint,
)
from BrainTumorSegLib.models.description import (
    SCHEMA_VERSION,
    AccuracyRecord,
    NetworkSpec,
    OutputSpec,
    PreprocessingSpec,
    TilingSpec,
    TrainingRecord,
    parse_description,
)
from BrainTumorSegLib.networks import create_network
from Testing.forging import forge
from Testing.samples import describe_model, make_oracle, with_field, write_oracle

WriteCheckpoint = Callable[..., Path]


def assert_refused(action: Callable[[], object], named: str, source: Path | None = None) -> None:
    with pytest.raises(CheckpointError) as caught:
        action()
    assert named in str(caught.value)
    assert caught.value.remedy.endswith(".")
    assert "\n" not in caught.value.sentence()
    if source is not None:
        assert str(source) in str(caught.value)


def test_kernels_in_eight_bits_need_half_of_the_file(tmp_path: Path) -> None:
    """Weights come back rounded, and writing them again changes nothing."""
    torch.manual_seed(2)
    spec = NetworkSpec("unet", {"width": 32, "levels": 1})
    weights = create_network("unet", dimensions=3, in_channels=4, out_channels=3, arguments=spec.arguments).state_dict()
    sizes = {}
    for storage in ("fp16", "int8"):
        path = save_checkpoint(
            describe_model(storage=storage, network=spec), weights, tmp_path / f"{storage}.safetensors"
        )
        sizes[storage] = path.stat().st_size
    assert 0.515 < sizes["int8"] / sizes["fp16"] < 0.55  # a byte a weight, two for each 54, and the header
    loaded = load_checkpoint(tmp_path / "int8.safetensors")
    kernel = "bottleneck.3.weight"
    error = (loaded.weights[kernel] - weights[kernel]).norm() / weights[kernel].norm()
    assert 0.001 < error < 0.01
    again = save_checkpoint(loaded.description, loaded.weights, tmp_path / "again.safetensors")
    torch.testing.assert_close(load_checkpoint(again).weights, loaded.weights, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_round_trip(tmp_path: Path, dimensions: int) -> None:
    oracle = make_oracle(dimensions, title='Größe ‘quoted’ "text"', optional_modalities=("t1",))
    path = save_checkpoint(oracle.description, oracle.weights, tmp_path / "a.safetensors")
    loaded = load_checkpoint(path)
    assert loaded.description == oracle.description == read_description(path)
    assert loaded.path == path and len(loaded.digest) == 64
    assert set(loaded.weights) == set(oracle.weights)
    for name, tensor in loaded.weights.items():
        kept = torch.float32 if "running" in name else torch.float16
        assert tensor.dtype == (kept if tensor.is_floating_point() else torch.int64)
        assert torch.equal(tensor.float(), oracle.weights[name].float())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_build_gives_the_network_in_fp32_and_evaluation_mode(tiny_checkpoint: WriteCheckpoint) -> None:
    network = load_checkpoint(tiny_checkpoint()).build()
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    assert network(torch.zeros(1, 4, 4, 4, 4)).flatten()[0] == -8  # the bias of the oracle's head


def test_the_digest_depends_on_weights_and_description(tmp_path: Path) -> None:
    first = load_checkpoint(write_oracle(tmp_path / "a.safetensors")).digest
    assert first == load_checkpoint(write_oracle(tmp_path / "b.safetensors")).digest
    assert first != load_checkpoint(write_oracle(tmp_path / "c.safetensors", title="other")).digest
    oracle = make_oracle()
    weights = {**oracle.weights, "head.bias": oracle.weights["head.bias"] + 1}
    assert first != load_checkpoint(save_checkpoint(oracle.description, weights, tmp_path / "d.safetensors")).digest


def test_truncated_files_are_refused(tiny_checkpoint: WriteCheckpoint) -> None:
    path = tiny_checkpoint()
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert_refused(lambda: load_checkpoint(path), "", path)
    path.write_bytes(content + b"\x00")
    assert_refused(lambda: load_checkpoint(path), "damaged", path)


def test_one_flipped_byte_anywhere_is_refused(tiny_checkpoint: WriteCheckpoint) -> None:
    path = tiny_checkpoint()
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    text_end = content.index(b'"sha256"')
    # Length, description, digest, tensor table and weights, each many times.
    positions = {
        *range(9),
        *range(9, text_end, 97),
        *range(text_end, text_end + 80, 7),
        *range(text_end + 80, header, 61),
    }
    positions |= {*range(header, len(content), 1009), len(content) - 1}
    assert len(positions) > 100
    for position in sorted(positions):
        for flip in (0x01, 0x20, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            assert_refused(lambda: load_checkpoint(path), "", path)
    path.write_bytes(content)
    load_checkpoint(path)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "protocol 2"])
def test_pickles_are_refused_and_never_run(tmp_path: Path, form: str) -> None:
    path, trap = tmp_path / "a.safetensors", tmp_path / "sprung"
    content = {"weights": torch.zeros(3), "trap": Trap(trap)}
    if form in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    else:
        path.write_bytes(pickle.dumps(Trap(trap), protocol=2 if form == "protocol 2" else 4))
    for read in (load_checkpoint, read_description):
        assert_refused(lambda read=read: read(path), "pickled", path)
    assert not trap.exists()


@pytest.mark.parametrize("size", [0x0280, 0x4B50])
def test_a_header_whose_length_begins_like_a_pickle_is_no_pickle(tmp_path: Path, size: int) -> None:
    """safetensors begins with the header's length, and one of 32 lengths ends in 0x80."""
    oracle = make_oracle()
    path = tmp_path / "a.safetensors"
    used = size // 2
    for _ in range(4):  # widen a free text until the header has that length
        save_checkpoint(
            dataclasses.replace(oracle.description, training=TrainingRecord(data="x" * used)), oracle.weights, path
        )
        length = int.from_bytes(path.read_bytes()[:8], "little")
        used = (used + size - length) % 0x10000
    assert path.read_bytes()[:2] == size.to_bytes(2, "little")
    assert load_checkpoint(path).description.id == "tiny-3d"
    assert read_description(path).id == "tiny-3d"


def test_files_of_other_programs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"w": torch.zeros(2)}))
    for read in (load_checkpoint, read_description):
        assert_refused(lambda read=read: read(path), "no description", path)
    path.write_bytes(save({"w": torch.zeros(2)}, metadata={"format": "pt"}))
    assert_refused(lambda: load_checkpoint(path), "no description", path)
    for content in (b"hello, I am a text file", b"\x89PNG\r\n\x1a\n" + b"\x00" * 64, b"{}" * 20):
        path.write_bytes(content)
        for read in (load_checkpoint, read_description):
            assert_refused(lambda read=read: read(path), "no checkpoint", path)


def with_header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__": {"braintumorseg": 5}}',
        b'{"__metadata__": 5}',
        b'{"a": ' + b"[" * 100_000,
        b"{\xff\xfe}",
        b'{"__metadata__": {"braintumorseg": "' + b"[" * 100_000 + b'"}}',
        b'{"__metadata__": {"braintumorseg": "[]"}}',
        b'{"__metadata__": {"braintumorseg": "{"}}',
    ],
    ids=["number", "no table", "deep", "no text", "deep description", "list", "no JSON"],
)
def test_hostile_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_header(header))
    for read in (load_checkpoint, read_description):
        assert_refused(lambda read=read: read(path), "", path)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    for read in (load_checkpoint, read_description):
        assert_refused(lambda read=read: read(tmp_path / "none.safetensors"), "none.safetensors")
        assert_refused(lambda read=read: read(tmp_path), str(tmp_path))


def test_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    values = {"schema_version": SCHEMA_VERSION + 1, "what comes then": True}
    path = forge(tmp_path / "a.safetensors", values)
    with pytest.raises(CheckpointError, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
        load_checkpoint(path)
    assert "Update" in caught.value.remedy


@pytest.mark.parametrize("version", [None, "1", 0, -1, 1.0, True])
def test_a_schema_version_that_is_none_is_refused(tmp_path: Path, version: object) -> None:
    path = forge(tmp_path / "a.safetensors", with_field(describe_model(), "schema_version", version))
    assert_refused(lambda: load_checkpoint(path), "schema version", path)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("id", "", "id"),
        ("id", "../up", "id"),
        ("id", ".hidden", "id"),
        ("id", 5, "id"),
        ("title", None, "title"),
        ("dimensions", 4, "dimensions"),
        ("dimensions", "3", "dimensions"),
        ("network", "unet", "network"),
        ("network.arguments", [], "network.arguments"),
        ("modalities", [], "modalities"),
        ("modalities", ["t1", "t1"], "modalities"),
        ("modalities", ["t1", "pet"], "modalities"),
        ("modalities", "t1", "modalities"),
        ("optional_modalities", ["pet"], "optional"),
        ("outputs", [], "output"),
        ("outputs", [{"name": "x", "labels": [4]}], "output"),
        ("outputs", [{"name": "x", "labels": []}], "output"),
        ("outputs", [{"name": "ED", "labels": [2]}], "none of ET, TC, WT"),
        ("outputs", [{"name": "x"}], "labels"),
        ("preprocessing.orientation", "LPX", "orientation"),
        ("preprocessing.orientation", "LRS", "orientation"),
        ("preprocessing.spacing", [1, 1], "description"),
        ("preprocessing.spacing", [1, 1, -1], "spacing"),
        ("preprocessing.spacing", [1, 1, float("nan")], "spacing"),
        ("preprocessing.spacing", [1, 1, 10**400], "spacing"),
        ("preprocessing.normalisation", "minmax", "minmax"),
        ("preprocessing.bias_correction", "n5", "bias correction"),
        ("tiling.patch", [16, 16], "patch"),
        ("tiling.patch", [16, 16, 0], "patch"),
        ("tiling.patch", [16, 16, -16], "patch"),
        ("tiling.overlap", 1.0, "overlap"),
        ("tiling.overlap", -0.1, "overlap"),
        ("postprocessing.thresholds", {"XX": 0.5}, "threshold"),
        ("postprocessing.filled", ["XX"], "filling"),
        ("postprocessing.temperatures", {"XX": 1.5}, "temperature"),
        ("postprocessing.temperatures", {"ET": 0.0}, "temperature"),
        ("postprocessing.thresholds", {"ET": 0}, "threshold"),
        ("postprocessing.thresholds", {"ET": 1.5}, "threshold"),
        ("storage", "int4", "int4"),
        ("surprise", 1, "surprise"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, field: str, value: Any, named: str) -> None:
    path = forge(tmp_path / "a.safetensors", with_field(describe_model(), field, value))
    for read in (load_checkpoint, read_description):
        assert_refused(lambda read=read: read(path), named, path)


@pytest.mark.parametrize("field", ["id", "dimensions", "network", "modalities", "outputs", "preprocessing", "tiling"])
def test_a_missing_field_is_refused(tmp_path: Path, field: str) -> None:
    values = dataclasses.asdict(describe_model())
    del values[field]
    path = forge(tmp_path / "a.safetensors", values)
    assert_refused(lambda: load_checkpoint(path), field, path)


def test_a_wrong_description_cannot_be_made() -> None:
    with pytest.raises(CheckpointError, match="overlap"):
        describe_model(tiling=TilingSpec((16, 16, 16), 1.5))
    with pytest.raises(CheckpointError, match="patch"):
        describe_model(2, tiling=TilingSpec((16, 16, 16)))
    assert describe_model(2, tiling=TilingSpec((0, 0))).tiling.patch == (0, 0)  # whole slices
    assert describe_model(preprocessing=PreprocessingSpec("RAS", (0, 1, 1))).preprocessing.orientation == "RAS"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_weights_that_fp16_cannot_hold_are_not_saved(tmp_path: Path, bad: float) -> None:
    oracle = make_oracle()
    weights = {**oracle.weights, "head.bias": torch.tensor([0.0, bad, 0.0])}
    assert_refused(lambda: save_checkpoint(oracle.description, weights, tmp_path / "a.safetensors"), "head.bias")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_not_run(tmp_path: Path) -> None:
    weights = {**make_oracle().weights, "head.bias": torch.tensor([0.0, np.nan, 0.0])}
    path = forge(tmp_path / "a.safetensors", dataclasses.asdict(describe_model()), weights)
    assert_refused(lambda: load_checkpoint(path).build(), "head.bias")


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused(change: str) -> None:
    oracle = make_oracle()
    weights = dict(oracle.weights)
    if change == "missing":
        del weights["head.bias"]
    elif change == "extra":
        weights["head.more"] = torch.zeros(1)
    else:
        weights["head.weight"] = torch.zeros(4, 8, 1, 1, 1)
    assert_refused(Checkpoint(oracle.description, weights).build, "do not fit")


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (NetworkSpec("skynet"), "skynet"),
        (NetworkSpec("os.system"), "os.system"),
        (NetworkSpec("unet", {"colour": 1}), "colour"),
        (NetworkSpec("unet", {"width": "wide"}), "wide"),
        (NetworkSpec("unet", {"width": -1}), "-1"),
        (NetworkSpec("unet", {"levels": 0}), "levels"),
        (NetworkSpec("segresnet", {"blocks_down": 3}), "blocks_down"),
        (NetworkSpec("dynunet", {"filters": []}), "filters"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(network: NetworkSpec, named: str) -> None:
    checkpoint = Checkpoint(describe_model(network=network), {})
    assert_refused(checkpoint.build, named)


def outputs(*labels: tuple[int, ...]) -> tuple[OutputSpec, ...]:
    return tuple(OutputSpec(f"o{index}", item) for index, item in enumerate(labels))


@pytest.mark.parametrize(
    ("labels", "regions", "channels"),
    [
        (((3,), (1, 3), (1, 2, 3)), ("ET", "TC", "WT"), ((0,), (0, 1), (0, 1, 2))),
        (((1,), (2,), (3,)), ("ET", "TC", "WT"), ((2,), (0, 2), (0, 1, 2))),
        (((1, 2, 3),), ("WT",), ((0,),)),
        (((1, 3), (2,)), ("TC", "WT"), ((0,), (0, 1))),
        (((3,), (1, 2, 3)), ("ET", "WT"), ((0,), (0, 1))),
    ],
)
def test_regions_follow_from_the_outputs(
    labels: tuple[tuple[int, ...], ...], regions: tuple[str, ...], channels: tuple[tuple[int, ...], ...]
) -> None:
    description = describe_model(outputs=outputs(*labels))
    assert description.regions == regions
    assert tuple(description.outputs_of(name) for name in regions) == channels


def test_required_modalities() -> None:
    assert describe_model(optional_modalities=("t1", "t2")).required_modalities == ("t1ce", "flair")


def test_subsets_hold_what_is_required_the_whole_first() -> None:
    description = describe_model(modalities=("t1", "t1ce", "flair"), optional_modalities=("t1", "flair"))
    assert description.modality_subsets == (("t1", "t1ce", "flair"), ("t1", "t1ce"), ("t1ce", "flair"), ("t1ce",))
    assert describe_model().modality_subsets == (MODALITIES,)
    assert len(describe_model(optional_modalities=MODALITIES).modality_subsets) == 15


def test_accuracy_is_that_of_the_modalities_given() -> None:
    whole = AccuracyRecord("made", 6, "Dice", "brats2021", {"WT": 0.9})
    part = dataclasses.replace(whole, values={"WT": 0.8}, modalities=("flair",))
    other = dataclasses.replace(whole, measure="HD95", values={"WT": 5.0})
    description = describe_model(
        modalities=("t1", "flair"), optional_modalities=("t1", "flair"), accuracy=(other, whole, part)
    )
    assert description.accuracy_with({"flair", "t1", "t2"}) is whole  # it does not take T2
    assert description.accuracy_with(["flair"]) is part
    assert description.accuracy_with(["t1"]) is None


def test_a_description_survives_json() -> None:
    description = describe_model(training=TrainingRecord(recipe={"a": [1, {"b": None}]}, versions={"torch": "2"}))
    assert parse_description(json.dumps(dataclasses.asdict(description)), "text") == description


def test_statistics_of_batch_normalisation_may_be_larger_than_fp16_holds(tmp_path: Path) -> None:
    oracle = make_oracle()
    variance, mean = torch.tensor([1e6, 1e-9] * 4), torch.tensor([-7e4, 0.1] * 4)
    norm = "encoders.0.1"
    weights = {**oracle.weights, f"{norm}.running_var": variance, f"{norm}.running_mean": mean}
    stored = load_checkpoint(save_checkpoint(oracle.description, weights, tmp_path / "m.safetensors")).weights
    assert torch.equal(stored[f"{norm}.running_var"], variance) and torch.equal(stored[f"{norm}.running_mean"], mean)
    assert stored[f"{norm}.weight"].dtype == torch.float16


def test_weights_that_a_network_has_under_two_names_are_stored_once(tmp_path: Path) -> None:
    spec = NetworkSpec("dynunet", {"filters": [4, 8, 8]})
    network = create_network("dynunet", dimensions=3, in_channels=4, out_channels=3, arguments=spec.arguments)
    weights = network.state_dict()
    description = dataclasses.replace(make_oracle().description, network=spec)
    file = save_checkpoint(description, weights, tmp_path / "m.safetensors")
    single = sum(parameter.numel() for parameter in network.parameters())
    assert sum(tensor.numel() for tensor in weights.values()) > 1.5 * single
    checkpoint = load_checkpoint(file)
    assert sum(tensor.numel() for tensor in checkpoint.weights.values()) == single
    built = checkpoint.build().state_dict()
    assert built.keys() == weights.keys()
    assert all(torch.equal(built[name], tensor.half().float()) for name, tensor in weights.items())
    # One that is missing altogether is missed.
    fewer = {name: tensor for name, tensor in weights.items() if not name.startswith("output_block")}
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(save_checkpoint(description, fewer, tmp_path / "n.safetensors")).build()


@pytest.mark.parametrize(
    ("normalisation", "brain"), [("zscore", "extracted"), ("zscore_foreground", "head"), ("none", "head")]
)
def test_files_of_schema_2_mean_what_they_meant(tmp_path: Path, normalisation: str, brain: str) -> None:
    """They did not say what the images must show: a z-score was taken over an extracted brain."""
    values = with_field(describe_model(), "preprocessing.normalisation", normalisation) | {"schema_version": 2}
    del values["preprocessing"]["brain"]
    description = load_checkpoint(forge(tmp_path / "a.safetensors", values)).description
    assert description.preprocessing.brain == brain
    saved = load_checkpoint(save_checkpoint(description, make_oracle().weights, tmp_path / "b.safetensors"))
    assert (saved.description.schema_version, saved.description.preprocessing.brain) == (SCHEMA_VERSION, brain)
    with pytest.raises(CheckpointError, match="kind of image"):
        load_checkpoint(forge(tmp_path / "c.safetensors", with_field(describe_model(), "preprocessing.brain", "liver")))
