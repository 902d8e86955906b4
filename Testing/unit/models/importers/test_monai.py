"""Bundles and Auto3DSeg models give the label maps that MONAI gives."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError, ModalityError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.catalogue import add, load_model
from BrainTumorSegLib.models.importers.wishes import Wishes
from Testing.monai_samples import (
    AUTO_ORDER,
    BUNDLE,
    METADATA,
    ORDER,
    auto3dseg_config,
    run_auto3dseg,
    run_bundle,
    write_auto3dseg,
    write_bundle,
)
from Testing.samples import STYLES, Patient

OPTIONS = RunOptions(device="cpu", precision="fp32", preprocess="none")
WriteCase = Callable[..., Path]


def files_of(folder: Path, order: tuple[str, ...]) -> list[Path]:
    return [folder / f"{folder.name}{STYLES['brats2021'][name]}.nii.gz" for name in order]


def bundle_with(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The bundle's configuration with another value at a place."""
    config = copy.deepcopy(BUNDLE)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


@pytest.mark.parametrize(
    "config",
    [
        BUNDLE,
        bundle_with(("inferer", "mode"), "gaussian"),
        bundle_with(("spatial_size",), [32, 32, 24]),
        bundle_with(
            ("preprocessing", "transforms"),
            [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {"_target_": "Orientationd", "keys": ["image"], "axcodes": "RAS"},
                {
                    "_target_": "CropForegroundd",
                    "keys": "image",
                    "source_key": "image",
                    "margin": 2,
                    "allow_smaller": True,
                },
                {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
            ],
        ),
    ],
    ids=["windows", "gaussian", "larger-than-the-image", "turned-and-cropped"],
)
def test_a_bundle_gives_what_monai_gives(
    tmp_path: Path, patient: Patient, write_case: WriteCase, config: dict[str, Any]
) -> None:
    network = write_bundle(tmp_path / "tiny", config)
    d = add(tmp_path / "tiny", Wishes(licence="Apache-2.0")).description
    assert (d.id, d.version, d.modalities) == ("tiny", "0.5.3", ORDER)
    found = segment_case(patient.case(), load_model("tiny"), OPTIONS).labels.array
    wanted = run_bundle(config, network, files_of(write_case(patient), ORDER))
    if config["preprocessing"] is not BUNDLE["preprocessing"] and len(config["preprocessing"]["transforms"]) == 4:
        whole = np.zeros_like(found)  # MONAI's result is that of the turned crop
        brain = np.argwhere(np.any([volume.array for volume in patient.images.values()], axis=0))
        low = np.maximum(brain.min(axis=0) - 2, 0)
        high = np.minimum(brain.max(axis=0) + 3, found.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        whole[box] = wanted[:, ::-1, ::-1]
        wanted = whole
    assert len(np.unique(wanted)) > 2, "random weights find something"
    assert np.mean(found != wanted) < 1e-3


def test_a_bundle_in_an_archive_and_in_yaml(tmp_path: Path) -> None:
    import yaml

    write_bundle(tmp_path / "in" / "tiny")
    configs = tmp_path / "in" / "tiny" / "configs"
    (configs / "inference.json").unlink()
    (configs / "inference.yaml").write_text(yaml.safe_dump(BUNDLE))
    archive = shutil.make_archive(str(tmp_path / "tiny_v1"), "zip", tmp_path / "in")
    d = add(archive).description
    assert d.tiling.patch == (16, 16, 16) and d.training.recipe["source"] == "tiny_v1.zip"
    (configs / "inference.yaml").write_text("a: &a [1, 2]\nb: *a\n")
    with pytest.raises(CheckpointError, match="refers to its own parts"):
        add(tmp_path / "in")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("network_def", "_target_"), "ViT", "ViT"),
        (("network_def", "upsample_mode"), "deconv", "upsample_mode"),
        (("network_def", "act"), "PRELU", "act"),
        (("network_def", "norm"), ["GROUP", {"num_groups": 4}], "norm"),
        (("network_def", "init_filters"), 16, "do not fit"),
        (("preprocessing", "transforms", 1, "_target_"), "ScaleIntensityRanged", "ScaleIntensityRange"),
        (("preprocessing", "transforms", 1, "nonzero"), False, "over the background"),
        (("preprocessing", "transforms", 1, "subtrahend"), 5.0, "numbers of its own"),
        (("preprocessing", "transforms", 0, "_target_"), "my_package.MyTransform", "MyTransform"),
        (("inferer", "_target_"), "SimpleInferer", "SimpleInferer"),
        (("inferer", "mode"), "cosine", "cosine"),
        (("inferer", "roi_size"), "$[16, 16, 16]", "roi_size"),
        (("postprocessing", "transforms", 1, "threshold"), 0.3, "threshold"),
        (("postprocessing", "transforms", 0, "_target_"), "KeepLargestConnectedComponentd", "KeepLargest"),
        (("postprocessing",), {"_target_": "Compose", "transforms": []}, "no activation"),
    ],
)
def test_the_first_thing_that_cannot_be_said_is_named(
    tmp_path: Path, path: tuple[Any, ...], value: Any, named: str
) -> None:
    write_bundle(tmp_path / "tiny", bundle_with(path, value))
    with pytest.raises(CheckpointError, match=named) as caught:
        add(tmp_path / "tiny")
    assert caught.value.remedy


