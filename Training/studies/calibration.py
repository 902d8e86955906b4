"""``python -m Training.studies.calibration MODEL --data DIR``: do a model's probabilities mean what they say?

Prints, a region, the expected calibration error (Naeini 2015; Guo 2017, arXiv 1706.04599) and how far the Dice that
the model expects is from the Dice that is measured. On patients of a held-out fold, or training patients of the split
that came after the model (``unseen``), it also finds the temperatures that calibrate the probabilities best, for
``postprocessing.temperatures`` of the recipe, and what each least expected Dice of ET would give: never on the
validation patients, which judge, and never on patients that it was trained on, where a network is overconfident.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.labels import REGIONS, to_regions
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import bounding_box
from BrainTumorSegLib.evaluation.metrics import dice
from BrainTumorSegLib.evaluation.tables import aligned
from BrainTumorSegLib.inference.confidence import MARGIN_MM, calibrated, confidence, expected_dice
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint

from ..command import exit_code
from ..datasets.case import UNKNOWN_LABEL, LabelledCase
from ..datasets.split import FOLD, VALIDATION

BINS = 15
_TEMPERATURES = (0.25, 8.0)
UNSEEN = "unseen"
_MINIMA = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class RegionEvidence:
    """One region of one patient: what was predicted, and what is.

    Attributes:
        probability, truth: of the voxels of the box around what is tumour in truth or result, MARGIN_MM wider on every
            side, flat; those of which nothing is known are left out. Far from tumours all are right and certain.
        expected, measured: Dice, of all voxels; none is expected (NaN) of a region that was not found.
        found: of the same voxels, what the result calls the region.
    """

    probability: np.ndarray
    truth: np.ndarray
    expected: float
    measured: float
    found: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Mean over the voxels of the distance between predicted and true share of tumour, in bins of equal width."""
    if not probability.size:
        return 0.0
    place = np.minimum((probability * bins).astype(int), bins - 1)
    predicted, true = (np.bincount(place, weights=values, minlength=bins) for values in (probability, truth))
    return float(np.abs(predicted - true).sum() / probability.size)


def best_temperature(evidence: Sequence[RegionEvidence]) -> float:
    """The temperature with the lowest cross-entropy, every patient weighing alike; NaN where nothing was predicted."""
    if not any(one.probability.any() for one in evidence):
        return math.nan

    def loss(logarithm: float) -> float:
        return float(np.mean([_cross_entropy(one, float(np.exp(logarithm))) for one in evidence]))

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x))


def _cross_entropy(one: RegionEvidence, temperature: float) -> float:
    predicted = np.clip(calibrated(one.probability, temperature), 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(one.truth, np.log(predicted), np.log1p(-predicted)))) if predicted.size else 0.0


def dice_with_minimum(evidence: Sequence[RegionEvidence], minimum: float) -> float:
    """Mean Dice of a region that is taken for none where less than ``minimum`` is expected (1 where there is none)."""
    return float(np.mean([float(not e.truth.any()) if e.expected < minimum else e.measured for e in evidence]))


def best_minimum(evidence: Sequence[RegionEvidence]) -> float:
    """Of the minima that are looked at, the lowest with the highest mean Dice."""
    return max(_MINIMA, key=lambda minimum: (dice_with_minimum(evidence, minimum), -minimum))


