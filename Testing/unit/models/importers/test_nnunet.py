"""Models of nnU-Net v2 give the label maps that nnU-Net gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import CheckpointError, ModalityError, RequestError
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.catalogue import add, load_model
from BrainTumorSegLib.models.importers.nnunet_reference import _Reference
from BrainTumorSegLib.models.importers.wishes import Wishes
from BrainTumorSegLib.models.model_card import model_card
from Testing.nnunet_samples import CLASSES, REGIONS, make_plans, predict, write_model
from Testing.samples import Patient

OPTIONS = RunOptions(device="cpu", precision="fp32", preprocess="none", tta=True)


def images_of(patient: Patient) -> np.ndarray:
    return np.stack([patient.images[name].array for name in MODALITIES]).astype(np.float32)


@pytest.mark.parametrize(
    ("dims", "labels", "residual", "folds", "patch", "mirrored"),
    [
        (3, REGIONS, False, 1, (16, 12, 16), (0, 1, 2)),
        (3, CLASSES, True, 2, (32, 16, 16), (2,)),
        (3, REGIONS, True, 2, (16, 16, 40), ()),
        (2, CLASSES, False, 1, (16, 12), (0, 1)),
        (2, REGIONS, True, 3, (32, 40), (1,)),
    ],
    ids=["regions", "classes-of-two-folds", "residual-regions", "slices", "residual-slices"],
)
def test_label_maps_are_those_of_nnunet(
    tmp_path: Path,
    patient: Patient,
    dims: int,
    labels: dict[str, Any],
    residual: bool,
    folds: int,
    patch: tuple[int, ...],
    mirrored: tuple[int, ...],
) -> None:
    """Windows smaller and larger than the brain, classes and regions, one and several folds."""
    networks = write_model(
        tmp_path, dims, labels=labels, residual=residual, folds=folds, patch=patch, mirrored=mirrored
    )
    model = add(tmp_path, Wishes(id="tiny"))
    found = segment_case(patient.case(), load_model(model.description.id), OPTIONS).labels.array
    wanted = predict(networks, images_of(patient), patch, mirrored, softmax=labels is CLASSES)
    assert len(np.unique(wanted)) > 2, "random weights find something"
    assert np.mean(found != wanted) < 1e-3  # nnU-Net adds up in half precision, this in single


def test_axes_in_another_order(tmp_path: Path, patient: Patient) -> None:
    """Plans that transpose the axes, as those of coarse sagittal images do."""
    plans = make_plans(3, (16, 12, 16), (4, 8)) | {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
    networks = write_model(tmp_path, plans=plans)
    add(tmp_path, Wishes(id="tiny"))
    found = segment_case(patient.case(), load_model("tiny"), OPTIONS).labels.array
    turned = np.transpose(images_of(patient), (0, 3, 1, 2))
    wanted = predict(networks, turned, (16, 12, 16), (0, 1, 2), softmax=False).transpose(1, 2, 0)
    assert np.mean(found != wanted) < 1e-3


def test_another_spacing_is_resampled_there_and_back(tmp_path: Path, patient: Patient) -> None:
    plans = make_plans(3, (16, 16, 16), (4, 8))
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 2.0, 2.0]
    write_model(tmp_path, plans=plans)
    add(tmp_path, Wishes(id="tiny"))
    result = segment_case(patient.case(), load_model("tiny"), OPTIONS)
    assert result.labels.shape == patient.labels.shape
    assert "the network ran at 2 × 2 × 2 mm" in result.provenance["preprocessing"]


@pytest.mark.parametrize(
    ("scheme", "masked"),
    [("ZScoreNormalization", False), ("CTNormalization", False), ("RescaleTo01Normalization", False)],
)
def test_normalisations(tmp_path: Path, patient: Patient, scheme: str, masked: bool) -> None:
    """What reaches the network is what nnU-Net makes of the images."""
    plans = make_plans(3, (16, 16, 16), (4, 8))
    plans["configurations"]["3d_fullres"] |= {"normalization_schemes": [scheme] * 4, "use_mask_for_norm": [masked] * 4}
    properties = {"mean": 400.0, "std": 120.0, "percentile_00_5": 50.0, "percentile_99_5": 900.0}
    plans["foreground_intensity_properties_per_channel"] = {str(n): properties for n in range(4)}
    write_model(tmp_path, plans=plans)
    add(tmp_path, Wishes(id="tiny", brain="extracted"))
    from BrainTumorSegLib.preprocessing import prepare

    d = load_model("tiny").description
    prepared = prepare(patient.case(), d.modalities, d.preprocessing)
    images = images_of(patient)[(slice(None), *prepared.box)]
    assert (images != 0).any(axis=(0, 2, 3)).all(), "the box ends where the brain ends"
    for image, found in zip(images, prepared.array, strict=True):
        wanted = {
            "ZScoreNormalization": (image - image.mean()) / image.std(),
            "CTNormalization": (np.clip(image, 50, 900) - 400) / 120,
            "RescaleTo01Normalization": (image - image.min()) / (image.max() - image.min()),
        }[scheme]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_an_archive_and_a_choice_of_folds(tmp_path: Path) -> None:
    write_model(tmp_path / "results", folds=3)
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "results")
    whole = add(archive, Wishes(id="whole", licence="CC-BY-4.0", source="https://example.org/model.zip")).description
    assert [member.id for member in whole.members] == ["whole-fold_0", "whole-fold_1", "whole-fold_2"]
    assert whole.pooling == "geometric" and whole.regions == ("ET", "TC", "WT")
    assert "The logits of 3 members are averaged" in model_card(whole)
    assert whole.weights_licence == "CC-BY-4.0" and whole.training.recipe["source"] == "https://example.org/model.zip"
    one = add(archive, Wishes(id="one", folds=("1",))).description
    assert not one.members and one.id == "one"
    with pytest.raises(CheckpointError, match="no trained fold 7") as caught:
        add(archive, Wishes(folds=("7",)))
    assert "0, 1, 2" in caught.value.remedy


def test_a_file_of_the_folder_stands_for_it(tmp_path: Path) -> None:
    """As a dialogue of files gives it."""
    write_model(tmp_path)
    assert add(next(tmp_path.rglob("plans.json")), Wishes(id="tiny")).description.id == "tiny"


def test_several_models_in_a_folder(tmp_path: Path) -> None:
    write_model(tmp_path, 3)
    write_model(tmp_path / "more", 2)
    with pytest.raises(CheckpointError, match="2 models") as caught:
        add(tmp_path)
    assert "--configuration" in caught.value.remedy
    assert add(tmp_path, Wishes(configuration="2d")).description.dimensions == 2


def test_what_the_files_leave_open_is_asked_for(tmp_path: Path, patient: Patient) -> None:
    labels = {"background": 0, "lesion": [1, 2, 3], "middle": [1, 3], "bright": 3}
    channels = {"0": "first", "1": "second", "2": "third", "3": "fourth"}
    write_model(tmp_path, labels=labels, channels=channels)
    with pytest.raises(ModalityError, match="first") as caught:
        add(tmp_path)
    assert "--channels t1,t1ce,t2,flair" in caught.value.remedy
    order = ("flair", "t2", "t1", "t1ce")
    with pytest.raises(CheckpointError, match="'lesion'") as caught_label:
        add(tmp_path, Wishes(channels=order))
    assert "--labels 'lesion=WT'" in caught_label.value.remedy
    said = {"lesion": "WT", "middle": "TC", "bright": "ET"}
    d = add(tmp_path, Wishes(channels=order, labels=said)).description
    assert d.modalities == order and [output.labels for output in d.outputs] == [(1, 2, 3), (1, 3), (3,)]
    with pytest.raises(RequestError, match="4 channels"):
        add(tmp_path, Wishes(channels=("t1",)))
    with pytest.raises(CheckpointError, match="does not lie within"):
        add(tmp_path, Wishes(channels=order, labels={"lesion": "ET", "middle": "TC", "bright": "WT"}))


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Plans with another value at a place."""
    plans = make_plans(3, (16, 16, 16), (4, 8))
    place = plans
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return plans


