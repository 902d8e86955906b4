"""What a raw patient's scans give, against other methods' fused prediction.

``python -m Testing.benchmarks.raw_patient MODEL RAW … [--fused FILE]`` segments raw patients on every grid and prints
seconds and volumes. With ``--fused``, the overlap of WT with a prediction of the first in an atlas space: that comes
without the atlas's images, so it is moved rigidly to where both overlap best, and the figure is an upper bound.
``--healthy FOLDER [--ill NAME …]``: a folder of heads without a tumour, but for some; how many of them get one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import ndimage, optimize

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.result_warnings import LIKELY_DICE
from BrainTumorSegLib.io.case_folder import case_from_files, find_cases, read_case
from BrainTumorSegLib.io.registry import read_label_map
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint

# What may be found in a head without a tumour.
_NONE_ML = 2.0


def overlap(found: Volume, fused: Volume) -> float:
    """Dice of WT when the fused prediction is moved rigidly to where it overlaps best."""
    points = np.argwhere(fused.array > 0)[:, ::-1] @ fused.affine[:3, :3].T + fused.affine[:3, 3]
    mask = (found.array > 0).astype(np.float32)
    places = np.argwhere(mask > 0)[:, ::-1] @ found.affine[:3, :3].T + found.affine[:3, 3]
    shift, middle, back = places.mean(0) - points.mean(0), points.mean(0), np.linalg.inv(found.affine)

    def lost(values: np.ndarray) -> float:
        turn = _turn(values[:3])
        moved = (points - middle) @ turn.T + middle + shift + values[3:]
        index = (moved @ back[:3, :3].T + back[:3, 3])[:, ::-1]
        hit = ndimage.map_coordinates(mask, index.T, order=1).sum() * abs(np.linalg.det(fused.affine[:3, :3]))
        sizes = len(points) * abs(np.linalg.det(fused.affine[:3, :3])) + mask.sum() * found.voxel_volume
        return -float(2 * hit / sizes)

    simplex = np.vstack([np.zeros(6), np.diag([0.2, 0.2, 0.2, 4, 4, 4])])
    return -float(optimize.minimize(lost, np.zeros(6), method="Nelder-Mead", options={"initial_simplex": simplex}).fun)


def _turn(vector: np.ndarray) -> np.ndarray:
    """Rotation by a vector's length about it."""
    angle = float(np.linalg.norm(vector)) + 1e-12
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def report(case: Case, checkpoint: Checkpoint, method: str, fused: Volume | None = None) -> tuple[float, bool]:
    """Segment and print; mL of WT (none of what is refused), and whether the result says that none is likely."""
    started = time.perf_counter()
    aligned: list[float] = []
    options = RunOptions(brain_extraction=method, native="all")
    try:
        result = segment_case(
            case, checkpoint, options, aligned_to=lambda _: aligned.append(time.perf_counter() - started)
        )
    except BrainTumorSegError as error:
        print(f"{case.id}: refused. {error.sentence()}", flush=True)
        return 0.0, False
    volumes = ", ".join(f"{name} {m.volume_ml:.1f} mL" for name, m in result.measurements.items())
    seconds = f"{time.perf_counter() - started:.0f} s ({aligned[0]:.1f} s to where the images lie over each other)"
    print(f"{case.id}: {seconds}, {volumes}; expected Dice {result.confidence}", flush=True)
    for line in [*result.provenance["preprocessing"], *result.warnings]:
        print(f"  {line}")
    if fused is not None:
        for name, labels in {case.reference: result.labels, **result.native}.items():
            print(
                f"  overlap of WT with the fused prediction on {name}'s grid: {overlap(labels, fused):.3f}", flush=True
            )
    return result.measurements["WT"].volume_ml, result.confidence.get("WT", 1.0) < LIKELY_DICE


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("cases", type=Path, nargs="*")
    p.add_argument("--fused", type=Path)
    p.add_argument("--healthy", type=Path)
    p.add_argument("--ill", nargs="*", default=[])
    p.add_argument("--brain-extraction", default="included")
    arguments = p.parse_args()
    checkpoint = load_model(arguments.model)
    fused = read_label_map(arguments.fused) if arguments.fused else None
    for path in arguments.cases:
        report(read_case(path), checkpoint, arguments.brain_extraction, fused)
        fused = None
    if arguments.healthy:
        heads = [files for files in find_cases(arguments.healthy) if files.id not in arguments.ill]
        found = [report(case_from_files(h.files, h.id), checkpoint, arguments.brain_extraction) for h in heads]
        none = sum(ml <= _NONE_ML for ml, _ in found)
        doubted = sum(unlikely for ml, unlikely in found if ml > _NONE_ML)
        print(f"of {len(found)} heads without a tumour {none} get {_NONE_ML:g} mL or less, {doubted} more are doubted")


if __name__ == "__main__":
    main()