def uncalibrated(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with its probabilities as the network gives them, and no ET taken for none."""
    even = dict.fromkeys(checkpoint.description.regions, 1.0)
    bare = dataclasses.replace(checkpoint.description.postprocessing, temperatures=even, minimum_et_dice=0.0)
    description = dataclasses.replace(checkpoint.description, postprocessing=bare)
    return dataclasses.replace(checkpoint, description=description)


def gather(
    checkpoint: Checkpoint, cases: Iterable[LabelledCase], *, device: str = "auto"
) -> Iterator[dict[str, RegionEvidence]]:
    """Region → evidence, a patient at a time, through the engine."""
    for labelled in cases:
        case, reference = labelled.load()
        result = segment_case(case, checkpoint, RunOptions(device=device), keep_probabilities=True)
        known = reference.array != UNKNOWN_LABEL
        truth = to_regions(np.where(known, reference.array, 0))
        margin = [round(MARGIN_MM / size) for size in reference.spacing]
        box = bounding_box(truth["WT"] | (result.labels.array > 0), margin)
        inside = known[box]
        yield {
            region: RegionEvidence(
                result.probabilities[region][box][inside],
                truth[region][box][inside],
                confidence(result.probabilities[region], result.mask(region), reference.spacing) or math.nan,
                dice(result.mask(region)[known], truth[region][known]),
                result.mask(region)[box][inside],
            )
            for region in result.regions
        }


def summary(evidence: Sequence[Mapping[str, RegionEvidence]]) -> dict[str, dict[str, float]]:
    """Measure → region → mean over the patients; as the card tells them."""
    regions = list(evidence[0])
    values = {region: [one[region] for one in evidence] for region in regions}
    return {
        "Expected calibration error": {
            region: _mean(expected_calibration_error(one.probability, one.truth) for one in values[region])
            for region in regions
        },
        "Error of the expected Dice": {
            region: _mean(abs(one.expected - one.measured) for one in values[region]) for region in regions
        },
    }


def _mean(values: Iterable[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return round(float(np.mean(kept)), 4) if kept else math.nan


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.studies.calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("model", help="id, or a .safetensors file that Training.train wrote")
    p.add_argument("--data", type=Path, required=True, help="folder of the data set it was trained on")
    p.add_argument(
        "--patients", choices=(VALIDATION, FOLD, UNSEEN), default=VALIDATION, help="which of them to look at"
    )
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return p


def patients(checkpoint: Checkpoint, folder: Path, part: str) -> dict[str, LabelledCase]:
    """Those of the part that the model has not been trained on.

    Raises:
        RequestError: there are none, or the checkpoint holds no recipe.
    """
    from ..datasets.data_module import recorded_split

    record = checkpoint.description.training
    found, split = recorded_split(checkpoint.description, folder)
    chosen = split.training if part == UNSEEN else split.part(part)
    rest = {name: found.cases[name] for name in chosen if name not in record.training_cases}
    if not rest:
        raise RequestError(
            f"{checkpoint.description.id} has no {part} patients.", "Train it with --fold, or split.json."
        )
    return rest


def run(arguments: argparse.Namespace) -> int:
    """Look at the patients, print.

    Raises:
        BrainTumorSegError: the request is wrong, or a patient cannot be read.
    """
    checkpoint = load_model(arguments.model)
    fitted = arguments.patients != VALIDATION
    if fitted:  # what is found here replaces what may be there
        checkpoint = uncalibrated(checkpoint)
    chosen = patients(checkpoint, arguments.data, arguments.patients)
    evidence = []
    for name, one in zip(chosen, gather(checkpoint, chosen.values(), device=arguments.device), strict=True):
        predicted = ", ".join(f"{region} {e.expected:.2f} ({e.measured:.2f})" for region, e in one.items())
        print(f"{name}: expected (measured) Dice {predicted}", flush=True)
        evidence.append(one)
    regions = [region for region in REGIONS if region in evidence[0]]
    lines = [["", *regions]]
    lines += [[name, *(shown(values[r]) for r in regions)] for name, values in summary(evidence).items()]
    if fitted:
        found = {region: best_temperature([one[region] for one in evidence]) for region in regions}
        after = [{r: cooled(one[r], found[r]) for r in regions} for one in evidence]
        lines.append(["Temperature", *(shown(found[r], 3) for r in regions)])
        for name, errors in summary(after).items():
            lines.append([f"{name} with it", *(shown(errors[r]) for r in regions)])
    print(aligned(lines))
    if fitted and "ET" in regions:
        print(_minima(chosen, [one["ET"] for one in after]))
    return 0


def _minima(names: Iterable[str], evidence: Sequence[RegionEvidence]) -> str:
    """What of ET is expected with its temperature, a patient a line, and what each minimum would give."""
    lines = [["", "ET expected", "measured", "there"]]
    for name, e in zip(names, evidence, strict=True):
        lines.append([name, shown(e.expected), shown(e.measured), "yes" if e.truth.any() else "no"])
    means = [f"{minimum:.1f}: {dice_with_minimum(evidence, minimum):.3f}" for minimum in _MINIMA]
    return f"{aligned(lines)}\nMean Dice of ET with minimum_et_dice {', '.join(means)}"


def shown(value: float, digits: int = 4) -> str:
    """A figure as it is printed: of a region that was never predicted there may be none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "undefined"


def cooled(one: RegionEvidence, temperature: float) -> RegionEvidence:
    """The evidence with another temperature; expected is then the Dice of the box around all tumour."""
    probability = calibrated(one.probability, temperature if math.isfinite(temperature) else 1.0)
    expected = expected_dice(probability, one.found) or math.nan
    return dataclasses.replace(one, probability=probability, expected=expected)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
