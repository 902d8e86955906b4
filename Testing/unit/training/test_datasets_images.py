"""LGG and other folders of images: what is found, how it is read, and what is said of what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.domain.errors import InputError, ModalityError, RequestError
from BrainTumorSegLib.models.description import PreprocessingSpec
from Testing.image_data import SIZE, make_slice, write_image, write_lgg
from Training.datasets.cache import CaseCache
from Training.datasets.images import find_images
from Training.datasets.lgg import find_lgg
from Training.datasets.split import read_split

CHANNELS = ("t1", "flair", "t1ce")
SPEC = PreprocessingSpec(spacing=(0.0, 8.0, 8.0), normalisation="zscore_foreground")


def test_lgg_as_published(tmp_path: Path) -> None:
    """Slices in the order of their numbers, channels by name, the mask as label 2."""
    write_lgg(tmp_path / "kaggle_3m", ["TCGA_A", "TCGA_B"])
    found = find_lgg(tmp_path)
    assert list(found.cases) == ["TCGA_A", "TCGA_B"] and found.problems == found.notes == ()
    case, labels = found.cases["TCGA_B"].load(CHANNELS)
    for number in range(3):  # files 9, 10, 11
        image, tumour = make_slice(number, 1)
        for channel, name in enumerate(CHANNELS):
            assert np.array_equal(case.images[name].array[number], image[..., channel])
        assert np.array_equal(labels.array[number], tumour * 2)
    assert labels.array.any() and not labels.array[0].any()
    assert np.array_equal(labels.affine, case.reference_volume.affine)
    assert len(found.cases["TCGA_B"].files()) == 6


def test_a_patients_slices_are_normalised_together(tmp_path: Path) -> None:
    """A slice twice as bright stays brighter; each alone would come out alike."""
    write_lgg(tmp_path, ["P"], slices=2)
    file = tmp_path / "P" / "P_10.tif"
    write_image(file, np.minimum(np.asarray(Image.open(file)).astype(int) * 2, 255).astype(np.uint8))
    cached = CaseCache(tmp_path / "cache", CHANNELS, SPEC).get(find_lgg(tmp_path).cases["P"])
    image = cached.image().astype(float)
    assert image.shape[:2] == (3, 2) and image.shape[1:] == cached.labels().shape
    means = [image[0, z][image[0, z] != 0].mean() for z in (0, 1)]
    assert means[1] - means[0] > 1.5
    assert abs(image[image != 0].mean()) < 0.05


def test_missing_contrast_channels(tmp_path: Path) -> None:
    """Where a channel repeats FLAIR the sequence is missing: zero for the network, refused where it is required."""
    write_lgg(tmp_path, ["whole", "no_t1ce"])
    for file in (tmp_path / "no_t1ce").glob("*[0-9].tif"):
        pixels = np.array(Image.open(file))
        pixels[..., 2] = pixels[..., 1]
        write_image(file, pixels)
    cases = list(find_lgg(tmp_path).cases.values())
    with pytest.raises(InputError, match="1 of 2 patients cannot be used: no_t1ce: no_t1ce has no T1ce"):
        CaseCache(tmp_path / "cache", CHANNELS, SPEC).fill(cases)
    cache = CaseCache(tmp_path / "cache", CHANNELS, SPEC, ("t1", "flair"))
    cache.fill(cases)
    given = {case.id: [bool(channel.any()) for channel in cache.get(case).image()] for case in cases}
    assert given == {"no_t1ce": [True, True, False], "whole": [True, True, True]}


def test_ten_patients_validate_where_that_is_asked_for(tmp_path: Path) -> None:
    names = [f"P{number:03d}" for number in range(110)]
    split = read_split(tmp_path, names, folds=5, fold=-1, validation_patients=10)
    assert len(split.validation) == 10 and len(split.training) == 100
    assert not set(split.validation) & set(split.training)


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    names = ["good", "no_mask", "size", "grey", "corrupt", "sizes", "channels"]
    write_lgg(tmp_path, names)
    (tmp_path / "no_mask" / "no_mask_9_mask.tif").unlink()
    write_image(tmp_path / "size" / "size_9_mask.tif", np.zeros((SIZE, SIZE - 1), np.uint8))
    write_image(tmp_path / "grey" / "grey_9_mask.tif", np.arange(SIZE**2).reshape(SIZE, SIZE).astype(np.uint8))
    for name in ("corrupt_10.tif", "corrupt_11_mask.tif"):
        file = tmp_path / "corrupt" / name
        file.write_bytes(file.read_bytes()[:30])
    for name in ("sizes_9.tif", "sizes_9_mask.tif"):
        file = tmp_path / "sizes" / name
        write_image(file, np.array(Image.open(file))[:-1])
    write_image(tmp_path / "channels" / "channels_9.tif", make_slice(0, 0)[0][..., 0])
    (tmp_path / "void").mkdir()
    write_image(tmp_path / "good" / "good_77_mask.tif", np.zeros((SIZE, SIZE), np.uint8))
    write_lgg(tmp_path / "again", ["good"])
    found = find_lgg(tmp_path)
    with pytest.raises(InputError) as caught:
        CaseCache(tmp_path / "cache", CHANNELS, SPEC).fill(list(found.cases.values()), (), found.problems)
    message = str(caught.value)
    assert message.startswith("7 of 7 patients cannot be used:")
    for part in (
        "no_mask_9.tif has no mask",
        f"size_9_mask.tif is {SIZE - 1} × {SIZE} pixels, its image {SIZE} × {SIZE}",
        "grey_9_mask.tif is no mask of 0 and one other value: it holds 0, 1, 2, 3, 4, 5",
        "corrupt_10.tif cannot be read",
        "corrupt_11_mask.tif cannot be read",
        "The slices of sizes have different sizes: 32 × 31, 32 × 32",
        "The slices of channels have 1 and 3 channels",
        "good_77_mask.tif has no image",
        "patient good is there twice",
    ):
        assert part in message, part
    assert message.count("; ") == 8 and found.notes == ("void is empty",)


@pytest.mark.parametrize("stored", [False, True])
def test_masks_of_nobody(tmp_path: Path, stored: bool) -> None:
    """They may be of anyone, but not of those that split.json names."""
    for number in range(2):
        image, tumour = make_slice(number, 0)
        write_image(tmp_path / f"{number}.png", image[..., 1])
        write_image(tmp_path / f"{number}_mask.png", tumour.astype(np.uint8))
    write_image(tmp_path / "9_mask.png", tumour.astype(np.uint8))
    if stored:
        (tmp_path / "split.json").write_text('{"train": ["0", "1"], "validation": []}')
    found = find_images(tmp_path, ("flair",))
    said = ("9_mask.png has no image",)
    assert (found.problems, found.notes) == (((), said) if stored else (said, ()))


def test_images_of_one_name_are_called_by_their_places(tmp_path: Path) -> None:
    """Two patients of one folder's name are one; images of one name in two parts are none."""
    for part, numbers in {"train": (0, 1), "valid": (0,)}.items():
        for number in numbers:
            image, tumour = make_slice(number, len(part))
            write_image(tmp_path / part / "images" / f"{number}.png", image[..., 1])
            write_image(tmp_path / part / "masks" / f"{number}.png", tumour.astype(np.uint8))
    found = find_images(tmp_path, ("flair",))
    assert set(found.cases) == {"train_0", "1", "valid_0"}
    assert found.split == {"train": ("1", "train_0"), "validation": ("valid_0",)}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RequestError, match="holds no image"):
            find_lgg(tmp_path)
        (tmp_path / "notes.txt").write_text("nothing")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("layout", ["beside", "folders", "folders_same_names"])