def test_a_bundle_that_does_not_name_its_channels_asks(tmp_path: Path) -> None:
    metadata = copy.deepcopy(METADATA)
    metadata["network_data_format"]["inputs"]["image"]["channel_def"] = {}
    write_bundle(tmp_path / "tiny", metadata=metadata)
    with pytest.raises(ModalityError, match="channel 0"):
        add(tmp_path / "tiny")
    assert add(tmp_path / "tiny", Wishes(channels=ORDER)).description.modalities == ORDER
    shutil.move(tmp_path / "tiny" / "models" / "model.pt", tmp_path / "tiny" / "models" / "model.ts")
    with pytest.raises(CheckpointError, match=r"model\.ts is a program"):
        add(tmp_path / "tiny")


@pytest.mark.parametrize(
    "changes",
    [{}, {"normalize_mode": "meanstdtanh", "roi_size": [32, 32, 32]}, {"orientation_ras": False}],
    ids=["windows", "tanh-one-window", "as-the-file"],
)
def test_auto3dseg_gives_what_its_script_gives(
    tmp_path: Path, patient: Patient, write_case: WriteCase, changes: dict[str, Any]
) -> None:
    config = auto3dseg_config(**changes)
    network = write_auto3dseg(tmp_path / "model.pt", config)
    with pytest.raises(ModalityError):
        add(tmp_path / "model.pt")
    d = add(tmp_path / "model.pt", Wishes(id="auto", channels=AUTO_ORDER)).description
    assert [output.labels for output in d.outputs] == [(1, 2, 3), (1, 3), (3,)]
    found = segment_case(patient.case(), load_model("auto"), OPTIONS).labels.array
    wanted = run_auto3dseg(config, network, files_of(write_case(patient), AUTO_ORDER))
    assert len(np.unique(wanted)) > 2, "random weights find something"
    assert np.mean(found != wanted) < 1e-3


def test_auto3dseg_with_classes_in_an_archive_with_a_table(
    tmp_path: Path, patient: Patient, write_case: WriteCase
) -> None:
    config = auto3dseg_config(sigmoid=False, bundle_root="/elsewhere")
    config["network"] |= {"out_channels": 4, "norm": "BATCH"}
    network = write_auto3dseg(tmp_path / "brats-x" / "model.pt", config)
    (tmp_path / "brats-x" / "labels.csv").write_text("LabelValue,Name\n1,Necrosis\n2,Edema\n3,Enhancing tumor\n")
    archive = shutil.make_archive(str(tmp_path / "brats-x-v1.0.0"), "zip", tmp_path / "brats-x")
    d = add(archive, Wishes(channels=AUTO_ORDER)).description
    assert d.id == "brats-x-v1.0.0" and d.activation == "softmax"
    found = segment_case(patient.case(), load_model(d.id), OPTIONS).labels.array
    wanted = run_auto3dseg(config, network, files_of(write_case(patient), AUTO_ORDER))
    assert len(np.unique(wanted)) > 2
    assert np.mean(found != wanted) < 1e-3


def test_a_table_of_classes_names_no_regions(tmp_path: Path) -> None:
    """Three outputs that overlap are not the three classes of the table beside them."""
    write_auto3dseg(tmp_path / "model.pt", auto3dseg_config(bundle_root="/elsewhere"))
    (tmp_path / "labels.csv").write_text("LabelValue,Name\n1,Necrosis\n2,Edema\n3,Enhancing tumor\n")
    with pytest.raises(CheckpointError, match="label 1"):
        add(tmp_path / "model.pt", Wishes(channels=AUTO_ORDER))
    said = Wishes(channels=AUTO_ORDER, labels={"1": "WT", "2": "TC", "3": "ET"})
    assert [o.labels for o in add(tmp_path / "model.pt", said).description.outputs] == [(1, 2, 3), (1, 3), (3,)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"normalize_mode": "ct"}, "'ct'"),
        ({"extra_modalities": {"image2": "mri"}}, "each channel"),
        ({"roi_size": [16, 16]}, "roi_size"),
        ({"bundle_root": "/elsewhere"}, "label 1"),
    ],
)
def test_auto3dseg_that_cannot_be_taken_over(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    write_auto3dseg(tmp_path / "model.pt", auto3dseg_config(**changes))
    with pytest.raises(CheckpointError, match=named):
        add(tmp_path / "model.pt", Wishes(channels=AUTO_ORDER))


def test_a_file_of_weights_alone_says_what_is_missing(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="no configuration beside its weights"):
        add(tmp_path / "weights.pt")
