"""What a patient costs by the volume of the brain, and whether many patients in one process cost ever more.

``python -m Testing.benchmarks.scaling [--model ID] [-o scaling.json]``. Heads of several sizes go through
``braintumorseg segment``, each in a fresh process: seconds, processor seconds and peak memory against millilitres of
brain. Then 100 small patients go through the Python interface in one process, from files to files: seconds, resident
memory, open files and threads after each; none may grow. All patients are synthetic. Linux only: it reads
``/proc/self``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from BrainTumorSegLib.domain.options import DEFAULT_MODEL

from .phantom_case import WHOLE, brain_millilitres, phantom_case, phantom_cases
from .processes import machine, measure

# Edge of the head against that of the usual phantom; the brain's volume goes by its third power.
EDGES = (0.5, 0.7, 0.85, 1.0, 1.1)
SMALL = (62, 96, 96)


def by_volume(model: str, edges: Sequence[float], repeat: int, folder: Path) -> list[dict[str, Any]]:
    """One row a size; sizes take turns."""
    cases = []
    for edge in edges:
        z, y, x = (round(edge * size) for size in WHOLE)
        cases.append(phantom_case(folder / f"head{edge:g}", (z, y, x)))
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", "--progress", "none", "--model", model]
    command += ["-o", str(folder / "out.nii.gz")]
    measure([*command, str(cases[0])])  # what is read or converted for the first time is no matter of volume
    turns = [[measure([*command, str(case)]) for case in cases] for _ in range(repeat)]
    rows = []
    for edge, case, runs in zip(edges, cases, zip(*turns, strict=True), strict=True):
        rows.append(
            {
                "edge": edge,
                "brain_ml": round(brain_millilitres(case), 1),
                "seconds": statistics.median(run.seconds for run in runs),
                "cpu_seconds": statistics.median(run.cpu_seconds for run in runs),
                "memory_gb": max(run.memory_gb for run in runs),
            }
        )
    return rows


def line_through(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Seconds whatever the volume, and seconds a litre of brain, by least squares."""
    slope, start = np.polyfit([row["brain_ml"] / 1000 for row in rows], [row["seconds"] for row in rows], 1)
    return float(start), float(slope)


def one_by_one(model: str, count: int, folder: Path) -> list[dict[str, Any]]:
    """Many small patients in this process; one row each."""
    from BrainTumorSegLib import load_model, segment
    from BrainTumorSegLib.io.registry import write_volume

    cases = [folder / f"patient{number}" for number in range(count)]
    phantom_cases(cases, SMALL)
    checkpoint = load_model(model)
    rows = []
    for case in cases:
        started = time.perf_counter()
        write_volume(segment(case, checkpoint).labels, folder / "labels.nii.gz")
        rows.append({"seconds": time.perf_counter() - started, **resources()})
    return rows


def resources() -> dict[str, float]:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return {
        "resident_gb": pages * os.sysconf("SC_PAGE_SIZE") / 1024**3,
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def growth(values: Sequence[float]) -> float:
    """By how much the last fifth is above the second one, in medians: the first one fills caches."""
    fifth = max(1, len(values) // 5)
    return statistics.median(values[-fifth:]) - statistics.median(values[fifth : 2 * fifth])


def main() -> None:
    """Measure, print and write."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", default=DEFAULT_MODEL)
    p.add_argument("--edges", nargs="+", type=float, default=EDGES)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--patients", type=int, default=100)
    p.add_argument("-o", "--output", type=Path, help="JSON file, for docs/tools/draw_speed.py")
    arguments = p.parse_args()
    found: dict[str, Any] = {"machine": machine(), "model": arguments.model}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["volumes"] = by_volume(arguments.model, arguments.edges, arguments.repeat, folder)
        for row in found["volumes"]:
            print("{brain_ml:7.0f} mL: {seconds:.2f} s, CPU {cpu_seconds:.1f} s, {memory_gb:.2f} GB".format(**row))
        start, slope = line_through(found["volumes"])
        print(f"about {start:.1f} s and {slope:.1f} s a litre of brain", flush=True)
        found["patients"] = one_by_one(arguments.model, arguments.patients, folder)
    print(f"{arguments.patients} patients in one process, growth from the second fifth of them to the last:")
    for what in found["patients"][0]:
        values = [row[what] for row in found["patients"]]
        print(f"  {what}: median {statistics.median(values):.4g}, first {values[0]:.4g}, growth {growth(values):+.4g}")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
