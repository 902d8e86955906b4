"""``python -m Training.studies.cross_validation RECIPE --data DIR -o DIR``: every training patient held out once.

The recipe is trained once for each of its folds, in ``DIR/fold-<k>``: a finished run is loaded, an interrupted one
goes on. Each network segments the patients of its fold through the engine. The temperatures of a fold's probabilities
and the least expected Dice of ET, below which there is none, are found on the patients of the other folds. Validation
patients take no part. ``cross_validation.csv`` (a line a patient) and ``cross_validation.md`` (groups of patients)
appear in DIR.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint

from .. import train
from ..command import exit_code
from ..recipe import load_recipe
from .compare import Run, as_comparison, complete, each_run, study_parser

if TYPE_CHECKING:
    from ..datasets.data_module import PatchData
    from .calibration import RegionEvidence

TABLE, TEXT = "cross_validation.csv", "cross_validation.md"

# What is promised and not kept: a Dice that is expected to be above the first, and is below the second.
PROMISED, KEPT = 0.7, 0.5
# Less enhancing tumour than this is little, mL.
LITTLE = 1.0


@dataclass(frozen=True)
class Patient:
    """One patient, segmented by the network that had not seen it.

    Attributes:
        id, fold: who, and where held out.
        volume: of enhancing tumour in the reference, mL; NaN where the network does not know ET.
        dice, expected: region → Dice, and what the network promised with the temperatures of the other folds; NaN where
            nothing was found.
        error: region → expected calibration error with them.
        left_without: whether there is no ET in the result.
    """

    id: str
    fold: int
    volume: float
    dice: Mapping[str, float]
    expected: Mapping[str, float]
    error: Mapping[str, float]
    left_without: bool


GROUPS: dict[str, Callable[[Patient], bool]] = {
    "all": lambda p: True,
    f"at least {LITTLE:g} mL of ET": lambda p: p.volume >= LITTLE,
    f"less than {LITTLE:g} mL of ET": lambda p: 0 < p.volume < LITTLE,
    "no ET": lambda p: p.volume == 0,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = study_parser("cross_validation", __doc__)
    p.add_argument("recipe", type=Path, metavar="RECIPE", help="TOML file, see Training/recipes")
    return p


def requested(arguments: argparse.Namespace) -> list[Run]:
    """A run a fold.

    Raises:
        RequestError: the recipe is wrong.
    """
    runs = []
    for fold in range(load_recipe(arguments.recipe).data.folds):
        place = arguments.output / f"fold-{fold}"
        runs += each_run(as_comparison(arguments, [arguments.recipe], place, f"--fold={fold}"))
    return runs


def run(arguments: argparse.Namespace) -> int:
    """Train or load, measure, write.

    Raises:
        BrainTumorSegError: the request is wrong, or a training failed or was interrupted.
    """
    runs = requested(arguments)
    data = [train.load_data(one.recipe, one.arguments) for one in runs]
    for one, its_data in zip(runs, data, strict=True):
        complete([one], {one.recipe.id: its_data}, only_load=arguments.only_load)
    gathered = [held_out(one, its_data, arguments.device) for one, its_data in zip(runs, data, strict=True)]
    volumes = {name: volume for fold in gathered for name, (volume, _) in fold.items()}
    patients = judged([{name: evidence for name, (_, evidence) in fold.items()} for fold in gathered], volumes)
    write(arguments.output, patients, notes(runs, data))
    print((arguments.output / TEXT).read_text(encoding="utf-8"))
    return 0


def held_out(run: Run, data: PatchData, device: str) -> dict[str, tuple[float, dict[str, RegionEvidence]]]:
    """Patient of the run's fold → its enhancing tumour in mL, and what the network says of it."""
    from .calibration import gather, uncalibrated

    checkpoint = uncalibrated(load_checkpoint(run.exported))
    found = {}
    for name in data.split.monitoring:
        print(f"Measuring {name}", flush=True)
        (evidence,) = gather(checkpoint, [data.cases[name]], device=device)
        _, reference = data.cases[name].load()
        volume = evidence["ET"].truth.sum() * reference.voxel_volume / 1000 if "ET" in evidence else math.nan
        found[name] = float(volume), evidence
    return found


