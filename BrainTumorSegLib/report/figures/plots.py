"""Figures of a cohort, each a small panel of its own: a page lays them out as its width allows, a paper as it likes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ...evaluation.metrics.measures import ALL, Measure
from ..agreement import VolumeAgreement
from ..page import colour_of
from ..words import SOFTWARE, measured, millilitres, number, printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (3.7, 2.9)  # inches
_PRINT_DPI = 300
# Inks of the light page; in the page they follow its mode.
_TEXT, _QUIET, _LINE = "#16202b", "#55606c", "#d5dbe1"
_THEME = {_TEXT: "var(--text)", _QUIET: "var(--quiet)", _LINE: "var(--line)"}
# More points than these are painted as one picture and have no names to hover for: the page stays small.
_NAMED_POINTS = 300
# Distances reach from half a millimetre to the penalty for a missing mask: logarithmic where both occur.
_LOGARITHMIC_ABOVE, _LOGARITHMIC_RATIO = 60.0, 6.0


@dataclass(frozen=True)
class Plot:
    """A figure with its words.

    Attributes:
        name: stem of its file.
        title: what stands above it.
        description: the figure in words, for those who cannot see it.
        figure: the drawing.
        hints: id of a drawn element → text shown where the pointer rests on it.
    """

    name: str
    title: str
    description: str
    figure: Figure
    hints: Mapping[str, str] = field(default_factory=dict)

    def png(self) -> bytes:
        """For a document: on white, 300 dots an inch, the title in it."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=_PRINT_DPI, facecolor="white", metadata=SOFTWARE)
        return buffer.getvalue()

    def svg(self) -> Markup:
        """For a page: an ``<svg>`` element without links, its text and lines in the page's own colours."""
        import matplotlib

        buffer = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        text = buffer.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
        for identity, hint in self.hints.items():
            opening = Markup('<g id="{}">').format(identity)
            text = text.replace(opening, opening + Markup("<title>{}</title>").format(hint), 1)
        return self._at_home(text)

    def _at_home(self, text: str) -> Markup:
        """Names of elements that are unique in a page, colours and letters of the page."""
        text = re.sub(r'\bid="([^"]+)"', rf'id="{self.name}-\1"', text)
        text = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{self.name}-\1"', text)
        text = re.sub(r"url\(#([^)]+)\)", rf"url(#{self.name}-\1)", text)
        text = text.replace("xlink:href", "href")
        for ink, variable in _THEME.items():
            text = text.replace(ink, variable)
        text = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", text).replace("font-family: inherit", "")
        text = re.sub(r"font: ([0-9.]+px) inherit", r"font-size: \1", text)
        view = re.search(r'viewBox="[^"]+"', text)
        inside = Markup(text[text.index(">") + 1 :])  # Matplotlib escapes what it writes
        box = Markup(view[0]) if view else ""
        return Markup('<svg {} role="img" aria-label="{}">').format(box, self.description) + inside


def distribution(measure: Measure, values: Mapping[str, Mapping[str, float]], empties: Mapping[str, set[str]]) -> Plot:
    """Boxes and points of a measure, one box a region.

    Args:
        measure: what is shown.
        values: region → case → value; NaN is left out.
        empties: region → cases of which a mask is empty: drawn as hollow triangles.
    """
    plot = _Drawing(measure.name, measure.label)
    axes = plot.axes
    counted = {region: {c: v for c, v in cases.items() if np.isfinite(v)} for region, cases in values.items()}
    for position, (region, cases) in enumerate(counted.items()):
        if cases:
            _box(axes, position, list(cases.values()), colour_of(region))
    _scale_values(plot, measure, [value for cases in counted.values() for value in cases.values()])
    for position, (region, cases) in enumerate(counted.items()):
        # Values → parts of the axis, which may be logarithmic.
        ends = axes.transScale.transform([(0, y) for y in (*axes.get_ylim(), *cases.values())])[:, 1]
        offsets = spread_sideways((ends[2:] - ends[0]) / (ends[1] - ends[0]))
        points = [
            (position + x, y, f"{case}, {region}: {measured(measure.name, y)}", case in empties.get(region, ()))
            for x, (case, y) in zip(offsets, cases.items(), strict=True)
        ]
        plot.points(points, colour_of(region))
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_xticks(
        range(len(values)),
        ["all regions" if region == ALL else region for region in values],
        fontweight="bold",
        color=_TEXT,
    )
    axes.tick_params(axis="x", length=0)
    medians = {region: float(np.median(list(cases.values()))) for region, cases in counted.items() if cases}
    words = ", ".join(f"{region} {measured(measure.name, median)}" for region, median in medians.items())
    return plot.done(f"Box plot of {measure.label} with one point a case. Medians: {words or 'none'}.")