CONFIGURATION = ("configurations", "3d_fullres")
ARCHITECTURE = (*CONFIGURATION, "architecture")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ((*CONFIGURATION, "previous_stage"), "3d_lowres", "cascade"),
        ((*CONFIGURATION, "normalization_schemes"), ["MyNormalization"] * 4, "MyNormalization"),
        ((*CONFIGURATION, "use_mask_for_norm"), [True, True, False, True], "different ways"),
        ((*CONFIGURATION, "resampling_fn_data"), "my_resampling", "my_resampling"),
        ((*CONFIGURATION, "resampling_fn_data_kwargs"), {"order": 3, "force_separate_z": True}, "across slices"),
        ((*CONFIGURATION, "resampling_fn_data_kwargs"), {"order": 3, "order_z": 1}, "across slices"),
        ((*CONFIGURATION, "resampling_fn_data_kwargs"), {"force_separate_z": "yes"}, "force_separate_z"),
        ((*CONFIGURATION, "preprocessor_name"), "MyPreprocessor", "way of its own"),
        ((*CONFIGURATION, "patch_size"), "large", "patch_size"),
        ((*ARCHITECTURE, "network_class_name"), "a.b.PrimusNet", "PrimusNet"),
        ((*ARCHITECTURE, "arch_kwargs", "strides"), [[1, 1, 1]], "strides"),
        ((*ARCHITECTURE, "arch_kwargs", "features_per_stage"), [4, 16], "do not fit its network"),
        ((*ARCHITECTURE, "arch_kwargs", "norm_op"), "torch.nn.GroupNorm", "GroupNorm"),
        ((*ARCHITECTURE, "arch_kwargs", "nonlin"), "torch.nn.GELU", "GELU"),
        ((*ARCHITECTURE, "arch_kwargs", "dropout_op"), "torch.nn.Dropout3d", "dropout"),
        (("label_manager",), "MyLabels", "labels of a kind"),
        (("image_reader_writer",), "Rgb2D", "Rgb2D"),
        (("transpose_forward",), [0, 0, 2], "transpose_forward"),
    ],
)
def test_what_cannot_be_said_here_is_refused_by_name(
    tmp_path: Path, path: tuple[str, ...], value: Any, named: str
) -> None:
    write_model(tmp_path, plans=changed(path, value))
    with pytest.raises(CheckpointError, match=named) as caught:
        add(tmp_path)
    assert caught.value.remedy


