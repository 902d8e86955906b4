"""The figures of a comparison: masks side by side, and the training curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.domain.modalities import TITLES
from BrainTumorSegLib.report.figures.views import foreground, window
from BrainTumorSegLib.report.page import colour_of
from BrainTumorSegLib.report.words import printable, shortened

from ..callbacks.interval_log import scale_of
from ..datasets.case import UNKNOWN_LABEL
from .comparison_results import Example, Network, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
_PANEL = 2.1  # inches
_OPACITY = 0.45
_OUTLINE = "#ff4fd8"  # stands out from grey, white and the colours of the regions
# Okabe and Ito's colours, which are apart for every kind of colour vision; then the same with other lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", ":")
_NO_CURVE = ("step", "seconds")
_CURVES_A_ROW = 4


def draw_masks(
    examples: Mapping[str, Example], networks: Sequence[Network], results: Results, region: str, picture: Path
) -> None:
    """A row a patient: image, reference, and what each network found, with its Dice over the whole patient.

    Args:
        examples: what to show, by the patient's rank.
        networks: a column each.
        results: where the Dice are taken from.
        region: of which.
        picture: PNG to write.
    """
    from matplotlib.figure import Figure

    columns = 2 + len(networks)
    figure = Figure(figsize=(_PANEL * columns, (_PANEL + 0.1) * len(examples) + 0.5), layout="constrained")
    grid = figure.subplots(len(examples), columns, squeeze=False)
    titles = ["Image", "Reference", *(_wrapped(network.name) for network in networks)]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    for line, (rank, example) in zip(grid, examples.items(), strict=True):
        _panel(line[0], example, None)
        line[0].set_xlabel(TITLES[example.sequence], fontsize=8)
        patient = shortened(printable(example.patient), 26)
        line[0].set_ylabel(f"{rank}\n{_plain(patient)}\nslice {example.level + 1} of {example.levels}", fontsize=8)
        _panel(line[1], example, example.truth)
        for axes, network in zip(line[2:], networks, strict=True):
            _panel(axes, example, example.found[network.id])
            dice = results.measures[network.id][example.patient][region]["dice"]
            axes.set_xlabel(f"{region} Dice {dice:.3f}", fontsize=8)
    _save(figure, picture)


def _panel(axes: Axes, example: Example, labels: np.ndarray | None) -> None:
    """The image as radiologists see it, anterior up, with areas of the labels and the outline of the reference."""
    y, x = _shown(example.image)
    pixels = painted(example.image, labels)[y, x]
    axes.imshow(pixels, aspect=example.spacing[0] / example.spacing[1], interpolation="nearest")
    tumour = ((example.truth > 0) & (example.truth != UNKNOWN_LABEL))[y, x]
    if labels is not None and tumour.any() and not tumour.all():
        axes.contour(tumour, levels=[0.5], colors=_OUTLINE, linewidths=0.8)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)


def painted(image: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Grey values ``(Y, X)`` as ``(Y, X, 3)``, 0 to 1, each voxel in the colour of the innermost region it lies in."""
    low, high = window(image[None])
    grey = np.repeat(np.clip((image - low) / (high - low), 0, 1)[..., None], 3, axis=2)
    pixels = grey.copy()
    for name, region in reversed(REGIONS.items()):
        inside = np.isin(labels, list(region.labels)) if labels is not None else np.zeros(image.shape, dtype=bool)
        pixels[inside] = _OPACITY * np.asarray(colour_of(name)) + (1 - _OPACITY) * grey[inside]
    return pixels


def _shown(image: np.ndarray) -> tuple[slice, slice]:
    """The part that holds the head, and a little around it."""
    head = foreground(image[None])[0]
    rows, columns = (np.flatnonzero(head.any(axis=axis)) for axis in (1, 0))
    margin = max(image.shape) // 40
    y, x = (slice(max(int(along[0]) - margin, 0), int(along[-1]) + margin + 1) for along in (rows, columns))
    return y, x


def draw_curves(networks: Sequence[Network], picture: Path) -> None:
    """What each network's log holds over the steps: a panel a column, a line a network."""
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(name for n in networks for name in n.log[-1]) if name not in _NO_CURVE]
    names.sort(key=lambda name: (name == "learning_rate", not name.endswith("loss")))  # losses first, the rate last
    across = min(_CURVES_A_ROW, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.6 * across, 3.0 * down + 0.6), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, names, strict=False):
        for number, network in enumerate(networks):
            rows = [row for row in network.log if name in row]
            style = _LINES[number // len(_COLOURS) % len(_LINES)]
            axes.plot(
                [row["step"] for row in rows],
                [row[name] for row in rows],
                linestyle=style,
                color=_COLOURS[number % len(_COLOURS)],
                marker="." if len(rows) < 40 else "",
                label=_plain(network.name),
            )
        values = [row[name] for network in networks for row in network.log if name in row]
        axes.set(title=_plain(_title(name)), xlabel="step", yscale=scale_of(values))
        axes.grid(alpha=0.3)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=min(len(networks), 5), frameon=False, fontsize=9)
    _save(figure, picture)


def _title(column: str) -> str:
    """A column of the log, as measures are written."""
    words = [{"dice": "Dice", "iou": "IoU"}.get(word, word) for word in column.split("_")]
    return " ".join([words[0].capitalize(), *words[1:]])


def _save(figure: Figure, picture: Path) -> None:
    figure.savefig(picture, format="png", dpi=_DPI, facecolor="white", metadata={"Software": "BrainTumorSeg"})


def _wrapped(name: str) -> str:
    return _plain("\n".join(textwrap.wrap(printable(name), 20)))


def _plain(text: str) -> str:
    """Without what matplotlib would read as a formula."""
    return text.replace("$", r"\$")