def bland_altman(agreement: VolumeAgreement, cases: Sequence[str]) -> Plot:
    """Difference of predicted and reference volume over their mean, with bias and limits of agreement."""
    region, colour = agreement.region, colour_of(agreement.region)
    plot = _Drawing(f"bland-altman-{region}", f"{region}: predicted − reference (mL)")
    axes = plot.axes
    axes.axhline(0, color=_LINE, linewidth=1, zorder=1)
    levels = [("bias", agreement.bias, "solid"), ("−1.96 SD", agreement.lower, "dashed")]
    levels.append(("+1.96 SD", agreement.upper, "dashed"))
    shown = [(title, level, line) for title, level, line in levels if np.isfinite(level)]
    if np.all(np.isfinite(agreement.bias_interval)):
        axes.axhspan(*agreement.bias_interval, color=colour, alpha=0.15, linewidth=0, zorder=0)
    for title, level, line in shown:
        axes.axhline(level, color=_QUIET, linewidth=1.1, linestyle=line, zorder=2)
        _beside(axes, level, f"{title}\n{_signed(level)}")
    plot.points(
        [
            (mean, difference, f"{case}: {_signed(difference)} mL of {number(mean)} mL", False)
            for case, mean, difference in zip(cases, agreement.means, agreement.differences, strict=True)
        ],
        colour,
    )
    _room(axes, [*agreement.differences, 0.0, *(level for _, level, _ in shown)])
    axes.set_xlabel("Mean of predicted and reference (mL)")
    axes.set_xlim(left=0)
    return plot.done(
        f"Bland–Altman plot of the {region} volume: bias {_signed(agreement.bias)} mL, limits of agreement "
        f"{_signed(agreement.lower)} to {_signed(agreement.upper)} mL."
    )


def scatter(agreement: VolumeAgreement, cases: Sequence[str]) -> Plot:
    """Predicted over reference volume, with the line of identity."""
    region = agreement.region
    plot = _Drawing(f"volumes-{region}", f"{region}: predicted volume (mL)")
    axes = plot.axes
    highest = 1.07 * max([*agreement.predicted, *agreement.reference, 0.1])
    axes.plot([0, highest], [0, highest], color=_QUIET, linewidth=1, linestyle="dashed", zorder=1)
    plot.points(
        [
            (truth, found, f"{case}: {number(found)} mL predicted, {number(truth)} mL in the reference", False)
            for case, truth, found in zip(cases, agreement.reference, agreement.predicted, strict=True)
        ],
        colour_of(region),
    )
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="Reference volume (mL)")
    concordance = f"Concordance {number(agreement.concordance, 3)}" if np.isfinite(agreement.concordance) else ""
    axes.text(0.04, 0.95, concordance, transform=axes.transAxes, va="top", color=_TEXT, fontsize=9)
    words = concordance.lower().replace("concordance", "concordance correlation coefficient") or "one case only"
    return plot.done(f"Predicted against reference volume of {region} with the line of identity; {words}.")


def over_time(
    region: str, volumes: Sequence[float], whole: Sequence[bool], titles: Sequence[str], dates: Sequence[date]
) -> Plot:
    """Volume of a region over several examinations; one whose image does not show all of it is a hollow triangle.

    Args:
        region: which.
        volumes: in mL, one an examination.
        whole: whether its image shows all of it.
        titles: what the examinations are called.
        dates: of them; without any the steps between them are equal.
    """
    plot = _Drawing(f"volume-{region}", f"{region}: volume (mL)")
    axes = plot.axes
    places = _days(axes, dates) if dates else list(range(len(volumes)))
    if not dates:
        axes.set_xticks(places, [shortened(title, 12) for title in titles])
    axes.plot(places, volumes, color=colour_of(region), linewidth=1.6, zorder=3)
    hints = [f"{title}: {millilitres(volume)} mL" for title, volume in zip(titles, volumes, strict=True)]
    plot.points(
        [
            (place, volume, hint, not seen)
            for place, volume, hint, seen in zip(places, volumes, hints, whole, strict=True)
        ],
        colour_of(region),
    )
    axes.set_ylim(0, 1.08 * max(*volumes, 0.1))
    return plot.done(f"Volume of {region} over the examinations. {'; '.join(hints)}.")


