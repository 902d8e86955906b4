"""Figures of a cohort: their numbers, what is drawn, and how they stand in a page."""

from __future__ import annotations

import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.evaluation.metrics.measures import MEASURES
from BrainTumorSegLib.report.agreement import VolumeAgreement
from BrainTumorSegLib.report.figures.plots import Plot, bland_altman, distribution, scatter, spread_sideways

CASES = ("a", "b", "c", "d")
# Differences +2, 0, -2, +4: mean 1, squares from it 1 + 1 + 9 + 9 = 20, standard deviation √(20 / 3).
AGREEMENT = VolumeAgreement.of("WT", [(12, 10), (20, 20), (28, 30), (44, 40)])


def lines(plot: Plot) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Id → coordinates of the drawn points."""
    drawn = (line for line in plot.figure.axes[0].lines if line.get_gid())
    return {str(line.get_gid()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in drawn}


def parsed(plot: Plot) -> ElementTree.Element:
    """The element as XML, which is stricter than HTML."""
    return ElementTree.fromstring(plot.svg())


# --- agreement ---------------------------------------------------------------------------------------------


def test_bias_and_limits_by_hand() -> None:
    sd = math.sqrt(20 / 3)
    assert AGREEMENT.differences.tolist() == [2, 0, -2, 4] and AGREEMENT.means.tolist() == [11, 20, 29, 42]
    assert AGREEMENT.bias == 1 and AGREEMENT.sd == pytest.approx(sd)
    assert AGREEMENT.lower == pytest.approx(1 - 1.96 * sd) and AGREEMENT.upper == pytest.approx(1 + 1.96 * sd)


def test_intervals_are_those_of_students_t() -> None:
    t = 3.182446305  # 97.5 % quantile with 3 degrees of freedom, from a printed table
    low, high = AGREEMENT.bias_interval
    assert (low + high) / 2 == pytest.approx(1) and (high - low) / 2 == pytest.approx(t * AGREEMENT.sd / 2, rel=1e-6)
    assert AGREEMENT.limit_error == pytest.approx(t * math.sqrt(3 * (20 / 3) / 4), rel=1e-6)


def test_concordance_by_hand() -> None:
    # Reference 1, 2, 3 and prediction 2, 3, 4: covariance 2/3, variances 2/3, means apart by 1.
    shifted = VolumeAgreement.of("ET", [(2, 1), (3, 2), (4, 3)])
    assert shifted.concordance == pytest.approx(2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))
    assert VolumeAgreement.of("ET", [(1, 1), (5, 5)]).concordance == pytest.approx(1)


def test_nothing_is_said_of_too_few_cases() -> None:
    one = VolumeAgreement.of("ET", [(2, 1)])
    assert one.bias == 1 and one.n == 1
    assert all(map(math.isnan, (one.sd, one.lower, one.upper, one.limit_error, one.concordance, *one.bias_interval)))
    assert math.isnan(VolumeAgreement.of("ET", []).bias)
    assert math.isnan(VolumeAgreement.of("ET", [(0, 0), (0, 0)]).concordance)


# --- drawings ----------------------------------------------------------------------------------------------


def test_every_value_is_a_point_of_its_region() -> None:
    values = {
        "ET": {"a": 0.5, "b": 0.9, "c": float("nan"), "d": 0.0},
        "WT": {"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.7},
    }
    plot = distribution(MEASURES["dice"], values, {"ET": {"d"}})
    points = lines(plot)
    drawn = sorted((round(float(x[0])), float(y[0])) for x, y in points.values())
    assert drawn == [(0, 0.0), (0, 0.5), (0, 0.9), (1, 0.7), (1, 0.8), (1, 0.8), (1, 0.8)]
    assert "d, ET: 0.0000" in plot.hints.values() and not any(hint.startswith("c, ET") for hint in plot.hints.values())
    assert "ET 0.5000" in plot.description and "WT 0.8000" in plot.description
    hollow = {line.get_gid() for line in plot.figure.axes[0].lines if line.get_marker() == "v"}
    assert [plot.hints[str(name)] for name in hollow] == ["d, ET: 0.0000"]


def test_boxes_are_quartiles() -> None:
    plot = distribution(MEASURES["dice"], {"WT": dict(zip("abcde", (0.1, 0.2, 0.4, 0.7, 0.9), strict=True))}, {})
    (box,) = plot.figure.axes[0].patches
    heights = np.asarray(box.get_path().vertices)[:, 1]
    assert heights.min() == pytest.approx(0.2) and heights.max() == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("measure", "values", "scale", "shown"),
    [
        ("hd95", [2.0, 3.0, 5.0, 373.1], "symlog", [0.0, 373.1]),  # a penalty among small distances
        ("hd95", [2.0, 3.0, 5.0, 8.0], "linear", [0.0, 8.0]),
        ("dice", [0.8, 0.9, 0.95, 0.99], "linear", [0.8, 1.0]),
        ("specificity", [0.999, 0.9995, 0.9998, 1.0], "linear", [0.999, 1.0]),
        ("volume_error", [-3.0, 1.0, 2.0, 4.0], "linear", [-3.0, 0.0, 4.0]),
        ("volume_error", [1.0, 1.5, 2.0, 4.0], "linear", [0.0, 4.0]),
        ("lesions_missed", [0.0, 0.0, 0.0, 0.0], "linear", [0.0, 1.0]),
    ],
)
def test_axes_show_every_value_and_their_anchor(
    measure: str, values: list[float], scale: str, shown: list[float]
) -> None:
    axes = distribution(MEASURES[measure], {"WT": dict(zip(CASES, values, strict=True))}, {}).figure.axes[0]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == scale
    assert low <= min(shown) and high >= max(shown)


def test_specificity_is_not_squeezed_under_one() -> None:
    axes = distribution(MEASURES["specificity"], {"WT": {"a": 0.998, "b": 1.0}}, {}).figure.axes[0]
    assert np.ptp(axes.get_ylim()) < 0.003


def test_measure_that_is_defined_nowhere_is_drawn_empty() -> None:
    plot = distribution(MEASURES["hd95"], {"ET": {"a": float("nan"), "b": float("nan")}}, {})
    assert not plot.hints and "none" in plot.description
    assert parsed(plot) is not None


def test_many_cases_are_one_picture() -> None:
    values = {"WT": {f"case-{i}": float(v) for i, v in enumerate(np.linspace(0.5, 1, 400))}}
    plot = distribution(MEASURES["dice"], values, {})
    assert not plot.hints
    points = [line for line in plot.figure.axes[0].lines if line.get_rasterized()]
    assert [np.size(line.get_xdata()) for line in points] == [400]
    assert len(plot.svg()) < 150_000


def test_lines_of_bland_and_altman_lie_where_they_should() -> None:
    plot = bland_altman(AGREEMENT, CASES)
    points = sorted((float(x[0]), float(y[0])) for x, y in lines(plot).values())
    assert points == [(11, 2), (20, 0), (29, -2), (42, 4)]
    levels = [float(np.asarray(line.get_ydata())[0]) for line in plot.figure.axes[0].lines if not line.get_gid()]
    for expected in (0.0, AGREEMENT.bias, AGREEMENT.lower, AGREEMENT.upper):
        assert any(level == pytest.approx(expected) for level in levels)
    assert "bias +1.0 mL" in plot.description and "−4.1 to +6.1 mL" in plot.description
    small = VolumeAgreement.of("WT", [(10.0, 10.01), (20.0, 20.03)])  # what rounds to zero has no sign
    assert "bias +0.0 mL" in bland_altman(small, CASES[:2]).description


def test_scatter_has_reference_across_and_prediction_up() -> None:
    plot = scatter(AGREEMENT, CASES)
    points = sorted((float(x[0]), float(y[0])) for x, y in lines(plot).values())
    assert points == [(10, 12), (20, 20), (30, 28), (40, 44)]
    assert plot.figure.axes[0].get_xlim() == plot.figure.axes[0].get_ylim()
    assert f"{AGREEMENT.concordance:.3f}" in plot.description


def test_points_do_not_cover_each_other() -> None:
    heights = [0.5, 0.5, 0.51, 0.9, 0.1, 0.5]
    offsets = spread_sideways(heights, size=(0.1, 0.05))
    assert offsets == spread_sideways(heights, size=(0.1, 0.05))
    assert offsets[3] == offsets[4] == 0  # alone
    together = sorted(offsets[i] for i in (0, 1, 2, 5))
    assert np.diff(together).min() == pytest.approx(0.1)
    assert max(map(abs, spread_sideways([0.5] * 200))) < 0.45  # a box does not reach into the next
    assert spread_sideways([]) == []


# --- files and pages ---------------------------------------------------------------------------------------


def test_drawing_in_a_page_refers_to_nothing_outside_and_to_all_of_its_own() -> None:
    plot = bland_altman(AGREEMENT, CASES)
    text = plot.svg()
    assert "http" not in text and "xlink" not in text and "DejaVu" not in text and "<metadata" not in text
    root = parsed(plot)
    assert root.get("role") == "img" and root.get("aria-label") == plot.description and root.get("viewBox")
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names)) and all(str(name).startswith("bland-altman-WT-") for name in names)
    used = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
    assert used and set(used) <= set(names)


def test_inks_follow_the_page() -> None:
    text = distribution(MEASURES["dice"], {"WT": {"a": 0.5, "b": 0.9, "c": 0.7}}, {}).svg()
    assert all(f"var(--{name})" in text for name in ("text", "quiet", "line"))
    assert not any(ink in text for ink in ("#16202b", "#55606c", "#d5dbe1"))


def test_points_tell_their_case() -> None:
    evil = "<b>&\"' $x$"
    root = parsed(distribution(MEASURES["dice"], {"WT": {evil: 0.5, "b": 0.9}}, {}))
    assert [element.text for element in root.iter() if element.tag.endswith("title")] == [
        f"{evil}, WT: 0.5000",
        "b, WT: 0.9000",
    ]


def test_png_is_fit_for_print() -> None:
    image = Image.open(io.BytesIO(scatter(AGREEMENT, CASES).png()))
    assert image.format == "PNG" and image.width > 1000
    assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