def test_matching_names(tmp_path: Path, layout: str, suffix: str) -> None:
    """Grey images, each a patient of its own; the mask may be of another format."""
    for number in range(1, 3):
        image, tumour = make_slice(number, 0)
        mask = tumour.astype(np.uint8) * 255
        name = f"scan{number}"
        if layout == "beside":
            write_image(tmp_path / f"{name}{suffix}", image[..., 1])
            write_image(tmp_path / f"{name}-mask.png", mask)
        else:
            write_image(tmp_path / "images" / f"{name}{suffix}", image[..., 1])
            write_image(tmp_path / "masks" / f"{name}{'' if 'same' in layout else '_mask'}{suffix}", mask)
    found = find_images(tmp_path, ("flair",))
    assert list(found.cases) == ["scan1", "scan2"] and not found.problems
    case, labels = found.cases["scan2"].load(("flair",))
    image, tumour = make_slice(2, 0)
    assert case.modalities == ("flair",) and case.reference_volume.shape == (1, SIZE, SIZE)
    wrong = np.count_nonzero((labels.array[0] > 0) != tumour)
    assert wrong <= (3 if suffix == ".jpg" else 0)
    if suffix != ".jpg":
        assert np.array_equal(case.images["flair"].array[0], image[..., 1])


def test_a_folder_a_patient_with_images_and_masks(tmp_path: Path) -> None:
    for number in range(3):
        image, tumour = make_slice(number, 0)
        write_image(tmp_path / "P1" / "images" / f"{number}.png", image)
        write_image(tmp_path / "P1" / "masks" / f"{number}.png", tumour.astype(np.uint8))  # 0 and 1 will do
    found = find_images(tmp_path, CHANNELS)
    assert list(found.cases) == ["P1"]
    labels = found.cases["P1"].load()[1]
    assert labels.shape == (3, SIZE, SIZE) and set(np.unique(labels.array)) == {0, 2}


