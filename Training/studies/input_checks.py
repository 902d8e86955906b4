"""``python -m Training.studies.input_checks --data DIR``: fit and measure the checks of what a model is given.

For BrainTumorSegLib.quality.swapped_sequences: how many swaps of two sequences are found and how many right orders are
doubted, for every set of sequences that may be given. For BrainTumorSegLib.quality.orientation: how many turned
brains are found. Both by leaving each training patient out in turn, and on the validation patients.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.quality import orientation, swapped_sequences

from ..command import exit_code
from ..datasets.brats import find_brats
from ..datasets.cache import CaseCache
from ..datasets.split import read_split

_PENALTY = 0.1
SUBSETS = tuple(chosen for size in (4, 3, 2) for chosen in itertools.combinations(MODALITIES, size))

Coefficients = dict[tuple[str, str], np.ndarray]


def fit(seen: Iterable[swapped_sequences.Appearance]) -> Coefficients:
    """Ridge logistic regression a pair, without intercept, since exchanging two images changes the sign of all.

    Every set of sequences that holds the pair counts, so that the score gets by without the other two.
    """
    everyone = list(seen)
    result = {}
    for pair in swapped_sequences.PAIRS:
        places = [_place(chosen) for chosen in SUBSETS if set(pair) <= set(chosen)]
        rows = np.array([swapped_sequences.pair_features(one, place, pair) for one in everyone for place in places])
        scale = np.sqrt((rows**2).mean(axis=0))
        result[pair] = _logistic(rows / scale, 1 / len(places)) / scale
    return result


def _place(modalities: Sequence[str]) -> dict[str, int]:
    return {name: MODALITIES.index(name) for name in modalities}


def _logistic(rows: np.ndarray, weight: float) -> np.ndarray:
    """Coefficients that make ``rows @ coefficients`` positive, each row counting ``weight``."""

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        odds = rows @ coefficients
        value = weight * np.logaddexp(0, -odds).sum() + _PENALTY / 2 * coefficients @ coefficients
        return value, -weight * rows.T @ (1 / (1 + np.exp(odds))) + _PENALTY * coefficients

    return minimize(loss, np.zeros(rows.shape[1]), jac=True).x


def judge(
    one: swapped_sequences.Appearance, coefficients: Coefficients, modalities: Sequence[str]
) -> tuple[bool, int, int]:
    """One patient with these sequences: is the right order doubted, exchanges found, exchanges made."""
    rows = [MODALITIES.index(name) for name in modalities]
    right = _take(one, rows)
    doubted = swapped_sequences.likeliest_order(right, modalities, coefficients) != tuple(modalities)
    found = 0
    exchanges = list(itertools.combinations(range(len(rows)), 2))
    for i, j in exchanges:
        swapped = list(rows)
        swapped[i], swapped[j] = rows[j], rows[i]
        found += swapped_sequences.likeliest_order(_take(one, swapped), modalities, coefficients) != tuple(modalities)
    return doubted, found, len(exchanges)


def _take(one: swapped_sequences.Appearance, rows: Sequence[int]) -> swapped_sequences.Appearance:
    square = np.ix_(rows, rows)
    return swapped_sequences.Appearance(one.single[list(rows)], one.residual[square], one.correlation[square])


def counted(verdicts: Sequence[tuple[bool, int, int]]) -> str:
    """Verdicts on some patients (right one doubted, wrong ones found, wrong ones made) in words."""
    doubted, found, made = (sum(column) for column in zip(*verdicts, strict=True))
    return f"found {found}/{made}, doubted {doubted}/{len(verdicts)}"


def table(parts: Mapping[str, Sequence[tuple[swapped_sequences.Appearance, Coefficients]]]) -> str:
    """A line a set of sequences: found exchanges and doubted right orders, for each part of the patients."""
    lines = [f"{'sequences':<20}" + "".join(f"  {name:>34}" for name in parts)]
    for modalities in SUBSETS:
        line = f"{' '.join(modalities):<20}"
        for patients in parts.values():
            line += f"  {counted([judge(one, coefficients, modalities) for one, coefficients in patients]):>34}"
        lines.append(line)
    return "\n".join(lines)


def judge_orientation(mask: np.ndarray, template: np.ndarray) -> tuple[bool, int, int]:
    """One brain: is its right orientation doubted, wrong ones found, wrong ones made."""
    wrong = [turn for turn in orientation.turns() if turn != orientation.UPRIGHT]
    found = sum(orientation.turn_of(orientation.turned(mask, turn), template) != orientation.UPRIGHT for turn in wrong)
    return orientation.turn_of(mask, template) != orientation.UPRIGHT, found, len(wrong)


def mean_outline(masks: Iterable[np.ndarray]) -> np.ndarray:
    """The template of brains."""
    return orientation.symmetric(np.mean([orientation.outline(mask) for mask in masks], axis=0))


def fit_swapped_sequences(
    training: Sequence[np.ndarray], validation: Sequence[np.ndarray], corrected: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Print how well the check of contrasts does, also on the validation patients after N4; what is stored of it."""
    seen = [swapped_sequences.appearance(images) for images in training]
    coefficients = fit(seen)
    left_out = [(one, fit(other for other in seen if other is not one)) for one in seen]
    parts = {"training, each left out": left_out}
    for name, patients in (("validation", validation), ("validation, after N4", corrected)):
        parts[name] = [(swapped_sequences.appearance(images), coefficients) for images in patients]
    print(table(parts), flush=True)
    rounded = {" ".join(pair): [float(f"{v:.4g}") for v in values] for pair, values in coefficients.items()}
    return {"features": swapped_sequences.FEATURES, "patients": len(training), "coefficients": rounded}


