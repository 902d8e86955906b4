"""Draws what a patient costs, and writes the tables of docs/explanation/speed.md.

``python -m docs.tools.draw_speed SPEED.json SCALING.json`` from the root of a clone, with what
``Testing.benchmarks.segment_patient`` and ``Testing.benchmarks.scaling`` wrote.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Testing.benchmarks.scaling import growth, line_through
from Testing.benchmarks.segment_patient import MONAI, NNUNET, OURS, Row, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOCS = Path(__file__).resolve().parents[1]
PAGE, PICTURE = DOCS / "explanation" / "speed.md", DOCS / "images" / "speed.png"
# What stands between these is written anew.
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
_COLOURS = {OURS: "#1f6f8b", MONAI: "#c98a2b", NNUNET: "#8a4f7d"}


def main(speed_file: Path, scaling_file: Path) -> None:
    """Draw the figure and write the page."""
    speed, scaling = (json.loads(file.read_text(encoding="utf-8")) for file in (speed_file, scaling_file))
    rows = [Row(**values) for values in speed["rows"]]
    draw(rows, scaling, PICTURE)
    PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), text(speed, rows, scaling)), encoding="utf-8")


def draw(rows: Sequence[Row], scaling: dict[str, Any], picture: Path) -> None:
    """Four panels: seconds of each way, stages of ours, seconds by volume of the brain, memory over many patients."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    ways, stages, volume, patients = figure.subplots(2, 2, width_ratios=(1.2, 1)).ravel()
    _draw_ways(ways, rows)
    _draw_stages(stages, [row for row in rows if row.stages])
    sizes = scaling["volumes"]
    _draw_line(volume, [row["brain_ml"] for row in sizes], [row["seconds"] for row in sizes], "o-")
    volume.set(title="By volume of the brain", xlabel="mL", ylabel="seconds", xlim=(0, None))
    resident = [row["resident_gb"] for row in scaling["patients"]]
    _draw_line(patients, range(1, len(resident) + 1), resident, "-")
    patients.set(title="Many patients in one process", xlabel="patient", ylabel="resident memory, GB")
    figure.savefig(picture, format="png", dpi=110, facecolor="white", metadata={"Software": "BrainTumorSeg"})


def _draw_line(axes: Axes, places: Sequence[float], values: Sequence[float], style: str) -> None:
    axes.plot(places, values, style, color=_COLOURS[OURS])
    axes.set_ylim(0, 1.2 * max(values))
    axes.grid(alpha=0.3)


def _draw_ways(axes: Axes, rows: Sequence[Row]) -> None:
    """A bar a way, logarithmic: nnU-Net takes a hundred times as long."""
    medians = [statistics.median(row.seconds) for row in rows]
    axes.barh([row.name for row in rows], medians, color=[_COLOURS[row.program] for row in rows])
    for place, seconds in enumerate(medians):
        axes.annotate(f"{seconds:.1f} s", (seconds, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(xscale="log", title="One patient, start to file written", xlabel="seconds (logarithmic)")
    axes.set_xlim(min(medians) / 2, max(medians) * 4)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.invert_yaxis()
    axes.tick_params("y", labelsize=8)


def _draw_stages(axes: Axes, rows: Sequence[Row]) -> None:
    """Where the seconds of each of our runs go, one after the other."""
    from matplotlib import colormaps

    names = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    left = [0.0] * len(rows)
    for number, name in enumerate(names):
        widths = [row.stages.get(name, 0.0) for row in rows]
        axes.barh([row.name for row in rows], widths, left=left, label=name, color=colormaps["tab20"](number))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set(title="Stages", xlabel="seconds")
    axes.invert_yaxis()
    axes.tick_params("y", labelsize=8)
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.15))


def text(speed: dict[str, Any], rows: Sequence[Row], scaling: dict[str, Any]) -> str:
    """The measured part of the page."""
    machine, sizes, patients = speed["machine"], scaling["volumes"], scaling["patients"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    start, slope = line_through(sizes)
    grown = {name: growth([row[name] for row in patients]) for name in patients[0]}
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    staged = [row for row in rows if row.stages]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}. Medians of"
        f" {speed['repeat']} runs that took turns.",
        table(["way", "seconds", "first run", "CPU s", "GB", "MONAI", "nnU-Net", ""], [_cells(r, rows) for r in rows]),
        f"![Seconds of each way, stages, seconds by brain volume, memory over patients](../images/{PICTURE.name})",
        "Seconds of the stages of our own runs; *start* is Python and what it imports until the first message, *end*"
        " what comes after the result:",
        table(["", *stages], [[r.name, *(f"{r.stages.get(s, 0.0):.2f}" for s in stages)] for r in staged]),
        f"By volume of the brain (`{scaling['model']}`), about {start:.1f} s and {slope:.1f} s a litre:",
        table(["mL", "seconds", "CPU s", "GB"], [_volume_cells(row) for row in sizes]),
        f"{len(patients)} small patients in one process took {statistics.median(r['seconds'] for r in patients):.2f} s"
        " each; from the second fifth of them to the last, medians grew by"
        f" {grown['resident_gb'] * 1024:.0f} MB of resident memory, {grown['open_files']:g} open files,"
        f" {grown['threads']:g} threads and {grown['seconds']:.2f} s a patient.",
    ]
    return "\n\n".join(parts)


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    ratios = [ratio(row, rows, program) for program in (MONAI, NNUNET)]
    return [
        row.name,
        _number(statistics.median(row.seconds)),
        _number(row.first_seconds),
        _number(statistics.median(row.cpu_seconds) if row.cpu_seconds else None),
        "" if row.memory_gb is None else f"{row.memory_gb:.2f}",
        *("" if value is None else f"{value:.1f} ×" for value in ratios),
        row.note or ", ".join(row.facts.values()),
    ]


def _volume_cells(row: dict[str, float]) -> list[str]:
    return [
        f"{row['brain_ml']:.0f}",
        _number(row["seconds"]),
        _number(row["cpu_seconds"]),
        f"{row['memory_gb']:.2f}",
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; all columns but the first to the right."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def between(page: str, measured: str) -> str:
    """The page with another text between its two marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{measured}\n\n{END}{after}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