@pytest.mark.parametrize("names", [("train", "valid"), ("training", "validation"), ("train", "val")])
def test_folders_are_a_split(tmp_path: Path, names: tuple[str, str]) -> None:
    write_lgg(tmp_path / names[0], ["A", "B", "C"])
    write_lgg(tmp_path / names[1], ["D"])
    found = find_images(tmp_path, CHANNELS)
    split = read_split(tmp_path, list(found.cases), folds=5, fold=-1, given=found.split)
    assert (split.training, split.validation) == (("A", "B", "C"), ("D",)) and not found.problems


def test_a_third_folder_is_measured_when_asked_for(tmp_path: Path) -> None:
    for part, names in {"train": ["A", "B", "C"], "valid": ["D"], "test": ["E", "F"]}.items():
        write_lgg(tmp_path / part, names)
    found = find_images(tmp_path, CHANNELS)
    split = read_split(tmp_path, list(found.cases), folds=3, fold=0, given=found.split)
    assert len(split.training) == 2 and split.part("test") == ("E", "F") and split.part("validation") == ("D",)
    assert not {*split.training, *split.monitoring} & {"D", "E", "F"}


def test_a_patient_in_both_parts_is_refused(tmp_path: Path) -> None:
    write_lgg(tmp_path / "train", ["A", "B"])
    write_lgg(tmp_path / "valid", ["B"])
    found = find_images(tmp_path, CHANNELS)
    with pytest.raises(InputError) as caught:
        found.cases["B"].load()
    for part in ("patient B is there twice", str(tmp_path / "train" / "B"), str(tmp_path / "valid" / "B")):
        assert part in str(caught.value)


def test_images_cannot_hold_four_sequences(tmp_path: Path) -> None:
    write_lgg(tmp_path, ["A"])
    with pytest.raises(ModalityError, match="cannot hold"):
        find_images(tmp_path, ("t1", "t1ce", "t2", "flair"))


def test_another_order_of_channels_is_another_reading(tmp_path: Path) -> None:
    write_lgg(tmp_path, ["A"])
    first, second = (find_images(tmp_path, (name,)).cases["A"] for name in ("t1", "flair"))
    assert first.reading != second.reading and first.files() == second.files()