def judged(folds: Sequence[Mapping[str, Mapping[str, RegionEvidence]]], volumes: Mapping[str, float]) -> list[Patient]:
    """The patients of all folds, each by what is found on those of the other folds.

    Args:
        folds: for each fold patient → region → evidence, of probabilities as the network gives them.
        volumes: patient → enhancing tumour in the reference, mL.
    """
    from .calibration import best_minimum, best_temperature, cooled, expected_calibration_error

    patients = []
    for number, fold in enumerate(folds):
        others = [e for other in folds if other is not fold for e in other.values()]
        regions = [region for region in REGIONS if region in others[0]]
        temperatures = {region: best_temperature([e[region] for e in others]) for region in regions}
        enhancing = [cooled(e["ET"], temperatures["ET"]) for e in others] if "ET" in regions else []
        minimum = best_minimum(enhancing) if enhancing else 0.0
        for name, raw in fold.items():
            evidence = {region: cooled(raw[region], temperatures[region]) for region in regions}
            dice = {region: evidence[region].measured for region in regions}
            left = "ET" in regions and (not raw["ET"].found.any() or evidence["ET"].expected < minimum)
            if left:
                dice["ET"] = float(not raw["ET"].truth.any())
            patients.append(
                Patient(
                    id=name,
                    fold=number,
                    volume=volumes[name],
                    dice=dice,
                    expected={r: math.nan if r == "ET" and left else evidence[r].expected for r in regions},
                    error={r: expected_calibration_error(evidence[r].probability, evidence[r].truth) for r in regions},
                    left_without=left,
                )
            )
    return patients


def write(output: Path, patients: Sequence[Patient], said: Sequence[str]) -> None:
    """Both files or none.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from .comparison_results import write_csv, write_markdown

    with staged() as staging:
        write_csv(patient_lines(patients), staging.path(output / TABLE))
        write_markdown([group_lines(patients), promise_lines(patients)], said, staging.path(output / TEXT))


def patient_lines(patients: Sequence[Patient]) -> list[list[str]]:
    """For programs: a line a patient."""
    regions = list(patients[0].dice)
    names = [f"{measure}_{region}" for measure in ("dice", "expected") for region in regions]
    lines = [["patient", "fold", "et_ml", *names]]
    for p in patients:
        values = [p.volume, *p.dice.values(), *p.expected.values()]
        lines.append([p.id, str(p.fold), *("" if math.isnan(v) else f"{v:.6g}" for v in values)])
    return lines


def group_lines(patients: Sequence[Patient]) -> list[list[str]]:
    """Mean Dice by how much enhances."""
    regions = list(patients[0].dice)
    lines = [["patients", "number", *(f"Dice {region}" for region in regions), "left without ET"]]
    for name, belongs in GROUPS.items():
        group = [p for p in patients if belongs(p)]
        if group:
            means = [f"{np.mean([p.dice[region] for p in group]):.3f}" for region in regions]
            lines.append([name, str(len(group)), *means, str(sum(p.left_without for p in group))])
    return lines


def promise_lines(patients: Sequence[Patient]) -> list[list[str]]:
    """What the probabilities promise, region by region."""
    lines = [["region", "expected calibration error", "error of the expected Dice", "promised and not kept"]]
    for region in patients[0].dice:
        pairs = [(p.expected[region], p.dice[region]) for p in patients if not math.isnan(p.expected[region])]
        broken = sum(expected > PROMISED and dice < KEPT for expected, dice in pairs)
        distance = np.mean([abs(expected - dice) for expected, dice in pairs]) if pairs else math.nan
        error = np.mean([p.error[region] for p in patients])
        lines.append([region, f"{error:.4f}", f"{distance:.3f}", f"{broken} of {len(pairs)}"])
    return lines


def notes(runs: Sequence[Run], data: Sequence[PatchData]) -> list[str]:
    """What there is to know of the figures, a sentence or two each."""
    recipe, sizes = runs[0].recipe, [len(each.split.monitoring) for each in data]
    return [
        f"{recipe.title}: {recipe.optimisation.steps} steps of {recipe.sampling.batch} patches of"
        f" {' × '.join(map(str, recipe.sampling.patch))} for each of {len(runs)} folds of {', '.join(map(str, sizes))}"
        " patients, measured through the engine, on the images' own grid. Validation patients take no part.",
        "Dice is of whole patients, then averaged; of ET that is neither there nor found it is 1, of false ET 0.",
        "Temperatures, and the least expected Dice of ET, below which there is none, are those that suit the patients"
        " of the other folds best.",
        f"Promised and not kept: a Dice above {PROMISED:g} was expected, and it is below {KEPT:g}.",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)), "Start again to go on.")


if __name__ == "__main__":
    sys.exit(main())