def fit_orientation(training: Sequence[np.ndarray], validation: Sequence[np.ndarray]) -> dict[str, Any]:
    """Print how well the check of orientations does; what is stored of it."""
    masks, unseen = ([np.any(images != 0, axis=0) for images in part] for part in (training, validation))
    template = mean_outline(masks)
    left_out = [judge_orientation(mask, mean_outline(other for other in masks if other is not mask)) for mask in masks]
    for name, verdicts in (
        ("training, each left out", left_out),
        ("validation", [judge_orientation(mask, template) for mask in unseen]),
    ):
        print(f"orientations, {name}: {counted(verdicts)}", flush=True)
    return {
        "edge": orientation.EDGE,
        "patients": len(masks),
        "percent": np.round(100 * template).astype(int).ravel().tolist(),
    }


def run(data: Path, cache: Path, output: Path) -> int:
    """Fit to the training patients, print how well it does, write what is stored."""
    cases = find_brats(data).cases
    split = read_split(data, list(cases), folds=5, fold=-1)

    def images(names: Sequence[str], spec: PreprocessingSpec) -> list[np.ndarray]:
        store = CaseCache(cache, MODALITIES, spec)
        return [store.get(cases[name]).image().astype(np.float32) for name in names]

    training, validation = images(split.training, PreprocessingSpec()), images(split.validation, PreprocessingSpec())
    corrected = images(split.validation, PreprocessingSpec(bias_correction="n4"))
    results = {
        swapped_sequences.COEFFICIENTS: fit_swapped_sequences(training, validation, corrected),
        orientation.TEMPLATE: fit_orientation(training, validation),
    }
    for file, values in results.items():
        with atomic(output / file.name) as part:
            part.write_text(json.dumps(values, indent=None) + "\n", encoding="utf-8")
        print(f"Wrote {output / file.name}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    p = argparse.ArgumentParser(
        prog="python -m Training.studies.input_checks", description=(__doc__ or "").split("\n\n")[0]
    )
    p.add_argument("--data", type=Path, required=True, help="folder of BraTS cases, with split.json")
    p.add_argument("--cache", type=Path, default=Path("cache"), help="folder for preprocessed cases")
    p.add_argument(
        "-o", "--output", type=Path, default=swapped_sequences.COEFFICIENTS.parent, help="folder; default: in use"
    )
    arguments = p.parse_args(argv)
    return exit_code(lambda: run(arguments.data, arguments.cache, arguments.output))


if __name__ == "__main__":
    sys.exit(main())
