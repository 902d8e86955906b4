"""COCO: polygons, run lengths and boxes against masks by hand, and annotations that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.models.description import PreprocessingSpec
from Testing.image_data import SIZE, write_coco, write_image
from Training.datasets.cache import CaseCache
from Training.datasets.coco import find_coco
from Training.datasets.split import read_split

TRIANGLE = {"image_id": 1, "segmentation": [[2, 2, 12, 2, 2, 12]]}


# The mask of test_compressed_run_lengths_of_a_ragged_mask, encoded by pycocotools.
RAGGED = (
    r":1d10fN0;070XO0?0k00G0_O0_10\O0F0SO020Y20`N0A0_20[N0O0gN06060E0P40SL0g12RN80F00n05RO11Ml06"
    "SOO<H3c0<]OUO0040M030L:18:^OG001Ni03VO;m02SO@n0>ROEg0M]O>LEe0MA4K8l0DSO90Le0KB5IL08m0HSO60"
    r"0m0<0@SO60H0Om0?SOCm05SOL02<K3c0H]O=<\OJg0J\O0M40N0N13m05RO1m0:VO]Oa00\O0030O0N08m05SOC023"
    "Nn00C0c003010n30RL0QO0m0030^O0VO030Q1090cN0o108"
)


def mask_of(folder: Path, image: str = "0") -> np.ndarray:
    found = find_coco(folder, ("t1ce",))
    assert not found.problems
    return found.cases[image].load(("t1ce",))[1].array[0] > 0


def square(y: slice, x: slice, shape: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[y, x] = True
    return mask


def test_a_polygon_covers_the_pixels_whose_centres_it_encloses(tmp_path: Path) -> None:
    mask = mask_of(write_coco(tmp_path, [TRIANGLE]))
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = (x > 2) & (y > 2) & (x + y < 14)
    on_the_edge = np.isclose(x + y, 14)
    assert np.array_equal(mask[~on_the_edge], inside[~on_the_edge])
    assert abs(mask.sum() - 50) <= 5


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": [3, 5, 4, 2]},
        {"bbox": [3, 5, 4, 2], "segmentation": []},
        {"segmentation": [[3, 5, 7, 5, 7, 7, 3, 7]]},
        {"segmentation": [[3, 5, 7, 5, 7, 7, 3, 7, 3, 5]]},
        {"segmentation": {"size": [8, 10], "counts": [29, 2, 6, 2, 6, 2, 6, 2, 25]}},
        {"segmentation": {"size": [8, 10], "counts": "m02600000c0"}},  # by pycocotools
    ],
    ids=["box", "box and no polygon", "polygon", "closed polygon", "run lengths", "compressed run lengths"],
)
def test_one_box_in_every_form(tmp_path: Path, annotation: dict[str, Any]) -> None:
    """Columns 3 to 6 and rows 5 and 6 of an image 10 wide and 8 high; each form is known for a box."""
    folder = write_coco(tmp_path, [{"image_id": 1, **annotation}], size=(10, 8))
    assert np.array_equal(mask_of(folder), square(slice(5, 7), slice(3, 7), (8, 10)))
    assert "all 1 annotations are boxes" in find_coco(folder, ("t1ce",)).notes[0]


def test_compressed_run_lengths_of_a_ragged_mask(tmp_path: Path) -> None:
    """Text by pycocotools; long runs take several characters, and differences are negative."""
    generator = np.random.default_rng(0)
    mask = generator.random((50, 60)) < 0.02
    mask[10:30, 20:45] = generator.random((20, 25)) < 0.9
    folder = write_coco(
        tmp_path, [{"image_id": 1, "segmentation": {"size": [50, 60], "counts": RAGGED}}], 1, size=(60, 50)
    )
    assert np.array_equal(mask_of(folder), mask)
    assert find_coco(folder, ("t1ce",)).notes == ()


def test_annotations_of_an_image_are_united_and_others_have_none(tmp_path: Path) -> None:
    boxes = [{"image_id": 1, "bbox": [0, 0, 4, 4]}, {"image_id": 1, "bbox": [2, 2, 4, 4], "category_id": 2}]
    folder = write_coco(tmp_path, boxes)
    assert np.array_equal(mask_of(folder), square(slice(0, 4), slice(0, 4)) | square(slice(2, 6), slice(2, 6)))
    assert not mask_of(folder, "1").any()


def test_boxes_are_counted(tmp_path: Path) -> None:
    some = [{"image_id": 1, "bbox": [0, 0, 4, 4]}, TRIANGLE]
    assert find_coco(write_coco(tmp_path / "some", some), ("t1ce",)).notes == ("1 of 2 annotations are boxes",)
    assert find_coco(write_coco(tmp_path / "none", [TRIANGLE]), ("t1ce",)).notes == ()


def test_shapes_beyond_the_image_are_cut(tmp_path: Path) -> None:
    folder = write_coco(
        tmp_path, [{"image_id": 1, "bbox": [SIZE - 2, -3, 10, 5]}, {"image_id": 2, "bbox": [50, 50, 5, 5]}]
    )
    assert np.array_equal(mask_of(folder), square(slice(0, 2), slice(SIZE - 2, SIZE)))
    assert not mask_of(folder, "1").any()


def test_folders_are_a_split_and_images_may_lie_below(tmp_path: Path) -> None:
    for part, offset in (("train", 0), ("valid", 5)):
        folder = write_coco(tmp_path / part, [TRIANGLE], images=2)
        (folder / "images").mkdir()
        content = json.loads((folder / "_annotations.coco.json").read_text())
        for number, entry in enumerate(content["images"]):
            entry["file_name"] = f"{number + offset}.png"
            (folder / f"{number}.png").rename(folder / "images" / entry["file_name"])
        (folder / "_annotations.coco.json").write_text(json.dumps(content))
    found = find_coco(tmp_path, ("t1ce",))
    split = read_split(tmp_path, list(found.cases), folds=5, fold=-1, given=found.split)
    assert (split.training, split.validation) == (("0", "1"), ("5", "6"))


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    folder = write_coco(
        tmp_path,
        [
            TRIANGLE,
            {"image_id": 99, "bbox": [0, 0, 4, 4]},
            {"image_id": 1, "segmentation": [[1, 1, 2, 2]]},
            {"image_id": 1, "segmentation": [[1, 1, 2]]},
            {"image_id": 1, "segmentation": {"size": [SIZE, SIZE], "counts": [5, 5]}},
            {"image_id": 1, "segmentation": {"size": [SIZE, SIZE], "counts": "\x01"}},
            {"image_id": 1},
            {"image_id": 2, "segmentation": {"size": [2, 2], "counts": [4]}},
        ],
        images=5,
    )
    (folder / "2.png").unlink()
    write_image(folder / "3.png", np.full((SIZE, SIZE + 1), 9, np.uint8))
    (folder / "4.png").write_bytes(b"no image")
    found = find_coco(folder, ("t1ce",))
    with pytest.raises(InputError) as caught:
        CaseCache(tmp_path / "cache", ("t1ce",), PreprocessingSpec(spacing=(0.0, 8.0, 8.0))).fill(
            list(found.cases.values()), (), found.problems
        )
    message = str(caught.value)
    assert message.startswith("5 of 5 patients cannot be used: 0: ")
    for part in (
        "annotation 1, is of an unknown image 99",
        "annotation 2, has no usable shape (a polygon has fewer than three corners)",
        "annotation 3, has no usable shape",
        f"annotation 4, has no usable shape (its run lengths do not make up {SIZE} × {SIZE} pixels)",
        "annotation 5, has no usable shape (its run lengths are damaged)",
        "annotation 6, has no usable shape ('bbox')",
        "says 2 × 2 pixels of 1.png",
        "2.png does not exist",
        f"says {SIZE} × {SIZE} pixels of 3.png, which has {SIZE + 1} × {SIZE}",
        "4.png cannot be read",
    ):
        assert part in message, part


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": [{"id": 1}], "annotations": []}'])
def test_other_json_is_no_coco(tmp_path: Path, content: str) -> None:
    (tmp_path / "_annotations.coco.json").write_text(content)
    found = find_coco(tmp_path, ("t1ce",))
    assert not found.cases and "is no COCO file" in found.problems[0]


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no annotations"):
        find_coco(tmp_path, ("t1ce",))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(RequestError, match="has 2 JSON files"):
        find_coco(tmp_path, ("t1ce",))


def test_images_of_one_name_are_called_by_their_places(tmp_path: Path) -> None:
    """Programs number the images of each part from 0; those whose name is theirs alone keep it."""
    for part, count in (("train", 3), ("valid", 1), ("test", 2)):
        write_coco(tmp_path / part, [{"image_id": 1, "bbox": [count, 0, 4, 4]}], images=count)
    (tmp_path / "test" / "images").mkdir()
    (tmp_path / "test" / "0.png").rename(tmp_path / "test" / "images" / "0.png")
    found = find_coco(tmp_path, ("t1ce",))
    assert set(found.cases) == {"train_0", "train_1", "2", "valid_0", "test_0", "test_1"} and not found.problems
    split = read_split(tmp_path, list(found.cases), folds=5, fold=-1, given=found.split)
    assert split.training == ("2", "train_0", "train_1") and split.validation == ("valid_0",)
    assert split.test == ("test_0", "test_1")
    for name, left in {"train_0": 3, "valid_0": 1, "test_0": 2}.items():
        assert np.flatnonzero(found.cases[name].load()[1].array.any(axis=(0, 1)))[0] == left


def test_images_that_no_place_tells_apart_are_refused(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, [], images=1)
    file = folder / "_annotations.coco.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"].append({**content["images"][0], "id": 2})
    file.write_text(json.dumps(content), encoding="utf-8")
    (case,) = find_coco(folder, ("t1ce",)).cases.values()
    with pytest.raises(InputError, match="there twice"):
        case.load()


@pytest.mark.parametrize(
    "name", ["0.png", "train\\0.png", "C:\\scans\\0.png", "/data/upload/1/0.png", "./0.png", "elsewhere/0.png"]
)
@pytest.mark.parametrize("place", ["", "images"])
def test_images_are_found_however_other_programs_write_their_paths(tmp_path: Path, name: str, place: str) -> None:
    write_coco(tmp_path, [{"image_id": 1, "bbox": [3, 5, 4, 2]}], images=1)
    file = tmp_path / "_annotations.coco.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"][0] |= {"file_name": name, "width": None, "height": None}  # sizes are the image's then
    file.write_text("\ufeff" + json.dumps(content), encoding="utf-8")  # with a BOM, as Windows has it
    if place:
        (tmp_path / place).mkdir()
        (tmp_path / "0.png").rename(tmp_path / place / "0.png")
    assert np.array_equal(mask_of(tmp_path), square(slice(5, 7), slice(3, 7)))


@pytest.mark.parametrize("segmentation", [[[]], [], None])
def test_a_box_stands_for_polygons_that_are_empty(tmp_path: Path, segmentation: object) -> None:
    folder = write_coco(tmp_path, [{"image_id": 1, "bbox": [3, 5, 4, 2], "segmentation": segmentation}])
    assert np.array_equal(mask_of(folder), square(slice(5, 7), slice(3, 7)))


def test_what_lies_outside_the_image_is_cut_off(tmp_path: Path) -> None:
    outside = [{"image_id": 1, "bbox": [-5, -3, 8, 7]}, {"image_id": 1, "bbox": [SIZE - 2, 10, 40, 3]}]
    expected = square(slice(0, 4), slice(0, 3)) | square(slice(10, 13), slice(SIZE - 2, SIZE))
    assert np.array_equal(mask_of(write_coco(tmp_path, outside)), expected)
    beyond = write_coco(tmp_path / "beyond", [{"image_id": 1, "bbox": [SIZE + 5, 2, 4, 4]}])
    assert not mask_of(beyond).any()


def test_an_absolute_name_is_taken_as_it_stands(tmp_path: Path) -> None:
    write_coco(tmp_path / "pictures", [], images=1)
    folder = write_coco(tmp_path / "notes", [{"image_id": "1", "bbox": [3, 5, 4, 2]}], images=1)
    (folder / "0.png").unlink()
    file = folder / "_annotations.coco.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"][0]["file_name"] = str(tmp_path / "pictures" / "0.png")
    file.write_text(json.dumps(content), encoding="utf-8")
    assert np.array_equal(mask_of(folder), square(slice(5, 7), slice(3, 7)))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("place", range(4))
def test_a_box_without_a_place_is_a_problem(tmp_path: Path, value: str, place: int) -> None:
    box = [3.0, 5.0, 4.0, 2.0]
    box[place] = float(value)
    folder = write_coco(tmp_path, [{"image_id": 1, "bbox": box}])
    found = find_coco(folder, ("t1ce",))
    with pytest.raises(InputError, match="no finite place"):
        found.cases["0"].load()
    found.cases["1"].load()


@pytest.mark.parametrize(("image", "annotation"), [(1, "1"), ("1", 1), ("1", "1"), (1, 1.0), (1.0, 1)])
def test_ids_are_numbers_however_they_are_written(tmp_path: Path, image: object, annotation: object) -> None:
    folder = write_coco(tmp_path, [{"image_id": annotation, "bbox": [3, 5, 4, 2]}], images=1)
    file = folder / "_annotations.coco.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"][0]["id"] = image
    file.write_text(json.dumps(content), encoding="utf-8")
    assert np.array_equal(mask_of(folder), square(slice(5, 7), slice(3, 7)))


@pytest.mark.parametrize("wrong", ["", "first", "\u00b2", 1.5, float("inf"), None, [1]])
def test_an_id_that_is_no_number_is_of_an_unknown_image(tmp_path: Path, wrong: object) -> None:
    folder = write_coco(tmp_path, [{"image_id": wrong, "bbox": [3, 5, 4, 2]}], images=1)
    assert "is of an unknown image" in find_coco(folder, ("t1ce",)).problems[0]


def test_two_images_of_one_id_are_found_however_it_is_written(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, [], images=2)
    file = folder / "_annotations.coco.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"][1]["id"] = str(content["images"][0]["id"])
    file.write_text(json.dumps(content), encoding="utf-8")
    (case,) = find_coco(folder, ("t1ce",)).cases.values()
    with pytest.raises(InputError, match="two images of id 1"):
        case.load()