def _days(axes: Axes, dates: Sequence[date]) -> list[float]:
    """Places of dates on an axis that tells them."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    locator = AutoDateLocator(minticks=2, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return [float(date2num(day)) for day in dates]


def spread_sideways(heights: Sequence[float], size: tuple[float, float] = (0.075, 0.036)) -> list[float]:
    """Offsets that keep points of like height from covering each other; the same for the same heights.

    Args:
        heights: where the points lie, as parts of the axis.
        size: of a point, as part of the step between boxes and as part of the axis.
    """
    wide, high = size
    offsets = [0.0] * len(heights)
    placed: list[tuple[float, float]] = []
    tries = [sign * step * wide for step in range(5) for sign in (1, -1)]
    for index in np.argsort(heights, kind="stable"):
        height = float(heights[index])
        near = [x for x, y in placed[-3 * len(tries) :] if height - y < high]
        free = (x for x in tries if all(abs(x - other) >= 0.99 * wide for other in near))
        offsets[index] = next(free, tries[index % len(tries)])
        placed.append((offsets[index], height))
    return offsets


class _Drawing:
    """A panel being drawn."""

    def __init__(self, name: str, title: str) -> None:
        from matplotlib.figure import Figure

        self.name, self.title = name, title
        self.figure = Figure(figsize=_SIZE, layout="constrained")
        self.axes = self.figure.add_subplot()
        self.hints: dict[str, str] = {}
        self.heading = self.axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_TEXT)
        self.axes.spines[["top", "right"]].set_visible(False)
        self.axes.spines[["left", "bottom"]].set_color(_LINE)
        self.axes.tick_params(colors=_QUIET, labelsize=9, color=_LINE)
        self.axes.xaxis.label.set(color=_QUIET, fontsize=9)
        self.axes.grid(axis="y", color=_LINE, linewidth=0.6)
        self.axes.set_axisbelow(True)

    def points(self, points: Sequence[tuple[float, float, str, bool]], colour: tuple[float, ...]) -> None:
        """Points ``(x, y, hint, hollow)``; each has its hint unless there are very many."""
        style: dict[str, Any] = {"linestyle": "", "color": colour, "clip_on": False, "zorder": 4, "markersize": 5}
        edge = {"markeredgecolor": _TEXT, "markeredgewidth": 0.7}
        hollow = {"marker": "v", "markerfacecolor": "none", "markeredgecolor": _TEXT, "markeredgewidth": 1.1}
        if len(points) > _NAMED_POINTS:
            for look, kind in (({"marker": "o", "alpha": 0.4, "markersize": 3}, False), (hollow, True)):
                chosen = [(x, y) for x, y, _, empty in points if empty == kind]
                if chosen:
                    self.axes.plot(*zip(*chosen, strict=True), rasterized=True, **{**style, **look})
            return
        for x, y, hint, empty in points:
            identity = f"point-{len(self.hints)}"
            self.hints[identity] = printable(hint)
            self.axes.plot([x], [y], gid=identity, **{**style, **(hollow if empty else {"marker": "o", **edge})})

    def done(self, description: str) -> Plot:
        return Plot(self.name, self.title, description, self.figure, self.hints)


def _box(axes: Axes, position: float, values: Sequence[float], colour: tuple[float, ...]) -> None:
    """Quartiles and median, whiskers to the last value within 1.5 interquartile ranges, the mean as a diamond."""
    axes.boxplot(
        values,
        positions=[position],
        widths=0.62,
        whis=1.5,
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": (*colour, 0.22), "edgecolor": _QUIET, "linewidth": 1},
        medianprops={"color": _TEXT, "linewidth": 2},
        meanprops={"marker": "D", "markerfacecolor": "none", "markeredgecolor": _TEXT, "markersize": 6},
        whiskerprops={"color": _QUIET, "linewidth": 1},
        capprops={"color": _QUIET, "linewidth": 1},
        zorder=3,
    )


def _scale_values(plot: _Drawing, measure: Measure, values: Sequence[float]) -> None:
    """Limits that show all values: fractions up to 1, distances from 0, logarithmic where they are far apart."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

    axes = plot.axes
    if not values:
        axes.set_ylim(0, 1)
        return
    low, high = min(values), max(values)
    if measure.high == 1:
        span = max(1 - low, 1e-4)
        axes.set_ylim(max(1 - 1.08 * span, 0 if low >= 0.05 else -0.02), 1 + 0.03 * span)
    elif measure.unit == "mm" and high > _LOGARITHMIC_ABOVE and high > _LOGARITHMIC_RATIO * np.median(values):
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)
        axes.set_ylim(0, 1.3 * high)
        axes.yaxis.set_major_locator(FixedLocator([0, 1, 3, 10, 30, 100, 300]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(ScalarFormatter())
        plot.heading.set_text(f"{measure.label}, logarithmic")
    elif measure.better == "zero":
        axes.axhline(0, color=_QUIET, linewidth=1, zorder=1)
        _room(axes, [low, high, 0.0])
    else:
        axes.set_ylim(0, 1.06 * max(high, 1 if measure.counts else 1e-3))
        if measure.counts:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _room(axes: Axes, heights: Sequence[float]) -> None:
    low, high = min(heights), max(heights)
    margin = 0.1 * max(high - low, 1e-3)
    axes.set_ylim(low - margin, high + margin)


def _beside(axes: Axes, level: float, text: str) -> None:
    """Words at the right end of a horizontal line, outside the axes."""
    axes.annotate(
        text, (1, level), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        va="center", fontsize=8, color=_TEXT, annotation_clip=False,
    )  # fmt: skip


def _signed(value: float) -> str:
    return f"{value:+z.1f}".replace("-", "−") if np.isfinite(value) else "–"