def test_slices_that_are_never_resampled_apart_have_no_order_of_their_own(tmp_path: Path) -> None:
    options = {"is_seg": False, "order": 3, "order_z": 1, "force_separate_z": False}
    write_model(tmp_path, plans=changed((*CONFIGURATION, "resampling_fn_data_kwargs"), options))
    assert add(tmp_path).description.preprocessing.interpolation == "cubic"


def test_plans_of_before_version_2_3(tmp_path: Path) -> None:
    plans = make_plans(3, (16, 16, 16), (4, 8))
    del plans["configurations"]["3d_fullres"]["architecture"]
    plans["configurations"]["3d_fullres"] |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2, 2],
        "n_conv_per_stage_decoder": [2],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "num_pool_per_axis": [1, 1, 1],
    }
    write_model(tmp_path, plans=plans)
    assert add(tmp_path).description.network.arguments["features"] == [4, 8]


def test_a_network_that_gives_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans say a slope that is not that of the operations: the importer's own check finds it."""
    write_model(tmp_path)
    before = _Reference._active
    monkeypatch.setattr(_Reference, "_active", lambda self, features: before(self, features) * 1.5)
    with pytest.raises(CheckpointError, match="something else here"):
        add(tmp_path)


def test_the_slope_of_the_plans_counts(tmp_path: Path, patient: Patient) -> None:
    plans = changed((*ARCHITECTURE, "arch_kwargs", "nonlin_kwargs"), {"negative_slope": 0.2})
    write_model(tmp_path, plans=plans)
    assert add(tmp_path).description.network.arguments["slope"] == 0.2


def test_a_folder_without_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    for file in tmp_path.rglob("*.pth"):
        file.unlink()
    with pytest.raises(CheckpointError, match="no trained fold"):
        add(tmp_path)
    dataset = next(tmp_path.rglob("dataset.json"))
    dataset.write_text(json.dumps({}))
    with pytest.raises(CheckpointError):
        add(tmp_path)
