"""How well raw scans are registered and segmented: synthetic ones, whose truth is known.

``python -m Testing.benchmarks.raw_cases MODEL DATA_FOLDER [--cases 20] [--patients train]`` makes raw cases of the
patients of a BraTS folder (``split.json`` names them): a head around the brain in three of four, rigid offsets of up to
30° and 50 mm a sequence, clinical grids of 0.5 to 6 mm. Printed: registration error at the brain's surface, local
correlation and stretch of right pairs and of sequences of two patients, Dice of WT and TC and what is lost against the
same patient's perfect input (stripped, not moved) on the same grids.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation.metrics.overlap import dice
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.io.registry import read_label_map
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.phantom.scanned import Scanned, scan
from BrainTumorSegLib.preprocessing import AlignedCase
from BrainTumorSegLib.preprocessing.registration import Registration, register
from BrainTumorSegLib.preprocessing.resampling import onto
from Testing.raw_scans import random_motion, random_protocols, true_move

from .two_people import print_pairs

DEGREES, MM = 30.0, 50.0


@dataclass(frozen=True)
class RawCase:
    """A raw case, the same without motion and skull, and the expert's labels."""

    name: str
    raw: Scanned
    perfect: Scanned
    labels: Volume
    skull: bool


def raw_cases(folder: Path, patients: str, count: int) -> Iterator[RawCase]:
    """Raw cases of patients, again and again with other motions."""
    names = json.loads((folder / "split.json").read_text("utf-8"))[patients]
    for number in range(count):
        name = names[number % len(names)]
        case, rng = read_case(folder / name), np.random.default_rng([15, number])
        labels = read_label_map(folder / name / f"{name}_seg.nii.gz", "brats2021")
        protocols = random_protocols(rng, case.modalities)
        inside = np.argwhere(case.reference_volume.array != 0)[:, ::-1].mean(axis=0)
        centre = case.reference_volume.affine[:3, :3] @ inside + case.reference_volume.affine[:3, 3]
        motions = {each: random_motion(rng, DEGREES, MM, centre) for each in case.modalities}
        skull = number % 4 != 3
        raw = scan(case, protocols, motions, skull=skull, seed=number)
        yield RawCase(name, raw, scan(case, protocols, skull=False, seed=number), labels, skull)


def errors_mm(raw: Scanned, modality: str, matrix: np.ndarray) -> np.ndarray:
    """How far places on the brain's surface lie off in the reference's space."""
    surface = raw.brain.array & ~ndimage.binary_erosion(raw.brain.array)
    points = np.argwhere(surface)[::37, ::-1] @ raw.brain.affine[:3, :3].T + raw.brain.affine[:3, 3]
    moving = points @ raw.motions[modality][:3, :3].T + raw.motions[modality][:3, 3]
    off = matrix - true_move(raw, modality)
    return np.asarray(np.linalg.norm(moving @ off[:3, :3].T + off[:3, 3], axis=1))


def region_dice(labels: np.ndarray, truth: Volume, scanned: Scanned) -> dict[str, float]:
    """Dice of WT and TC against the expert's labels on the reference's grid."""
    motion, grid = scanned.motions[scanned.case.reference], Grid.of(scanned.case.reference_volume)
    found = {}
    for region in ("WT", "TC"):
        wanted = list(REGIONS[region].labels)
        mask = np.isin(truth.array, wanted).astype(np.float32)
        expert = onto(mask, Grid(truth.shape, motion @ truth.affine), grid) >= 0.5
        found[region] = dice(np.isin(labels, wanted), expert)
    return found


def measure(each: RawCase, checkpoint: Checkpoint, method: str) -> tuple[AlignedCase | None, dict[str, float]]:
    """The alignment of a raw case and the Dice that is lost; nothing of one that is refused."""
    seen: list[AlignedCase] = []
    options = RunOptions(brain_extraction=method)
    # Not --preprocess none, which would leave the uneven coils uncorrected.
    best = region_dice(segment_case(each.perfect.case, checkpoint).labels.array, each.labels, each.perfect)
    try:
        labels = segment_case(each.raw.case, checkpoint, options, aligned_to=seen.append).labels.array
    except BrainTumorSegError as error:
        print(f"{each.name}: refused. {error}", flush=True)
        return None, {}
    given = region_dice(labels, each.labels, each.raw)
    return seen[0], {region: best[region] - given[region] for region in best}


def strangers(first: Case, second: Case, aligned: AlignedCase) -> list[Registration]:
    """One patient's reference with another's sequences."""
    assert aligned.brain is not None
    fixed, mask = first.reference_volume, aligned.brain.mask
    return [register(volume, fixed, mask) for volume in list(second.images.values())[:2]]


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("data", type=Path)
    p.add_argument("--cases", type=int, default=20)
    p.add_argument("--patients", default="validation")
    p.add_argument("--brain-extraction", default="included")
    arguments = p.parse_args()
    checkpoint = load_model(arguments.model)
    right: list[Registration] = []
    wrong: list[Registration] = []
    errors, lost = [], {True: [], False: []}
    before: RawCase | None = None
    for each in raw_cases(arguments.data, arguments.patients, arguments.cases):
        aligned, less = measure(each, checkpoint, arguments.brain_extraction)
        if aligned is None:
            continue
        own = {name: errors_mm(each.raw, name, move.matrix) for name, move in aligned.moves.items()}
        errors += list(own.values())
        right += aligned.moves.values()
        lost[each.skull].append(less)
        if before and before.name != each.name and before.skull == each.skull:
            wrong += strangers(each.raw.case, before.raw.case, aligned)
        before = each
        figures = ", ".join(f"{name} {np.median(e):.2f}" for name, e in own.items())
        tilt = f"{aligned.pose.tilt_deg:.0f}°" if aligned.pose else "unknown"
        dices = ", ".join(f"{region} {value:.3f}" for region, value in less.items())
        print(f"{each.name}: skull {each.skull}, tilt {tilt}, error mm {figures}, Dice lost {dices}", flush=True)
    pooled = np.concatenate(errors)
    print(f"registration error: median {np.median(pooled):.2f} mm, 95th percentile {np.percentile(pooled, 95):.2f} mm")
    print_pairs("one head", right)
    print_pairs("two patients", wrong)
    for skull, values in lost.items():
        for region in ("WT", "TC"):
            figure = np.mean([value[region] for value in values]) if values else np.nan
            print(f"{'with' if skull else 'without'} skull: Dice of {region} lost {figure:.3f} ({len(values)} cases)")


if __name__ == "__main__":
    main()
