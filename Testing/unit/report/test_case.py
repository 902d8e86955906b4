"""The picture and the page about a result."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.report import write_montage, write_report
from BrainTumorSegLib.report.figures.montage import WIDTH, render_montage, subtitle
from BrainTumorSegLib.report.figures.views import (
    Scene,
    choose_slices,
    foreground,
    on_grid,
    projections,
    scene_of,
    spread,
    window,
)
from BrainTumorSegLib.report.words import DISCLAIMER

HEAD = (20, 40, 32)  # z, y, x of the made head's grid
LPS = np.array([[-1.0, 0, 0, 16], [0, -1, 0, 20], [0, 0, 1, -8], [0, 0, 0, 1]])
ALL = ("ET", "TC", "WT")


def made(
    modalities: tuple[str, ...] = ("t1", "t1ce", "t2", "flair"),
    *,
    tumour: bool = True,
    regions: tuple[str, ...] = ALL,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    codes: str = "LPS",
    case_id: str = "made",
    **result: object,
) -> tuple[Case, Segmentation]:
    """An ellipsoid head, listed along ``codes``, with a tumour left, in front and above of its middle."""
    z, y, x = np.indices(HEAD)
    head = ((z - 9.5) / 9) ** 2 + ((y - 19.5) / 18) ** 2 + ((x - 15.5) / 14) ** 2 < 1
    away = ((z - 12) / 3) ** 2 + ((y - 12) / 6) ** 2 + ((x - 21) / 5) ** 2
    labels = np.zeros(HEAD, np.uint8)
    if tumour:
        for label, radius in ((2, 1.0), (1, 0.6), (3, 0.35)):
            labels[away < radius**2] = label
    affine = LPS.copy()
    affine[:3, :3] *= spacing[::-1]
    image = (head * (100 + 20 * np.sin(x) + 10 * labels)).astype(np.float32)
    grid = Grid(HEAD, affine).oriented(codes)
    image, labels = (np.ascontiguousarray(reorient(array, affine, codes)) for array in (image, labels))
    volume = Volume(image, grid.affine, "head.nii.gz")
    case = Case(case_id, dict.fromkeys(modalities, volume))
    return case, Segmentation(case_id, volume.with_array(labels), regions, **result)  # type: ignore[arg-type]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def painted(picture: np.ndarray, region: str) -> np.ndarray:
    """Pixels of a region's colour."""
    return np.abs(picture - REGIONS[region].colour).max(axis=-1) < 12


def panels(picture: np.ndarray) -> list[tuple[slice, slice]]:
    """The black rectangles in reading order: found by the page's ground that surrounds them."""
    ground = np.abs(picture - picture[2, 2]).max(axis=-1) < 2
    pieces, _ = ndimage.label(~ground)
    boxes = ndimage.find_objects(pieces)
    return [box for box in boxes if min(part.stop - part.start for part in box) > 150]


