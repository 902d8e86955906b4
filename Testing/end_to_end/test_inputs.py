"""What ``braintumorseg segment`` makes of a folder: what it took as what, what it left out, what it cannot take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.models.description import PreprocessingSpec
from Testing import samples

from .making import AFFINE, Cli, make_images, write_case


@pytest.fixture(scope="module")
def grey_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice-wise model that reads WT off FLAIR exactly and takes nothing else."""
    return samples.write_oracle(
        tmp_path_factory.mktemp("models") / "grey.safetensors",
        dimensions=2,
        outputs="whole",
        modalities=("flair",),
        preprocessing=PreprocessingSpec(spacing=(0.0, 0.0, 0.0)),
    )


@pytest.fixture(scope="module")
def pages() -> np.ndarray:
    """FLAIR of a made patient in grey levels, slice by slice."""
    return (samples.make_patient().images["flair"].array / 6).clip(0, 255).astype(np.uint8)


def truth() -> np.ndarray:
    return (samples.make_patient().labels.array > 0) * np.uint8(255)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(make_images()["flair"], AFFINE), path)


def test_what_was_taken_and_what_was_left_out_is_said(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path / "P1")
    for name in ("P1_seg", "P1_swi", "P1_T2_star"):
        put(folder / f"{name}.nii.gz")
    done = cli("segment", folder, "-o", tmp_path / "o.nii.gz", "--model", model)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o.json").read_text())
    taken = {name: str(folder / f"P1_{name}.nii.gz") for name in ("t1", "t1ce", "t2", "flair")}
    assert record["provenance"]["inputs"] == taken and record["case"] == "P1"
    assert set(record["left_out"]) == {"P1_seg.nii.gz", "P1_swi.nii.gz", "P1_T2_star.nii.gz"}
    said = done.stdout.splitlines()
    assert all(f"{name}: {file}" in said for name, file in taken.items())
    assert all(f"left out: {name} ({why})" in said for name, why in record["left_out"].items())
    assert "segmentation" in record["left_out"]["P1_seg.nii.gz"]


def test_a_folder_of_2d_images_with_masks_among_them(
    cli: Cli, grey_model: Path, pages: np.ndarray, tmp_path: Path
) -> None:
    """The masks are what somebody drew: they stay, and are no slices."""
    folder = tmp_path / "P1"
    folder.mkdir()
    drawn = Image.fromarray(np.full(pages[0].shape, 255, np.uint8))
    for z in range(7, 11):
        Image.fromarray(pages[z]).save(folder / f"p_{z}.png")
        drawn.save(folder / f"p_{z}_mask.png")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = cli("segment", folder, "-o", tmp_path / "out", "--model", grey_model)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert record["images"] == [f"p_{z}.png" for z in range(7, 11)]
    assert sorted(record["left_out"]) == sorted(f"p_{z}_mask.png" for z in range(7, 11))
    assert "left out: p_7_mask.png (a mask)" in done.stdout
    assert len(list((tmp_path / "out").glob("*_mask.png"))) == 4
    refused = cli("segment", folder, "-o", folder, "--model", grey_model)
    assert refused.returncode == 2 and "mask" in refused.stderr, refused.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_pages_of_a_tiff_get_a_mask_each(cli: Cli, grey_model: Path, pages: np.ndarray, tmp_path: Path) -> None:
    first, *rest = (Image.fromarray(page) for page in pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=rest)
    done = cli("segment", tmp_path / "stack.tif", "-o", tmp_path / "out", "--model", grey_model)
    assert done.returncode == 0, done.stderr
    masks = sorted((tmp_path / "out").glob("stack_*_mask.png"))
    assert np.array_equal([np.asarray(Image.open(path)) for path in masks], truth())


def test_one_grey_image_for_a_model_that_takes_flair(
    cli: Cli, grey_model: Path, pages: np.ndarray, tmp_path: Path
) -> None:
    z = int(np.argmax(truth().sum(axis=(1, 2))))
    Image.fromarray(pages[z]).save(tmp_path / "one.png")
    done = cli("segment", tmp_path / "one.png", "-o", tmp_path / "out", "--model", grey_model)
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "out" / "one_mask.png"))
    assert mask.shape == pages[z].shape and mask.any() and mask[pages[z] == 0].sum() == 0
    assert list(json.loads((tmp_path / "out" / "segmentation.json").read_text())["provenance"]["inputs"]) == ["flair"]


def dicom(root: Path) -> None:
    (root / "series").mkdir(parents=True)
    (root / "series" / "IM0001").write_bytes(b"\x00" * 128 + b"DICM" + b"\x00" * 20)


def bids(root: Path) -> None:
    for subject in ("sub-01", "sub-02"):
        put(root / subject / "ses-1" / "anat" / f"{subject}_ses-1_FLAIR.nii.gz")
    (root / "dataset_description.json").write_text("{}")


def decathlon(root: Path) -> None:
    for number in (1, 2):
        put(root / "imagesTr" / f"BRATS_00{number}.nii.gz")


def flat(root: Path) -> None:
    for name in ("A_t1", "A_flair", "B_t1", "B_flair"):
        put(root / f"{name}.nii.gz")


def clash(root: Path) -> None:
    for name in ("P_t1ce", "P_t1gd", "P_flair"):
        put(root / f"{name}.nii.gz")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (dicom, ("only damaged DICOM files", "MR series")),
        (bids, ("BIDS", "holds 2", "sub-01")),
        (decathlon, ("2 cases in imagesTr", "BRATS_001.nii.gz")),
        (flat, ("holds 2 cases, such as A", "--flair")),
        (clash, ("P_t1ce", "P_t1gd", "--t1ce FILE")),
    ],
)
def test_a_folder_that_is_no_case_says_what_to_give(
    cli: Cli, model: Path, tmp_path: Path, make: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    make(tmp_path / "root")
    done = cli("segment", tmp_path / "root", "-o", tmp_path / "out" / "o.nii.gz", "--model", model)
    assert done.returncode == 2 and all(word in done.stderr for word in words), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()
