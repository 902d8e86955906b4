from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError, ModalityError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import case_from_files, read_case
from BrainTumorSegLib.io.registry import write_volume
from Testing.samples import Patient, write_decathlon

WriteCase = Callable[..., Path]


@pytest.mark.parametrize("style", ["brats2021", "brats2023"])
def test_case_folders(write_case: WriteCase, patient: Patient, style: str) -> None:
    folder = write_case(style=style)
    assert len(list(folder.iterdir())) == 5  # the segmentation is there and is not taken for a sequence
    case = read_case(folder)
    assert case.id == folder.name
    assert case.modalities == ("t1", "t1ce", "t2", "flair")
    assert case.reference == "t1ce"
    for name, volume in case.images.items():
        np.testing.assert_array_equal(volume.array, patient.images[name].array)
        np.testing.assert_allclose(volume.affine, patient.images[name].affine, atol=1e-4)


def test_the_segmentation_is_no_sequence_even_where_the_case_is_named_like_one(write_case: WriteCase) -> None:
    folder = write_case(case_id="T1-study_007", modalities=("t2", "flair"))
    assert (folder / "T1-study_007_seg.nii.gz").is_file()
    assert read_case(folder).modalities == ("t2", "flair")


def test_hidden_files_and_others_are_left_out(write_case: WriteCase) -> None:
    folder = write_case(modalities=("t1", "flair"))
    (folder / "._BraTS2021_00001_t1.nii.gz").write_bytes(b"\x00\x05\x16\x07")
    (folder / "BraTS2021_00001_t2.txt").write_text("not an image")
    (folder / "t2").mkdir()
    assert read_case(folder).modalities == ("t1", "flair")


def test_a_folder_named_by_a_dot_keeps_its_name(write_case: WriteCase, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_case()
    monkeypatch.chdir(folder)
    assert read_case(".").id == folder.name


def test_a_decathlon_file(tmp_path: Path, patient: Patient) -> None:
    case = read_case(write_decathlon(tmp_path / "BRATS_001.nii.gz"))
    assert case.id == "BRATS_001" and case.reference == "t1ce"
    for name, volume in case.images.items():
        np.testing.assert_array_equal(volume.array, patient.images[name].array)
        assert "BRATS_001.nii.gz" in volume.source


def test_one_sequence_alone_is_no_case(write_case: WriteCase) -> None:
    path = next(write_case().glob("*_t1.nii.gz"))
    with pytest.raises(InputError, match="four channels") as caught:
        read_case(path)
    assert "--t1 FILE" in caught.value.remedy


def test_folders_without_sequences(tmp_path: Path, write_case: WriteCase) -> None:
    with pytest.raises(ModalityError, match="no file whose name"):
        read_case(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_case(tmp_path / "nowhere")
    folder = write_case(modalities=())
    with pytest.raises(ModalityError, match="no file whose name"):
        read_case(folder)


def test_two_files_for_one_sequence_are_refused(write_case: WriteCase) -> None:
    folder = write_case()
    shutil.copy(folder / "BraTS2021_00001_t1ce.nii.gz", folder / "BraTS2021_00001_t1gd.nii.gz")
    with pytest.raises(ModalityError, match="t1gd"):
        read_case(folder)


def test_one_file_for_two_sequences_is_refused(write_case: WriteCase) -> None:
    folder = write_case()
    path = folder / "BraTS2021_00001_t1.nii.gz"
    with pytest.raises(ModalityError, match="T1 and as T2"):
        case_from_files({"t1": path, "t2": folder / ".." / folder.name / path.name})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("P1_t1", "P1_flair"), "P1"),
        (("BraTS-GLI-00001-000-t1n", "BraTS-GLI-00001-000-t1c", "BraTS-GLI-00001-000-t2w"), "BraTS-GLI-00001-000"),
        (("a b_t1", "a b_t1ce"), "a b"),
        (("P1_flair",), "P1_flair"),
        (("t1", "t1ce"), "the folder"),
        (("one_t1", "two_t2"), "the folder"),
    ],
)
def test_case_name_from_files(tmp_path: Path, patient: Patient, names: tuple[str, ...], expected: str) -> None:
    folder = tmp_path / "the folder"
    folder.mkdir()
    files = {}
    for modality, name in zip(("t1", "t1ce", "t2"), names, strict=False):
        files[modality] = folder / f"{name}.nii.gz"
        write_volume(patient.images[modality], files[modality])
    assert case_from_files(files).id == expected
    assert case_from_files(files, case_id="mine").id == "mine"


def test_the_reference_can_be_chosen(patient: Patient) -> None:
    case = Case("a", patient.images, reference="flair")
    assert case.reference_volume is patient.images["flair"]
    with pytest.raises(ModalityError, match="t2"):
        Case("a", {"t1": patient.images["t1"]}, reference="t2")


def test_unknown_modalities_and_none_are_refused(patient: Patient) -> None:
    with pytest.raises(ModalityError, match="'pet'"):
        Case("a", {"t1": patient.images["t1"], "pet": patient.images["t2"]})
    with pytest.raises(ModalityError, match="No image"):
        Case("a", {})


IMAGE = np.arange(1.0, 25.0, dtype=np.float32).reshape(2, 3, 4)


def spoiled(value: float, dtype: type = np.float32) -> np.ndarray:
    array = IMAGE.astype(dtype)
    array[1, 1, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (spoiled(np.inf), "NaN or infinite"),
        (spoiled(-np.inf), "NaN or infinite"),
        (spoiled(1e300, np.float64), "NaN or infinite"),  # infinite in the network's float32
        (np.zeros((2, 3, 4), np.int16), "zero everywhere"),
        (np.full((2, 3, 4), 7, np.int16), "same value"),
        ((IMAGE > 12).astype(np.uint8), "mask"),
        (np.stack([IMAGE, IMAGE]), "not a 3D image"),
        (np.ones((3, 4), np.float32), "not a 3D image"),
        (np.ones((0, 3, 4), np.float32), "not a 3D image"),
    ],
)
def test_unusable_images_are_refused(array: np.ndarray, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        Case("a", {"flair": Volume(array, np.eye(4), "a_flair.nii.gz")})
    assert "FLAIR (a_flair.nii.gz)" in str(caught.value) and caught.value.remedy


def test_nan_outside_the_brain_is_background_and_said(patient: Patient) -> None:
    flair = patient.images["flair"]
    outside = np.where(flair.array == 0, np.nan, flair.array.astype(np.float32))
    case = Case("a", {**patient.images, "flair": flair.with_array(outside)})
    np.testing.assert_array_equal(case.images["flair"].array, flair.array)
    assert len(case.warnings) == 1 and "FLAIR" in case.warnings[0] and "NaN" in case.warnings[0]
    outside[tuple(size // 2 for size in outside.shape)] = np.nan  # one in the middle of the brain
    with pytest.raises(InputError, match="NaN"):
        Case("a", {"flair": flair.with_array(outside)})
