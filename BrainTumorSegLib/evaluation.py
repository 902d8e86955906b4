"""Comparing segmentations with references: arrays, files and folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import BrainTumorSegError, GeometryError, RequestError
from .labels import read_labels, to_regions
from .metrics import dice
from .modalities import is_image, stem
from .preprocessing import Grid
from .volume import read_volume

# Files of one case agree to this; tools round affines differently when they write them.
AFFINE_TOLERANCE_MM = 1e-2

Measures = dict[str, dict[str, float]]


def compare_labels(prediction: np.ndarray, reference: np.ndarray) -> Measures:
    """Region → measure → value for two label maps ``(Z, Y, X)`` in the convention of this library.

    Both empty counts as Dice 1, as BraTS has it.

    Raises:
        GeometryError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise GeometryError(
            f"The prediction has shape {prediction.shape}, the reference {reference.shape}.",
            "Compare them on one grid.",
        )
    predicted, truth = to_regions(prediction), to_regions(reference)
    return {region: {"dice": dice(predicted[region], truth[region])} for region in truth}


def compare_files(prediction: Path, reference: Path, *, labels: tuple[str, str] = ("auto", "auto")) -> Measures:
    """The same for two files; ``labels`` are the conventions of prediction and reference.

    Raises:
        InputError: unreadable, or labels outside the convention.
        GeometryError: the grids differ.
    """
    volumes = [read_volume(prediction), read_volume(reference)]
    shapes = [volume.shape for volume in volumes]
    if shapes[0] != shapes[1]:
        raise GeometryError(
            f"{prediction} has shape {shapes[0]}, {reference} has {shapes[1]}.", "Bring both onto one grid first."
        )
    distance = np.abs(Grid.of(volumes[0]).corners() - Grid.of(volumes[1]).corners()).max()
    if distance > AFFINE_TOLERANCE_MM:
        raise GeometryError(
            f"{prediction} and {reference} lie up to {distance:.3g} mm apart (their affines differ).",
            "Bring both onto one grid first.",
        )
    maps = [
        read_labels(volume.array, convention, volume.source) for volume, convention in zip(volumes, labels, strict=True)
    ]
    return compare_labels(maps[0], maps[1])


def match(prediction: Path, reference: Path) -> dict[str, tuple[Path, Path]]:
    """Case id → files of prediction and reference, for two files or two folders.

    ``<case>.nii.gz`` (or ``<case>_seg``, ``<case>-seg``) matches ``<case>/<case>_seg.nii.gz``,
    ``<case>/<case>-seg.nii.gz`` and ``<case>.nii.gz``. References without a prediction are left alone.

    Raises:
        RequestError: a path is missing, one is a folder and the other a file, nothing is there to compare,
            or a prediction has no reference.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise RequestError(f"{path} does not exist.", "Check the path.")
    if prediction.is_file() and reference.is_file():
        return {_case_of(prediction): (prediction, reference)}
    if prediction.is_file() or reference.is_file():
        raise RequestError(f"{prediction} and {reference} are a file and a folder.", "Give two files or two folders.")
    references = _references(reference)
    predictions = {_case_of(path): path for path in _images(prediction.iterdir())}
    if not predictions:
        predictions = _references(prediction)
    if not predictions:
        raise RequestError(f"{prediction} holds no segmentation.", "It should hold <case>.nii.gz files.")
    alone = sorted(set(predictions) - set(references))
    if alone:
        raise RequestError(
            f"{len(alone)} of {len(predictions)} predictions have no reference in {reference}, first {alone[0]}.",
            "A reference is called <case>/<case>_seg.nii.gz, <case>/<case>-seg.nii.gz or <case>.nii.gz.",
        )
    return {case: (predictions[case], references[case]) for case in sorted(predictions)}


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and is_image(path) and not path.name.startswith("."))


def _case_of(path: Path) -> str:
    name = stem(path)
    return name[:-4] if name[-4:].lower() in ("_seg", "-seg") else name


def _references(folder: Path) -> dict[str, Path]:
    inner = [path for path in _images(folder.glob("**/*")) if stem(path) != _case_of(path)]
    flat = [path for path in _images(folder.iterdir()) if stem(path) == _case_of(path)]
    return {_case_of(path): path for path in [*flat, *inner]}


@dataclass(frozen=True)
class Table:
    """Measures of many cases, and what kept the others from being measured."""

    rows: Mapping[str, Measures]
    failures: Mapping[str, BrainTumorSegError]

    def columns(self) -> list[tuple[str, str]]:
        """Region and measure of each column."""
        return [(region, name) for region, values in next(iter(self.rows.values()), {}).items() for name in values]

    def means(self) -> Measures:
        """Mean over the cases."""
        result: Measures = {}
        for region, name in self.columns():
            values = [row[region][name] for row in self.rows.values()]
            result.setdefault(region, {})[name] = float(np.mean(values))
        return result

    def lines(self) -> list[list[str]]:
        """Header, a line a case, the mean."""
        columns = self.columns()
        table = [["case", *(f"{name} {region}" for region, name in columns)]]
        for case, row in [*self.rows.items(), ("mean", self.means())]:
            table.append([case, *(f"{row[region][name]:.4f}" for region, name in columns)])
        return table

    def text(self) -> str:
        """For a terminal."""
        lines = self.lines()
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        return "\n".join(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def write(self, path: Path, suffix: str) -> None:
        """Write CSV, JSON or Markdown, as the suffix says."""
        lines = self.lines()
        if suffix == ".json":
            path.write_text(json.dumps({"cases": dict(self.rows), "mean": self.means()}, indent=1), encoding="utf-8")
        elif suffix == ".md":
            marked = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
            path.write_text("".join(f"| {' | '.join(line)} |\n" for line in marked), encoding="utf-8")
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(lines)


def check_table_name(path: Path) -> str:
    """Suffix of a table's name.

    Raises:
        RequestError: no kind of table this program writes.
    """
    if path.suffix not in (".csv", ".json", ".md"):
        raise RequestError(f"{path.name} names no kind of table.", "Use .csv, .json or .md.")
    return path.suffix