class Page(HTMLParser):
    """What a page is made of: tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + "\n"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(path: Path, case: Case, segmentation: Segmentation, reference: dict | None = None) -> Page:
    write_report(case, segmentation, path, reference)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


# --- picture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
def test_patients_left_is_on_the_right_and_front_is_up(codes: str) -> None:
    picture = pixels(render_montage(*made(("t1ce", "flair"), codes=codes)))
    found = panels(picture)
    assert len(found) == 12  # two sequences and the projections, four panels each
    for rows, columns in found[:8]:
        y, x = np.nonzero(painted(picture[rows, columns], "WT"))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        assert x.min() > 0.45 * width and x.mean() > 0.6 * width
        assert y.max() < 0.55 * height and y.mean() < 0.4 * height


def test_pictures_of_the_same_head_stored_in_any_order_are_equal() -> None:
    expected = render_montage(*made(("t1",)))
    for codes in ("RAS", "ASR"):
        assert np.array_equal(pixels(render_montage(*made(("t1",), codes=codes))), pixels(expected))


def test_contours_lie_where_the_regions_end() -> None:
    case, segmentation = made(("t1",))
    picture = pixels(render_montage(case, segmentation))
    rows, columns = panels(picture)[1]
    scene = scene_of(case, segmentation)
    level = choose_slices(scene, 4)[1]
    inside = np.nonzero(scene.masks["WT"][level][scene.box[1:]])
    _, deep, wide = scene.extent
    mm = wide / (columns.stop - columns.start)
    for axis, found in enumerate(np.nonzero(painted(picture[rows, columns], "WT"))):
        # The line runs through the voxels' middle between in and out, half a voxel beyond the last one inside.
        length = deep if axis == 0 else wide
        shown = found * mm + (length - (picture[rows, columns].shape[axis]) * mm) / 2
        assert shown.min() == pytest.approx(inside[axis].min(), abs=0.5)
        assert shown.max() == pytest.approx(inside[axis].max() + 1, abs=0.5)


def test_anisotropic_voxels_keep_their_proportions() -> None:
    # The tumour is as many voxels wide as in the isotropic head, but each is 3 times as wide as deep.
    case, segmentation = made(("t1",), spacing=(4.0, 0.5, 1.5))
    picture = pixels(render_montage(case, segmentation))
    scene = scene_of(case, segmentation)
    level = choose_slices(scene, 4)[1]
    rows, columns = panels(picture)[1]
    y, x = np.nonzero(painted(picture[rows, columns], "WT"))
    high, wide = (np.ptp(np.flatnonzero(scene.masks["WT"][level].any(axis=axis))) + 1 for axis in (1, 0))
    assert np.ptp(x) / np.ptp(y) == pytest.approx(3 * wide / high, rel=0.15)


def test_all_regions_are_drawn_and_width_is_fixed() -> None:
    for modalities in (("flair",), ("t1", "t2"), ("t1", "t1ce", "flair"), ("t1", "t1ce", "t2", "flair")):
        picture = pixels(render_montage(*made(modalities)))
        assert picture.shape[1] == WIDTH
        count = len(modalities)
        found = panels(picture)
        assert len(found) == (3 * (count + 1) if count > 2 else 4 * (count + 1))
        for region in ALL:
            assert painted(picture, region)[110:].sum() > 20


def test_model_that_knows_only_the_whole_tumour() -> None:
    case, segmentation = made(("t1", "flair"), regions=("WT",))
    picture = pixels(render_montage(case, segmentation))
    assert painted(picture, "WT").sum() > 500
    assert not painted(picture, "TC").any() and not painted(picture, "ET").any()


@pytest.mark.parametrize(
    ("regions", "tumour", "expected"),
    [(ALL, True, "1 lesion"), (("ET", "TC"), True, ""), (ALL, False, "no tumour found")],
)
def test_lesions_are_counted_where_the_whole_tumour_is_known(
    regions: tuple[str, ...], tumour: bool, expected: str
) -> None:
    _, segmentation = made(("t1",), regions=regions, tumour=tumour)
    assert subtitle(segmentation, segmentation.measurements) == expected


def test_no_tumour_shows_the_head_without_contours() -> None:
    picture = pixels(render_montage(*made(tumour=False)))
    found = panels(picture)
    assert len(found) == 15
    for rows, columns in found:
        assert not any(painted(picture[rows, columns], region).any() for region in ALL)
        assert (picture[rows, columns].max(axis=-1) > 60).mean() > 0.1


def test_other_grids_are_brought_onto_the_label_maps() -> None:
    case, segmentation = made(("t1",))
    reference = case.reference_volume
    coarse = Volume(reference.array[::2, ::2, ::2], reference.affine @ np.diag([2.0, 2, 2, 1]), "coarse.nii.gz")
    shown = on_grid(coarse, scene_of(case, segmentation).grid)
    assert shown.shape == HEAD
    assert np.corrcoef(shown[6:14].ravel(), reference.array[6:14].ravel())[0, 1] > 0.9


def test_png_is_written_whatever_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / ".123.part-picture.html"
    write_montage(*made(("t2",)), path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["$\\frac{$", "患者-1", "a\nb\udcff", "n" * 300])
def test_odd_names_are_drawn(name: str, recwarn: pytest.WarningsRecorder) -> None:
    assert pixels(render_montage(*made(("t1",), case_id=name))).shape[1] == WIDTH
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_single_slice_and_thin_volumes_are_drawn() -> None:
    case, segmentation = made(("t1",))
    for depth in (1, 2):
        thin = Volume(case.images["t1"].array[12 : 12 + depth], LPS)
        labels = thin.with_array(segmentation.labels.array[12 : 12 + depth])
        picture = pixels(render_montage(Case("thin", {"t1": thin}), Segmentation("thin", labels, ALL)))
        shown = [box for box in panels(picture)[:depth] if painted(picture[box], "WT").any()]
        assert len(shown) == depth


# --- views -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "count", "expected"),
    [
        ([1, 1, 1, 1, 1, 1], 3, [0, 2, 4]),  # cumulative shares 1/6 … 6/6 first reach 1/6, 3/6, 5/6 there
        ([0, 0, 1, 8, 1, 0], 3, [2, 3, 4]),  # one index holds all three thirds: even steps instead
        ([0, 0, 0, 5, 0, 0], 3, [2, 3, 4]),  # one slice only: its neighbours too
        ([5, 0, 0, 0], 3, [0, 1, 2]),
        ([0, 0, 0, 5], 3, [1, 2, 3]),
        ([1, 1], 4, [0, 1]),
    ],
)
def test_slices_are_spread_over_the_weight(weights: list[int], count: int, expected: list[int]) -> None:
    assert spread(np.array(weights), count) == expected


def test_slices_go_through_the_tumour() -> None:
    scene = scene_of(*made(("t1",)))
    chosen = choose_slices(scene, 3)
    assert chosen == sorted(set(chosen))
    assert all(scene.masks["WT"][level].any() for level in chosen)
    assert any(scene.masks["ET"][level].any() for level in chosen)


def test_slices_are_spread_over_the_head_where_there_is_no_tumour() -> None:
    chosen = choose_slices(scene_of(*made(("t1",), tumour=False)), 4)
    # An ellipsoid of 18 slices: eighths of its volume are reached well inside, alike on both sides.
    assert chosen[0] + chosen[-1] == pytest.approx(19, abs=1) and chosen[-1] - chosen[0] >= 7


def test_heights_are_those_of_the_patient() -> None:
    for codes in ("LPS", "RAI"):
        scene = scene_of(*made(("t1",), codes=codes, spacing=(2.0, 1.0, 1.0)))
        assert [scene.height(level) for level in (0, 4, 19)] == [-8, 0, 30]


@pytest.mark.parametrize("background", [0.0, -3.0, 12.0])
def test_foreground_needs_no_zero_background(background: float) -> None:
    image = np.full((6, 8, 8), background, np.float32)
    image[2:4, 2:6, 3:7] += np.linspace(50, 100, 32).reshape(2, 4, 4)
    assert np.array_equal(foreground(image), image != background)


def test_foreground_of_a_constant_image_is_everywhere() -> None:
    assert foreground(np.ones((2, 3, 4), np.float32)).all()


def test_window_leaves_out_the_background_and_outliers() -> None:
    image = np.zeros((10, 40, 40), np.float32)
    image[2:8, 10:30, 10:30] = np.linspace(200, 300, 2400).reshape(6, 20, 20)
    image[5, 20, 20] = 2000
    low, high = window(image)
    assert low == pytest.approx(201, abs=1) and high == pytest.approx(299.5, abs=1)


def test_projections_show_the_tumour_on_its_side() -> None:
    pictures = projections(scene_of(*made(("t1",))))

    def centre(title: str) -> tuple[float, float]:
        picture = pictures[title]
        rows, columns = np.nonzero(picture[..., 0] > 2 * picture[..., 2] + 0.05)  # red of ET over the grey head
        return rows.mean() / len(picture), columns.mean() / picture.shape[1]

    row, column = centre("From below")
    assert row < 0.45 and column > 0.55  # in front, left
    row, column = centre("From the front")
    assert row < 0.45 and column > 0.55  # above, left
    row, column = centre("From the left")
    assert row < 0.45 and column < 0.45  # above, in front: towards the left edge
    row, column = centre("From the right")
    assert row < 0.45 and column > 0.55


@pytest.mark.parametrize("millimetres", [0.02, 1.0, 50.0])
def test_size_of_projections_does_not_depend_on_that_of_voxels(millimetres: float) -> None:
    scene = scene_of(*made(("t1",), spacing=(millimetres,) * 3))
    for picture in projections(scene).values():
        assert min(picture.shape[:2]) > 10 and max(picture.shape[:2]) <= 200


def test_projections_show_the_near_side() -> None:
    z, _, x = np.indices(HEAD)
    wedge = x <= z + 8  # flat towards the right; its left face slopes by 45 degrees
    scene = Scene(Grid(HEAD, LPS), {}, wedge, tuple(slice(0, size) for size in HEAD))
    pictures = projections(scene)
    right, left = (pictures[title][8:12, 15:25].mean() for title in ("From the right", "From the left"))
    # Lambert's law under a headlight, over an ambient fifth.
    assert left / right == pytest.approx(0.2 + 0.8 * np.sqrt(0.5), abs=0.05)


# --- page --------------------------------------------------------------------------------------------------


def test_page_stands_alone(tmp_path: Path) -> None:
    page = page_of(tmp_path / ".9.part-report.html", *made())
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "a", "base"}
    for _, attributes in page.tags:
        assert not set(attributes) & {"href", "srcset", "onload", "onerror"}
        assert (attributes.get("src") or "data:").startswith("data:")
    text = (tmp_path / ".9.part-report.html").read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text


def test_page_is_fit_for_phones_readers_and_paper(tmp_path: Path) -> None:
    page = page_of(tmp_path / "r.html", *made())
    assert page.of("html")[0]["lang"] == "en"
    assert any(m.get("name") == "viewport" and "width=device-width" in (m["content"] or "") for m in page.of("meta"))
    assert "whole tumour" in (page.of("img")[0]["alt"] or "")
    assert all(cell.get("scope") in ("row", "col") for cell in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table")) and len(page.of("h1")) == 1
    style = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "@media print" in style and "prefers-color-scheme: dark" in style


def test_page_holds_the_picture(tmp_path: Path) -> None:
    case, segmentation = made(("t1",))
    source = page_of(tmp_path / "r.html", case, segmentation).of("img")[0]["src"] or ""
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == render_montage(case, segmentation)


def test_page_says_sizes_disclaimer_and_warnings(tmp_path: Path) -> None:
    case, segmentation = made(spacing=(2.0, 1.0, 1.0), warnings=("Only three sequences were given.",))
    page = page_of(tmp_path / "r.html", case, segmentation)
    assert page.text.count(DISCLAIMER) >= 1 and "Only three sequences were given." in page.text
    whole, enhancing = np.count_nonzero(segmentation.labels.array), np.count_nonzero(segmentation.labels.array == 3)
    row = page.text[page.text.index("Whole tumour") :].split("\n")
    assert row[2] == f"{whole * 2 / 1000:.3f}" and row[3] == "100 %" and row[4] == "1"
    row = page.text[page.text.index("Enhancing tumour") :].split("\n")
    assert row[2] == f"{enhancing * 2 / 1000:.3f}" and row[3] == f"{100 * enhancing / whole:.0f} %"


def test_withheld_dice_stands_with_its_reason(tmp_path: Path) -> None:
    reason = "This result is not plausible: 60% of what the images show would be tumour."
    page = page_of(tmp_path / "r.html", *made(("t1",), warnings=(reason, "N")))
    assert page.text.count("withheld") == 4 and page.text.count(reason) == 2  # three regions and the reason
    for warnings, confidence in ((("N",), {}), ((reason,), dict.fromkeys(ALL, 0.9))):
        case = made(("t1",), warnings=warnings, confidence=confidence)
        assert "withheld" not in page_of(tmp_path / "s.html", *case).text


def test_page_shows_where_the_result_comes_from(tmp_path: Path) -> None:
    provenance = {
        "model": {"id": "tiny", "version": "1.2", "sha256": "ab" * 32},
        "inputs": {"t1ce": "/data/p 1/t1ce.nii.gz"},
        "reference": "t1ce",
        "preprocessing": ["t2 was resampled onto the grid of t1ce"],
        "device": "cpu (2 threads)",
        "precision": "fp32",
        "tta": False,
        "seconds": 12.34,
        "versions": {"torch": "2.13.0"},
        "alignment": {"moves": {}, "brain": {"method": "hd-bet", "volume_ml": 1512.5}},
    }
    text = page_of(tmp_path / "r.html", *made(provenance=provenance)).text
    for expected in ("tiny", "1.2", "ab" * 32, "/data/p 1/t1ce.nii.gz", "t2 was resampled onto the grid of t1ce"):
        assert expected in text
    for expected in ("cpu (2 threads)", "fp32", "12.3", "2.13.0", "that of T1ce", "no\n"):
        assert expected in text
    assert "{" not in text, "the alignment's figures are for programs; what was done stands in words"


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&amp;"
    case, segmentation = made(
        ("t1",),
        case_id=evil,
        warnings=(evil,),
        provenance={"model": {"id": evil}, "inputs": {evil: evil}, "preprocessing": [evil], "versions": {evil: evil}},
    )
    page = page_of(tmp_path / "r.html", case, segmentation, reference={evil: {evil: evil}, "note" + evil: evil})
    assert not page.of("script")
    assert page.text.count(evil) >= 12  # the parser gives back what was escaped, letter by letter


def test_templates_in_names_are_not_run(tmp_path: Path) -> None:
    evil = "{{ 7 * 7 }}</title><img src=x>"
    assert page_of(tmp_path / "r.html", *made(("t1",), case_id=evil, warnings=(evil,))).text.count(evil) >= 3


def test_names_outside_utf8_do_not_stop_the_page(tmp_path: Path) -> None:
    assert "患者�" in page_of(tmp_path / "r.html", *made(("t1",), case_id="患者\x07")).text
    assert "b?" in page_of(tmp_path / "r.html", *made(("t1",), case_id="b\udcff")).text


def test_page_without_tumour_and_with_one_region(tmp_path: Path) -> None:
    case, segmentation = made(("flair",), tumour=False, regions=("WT",), warnings=("No tumour was found.",))
    page = page_of(tmp_path / "r.html", case, segmentation)
    assert "No tumour was found." in page.text and "nan" not in page.text
    assert "Enhancing tumour" not in page.text
    row = page.text[page.text.index("Whole tumour") :].split("\n")
    assert row[2:7] == ["0.0", "–", "0", "–", "–"]


def test_agreement_with_a_reference(tmp_path: Path) -> None:
    reference = {
        "ET": {"dice": 0.81234, "hd95": float("nan")},
        "WT": {"dice": 0.9, "hd95": 2.345, "n": 3},
        "convention": "brats2023",
    }
    case, segmentation = made(("t1",))
    page = page_of(tmp_path / "r.html", case, segmentation, reference=reference)
    agreement = page.text[page.text.index("Agreement with the reference") :]
    assert "Dice" in agreement and "HD95 (mm)" in agreement and "0.8123" in agreement
    assert "Convention: brats2023" in agreement
    row = agreement[agreement.index("Whole tumour") :].split("\n")
    assert row[2:5] == ["0.9000", f"{2.345:.2f}", "3"]
    assert "Agreement" not in page_of(tmp_path / "s.html", case, segmentation).text
