"""``braintumorseg demo``: see all of it work, on a synthetic patient or the public sample."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..domain.case import Case
from ..domain.errors import OutputError
from ..domain.labels import write_labels
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord
from ..domain.segmentation import Segmentation
from ..domain.volume import Volume
from ..evaluation import compare_labels
from ..inference.pipeline import segment_case
from ..io.case_folder import read_case
from ..io.registry import write_volume
from ..io.sample_patient import fetch_sample
from ..io.staging import Staging, staged
from .console import Console
from .running import load_accepted, show


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("-o", "--output", type=Path, default=Path("demo-out"), metavar="DIR", help="default: demo-out")
    p.add_argument("--seed", type=int, default=0, help="another synthetic patient")
    p.add_argument("--sample", action="store_true", help="a real patient instead, downloaded (11 MB)")
    RunOptions.add_arguments(p, leave_out=("reference", "labels"))


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Make or fetch the patient, segment, write everything, compare with the truth where it is known."""
    folder: Path = arguments.output
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file.", "Name a folder with -o.")
    options = RunOptions.of(arguments)
    checkpoint = load_accepted(options.model, console)
    with staged() as staging:
        label_file = staging.path(folder / "segmentation.nii.gz")  # a folder that cannot be made ends the run here
        message = "Fetching the sample" if arguments.sample else "Making a synthetic patient"
        progress.report("patient", 0.0, message)
        case, truth = _patient(arguments, progress.part(0.0, 0.2))
        result = segment_case(case, checkpoint, options, progress=progress.part(0.2, 0.9))
        progress.report("write", 0.9, "Writing the pictures")
        write_volume(result.labels.with_array(write_labels(result.labels.array)), label_file)
        record = ResultRecord.of(result, dice=_dice(result, truth))
        _write_extras(case, truth, result, record, folder, staging)
    show(record, console)
    if record.dice:
        figures = ", ".join(f"{region} {value:.2f}" for region, value in record.dice.items())
        console.say(f"Dice against the synthetic truth: {figures}")
    console.say(f"Wrote {folder}: open {folder / 'report.html'}")
    console.result({"output": str(folder), **record.values()})
    return 0


def _patient(arguments: argparse.Namespace, progress: Progress) -> tuple[Case, Volume | None]:
    """The case, and its truth where that is known."""
    if arguments.sample:
        return read_case(fetch_sample(progress)), None
    return make_patient(arguments.seed)


def _dice(result: Segmentation, truth: Volume | None) -> dict[str, float]:
    """Region → Dice against the truth, for the regions that the model knows."""
    if truth is None:
        return {}
    measures = compare_labels(result.labels.array, truth.array)
    return {region: values["dice"] for region, values in measures.items() if region in result.regions}


def make_patient(seed: int) -> tuple[Case, Volume]:
    """A synthetic patient and the true labels."""
    from ..phantom import make_phantom

    phantom = make_phantom(seed)
    return phantom.case, phantom.labels


def _write_extras(
    case: Case, truth: Volume | None, result: Segmentation, record: ResultRecord, folder: Path, staging: Staging
) -> None:
    """Pictures, report and record; a synthetic patient's images too, to be opened in Slicer."""
    from ..report import write_montage, write_report

    write_montage(case, result, staging.path(folder / "montage.png"))
    write_report(case, result, staging.path(folder / "report.html"))
    record.write(staging.path(folder / "segmentation.json"))
    if truth is not None:
        for modality, volume in case.images.items():
            whole = volume.with_array(np.round(volume.array).astype(np.int16))
            write_volume(whole, staging.path(folder / "images" / f"{modality}.nii.gz"))
        write_volume(truth, staging.path(folder / "images" / "seg.nii.gz"))
