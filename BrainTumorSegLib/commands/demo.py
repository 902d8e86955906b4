"""``braintumorseg demo``: see all of it work, on a synthetic patient or the public sample."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..domain.case import Case
from ..domain.errors import OutputError
from ..domain.labels import write_labels
from ..domain.options import ENGINE_OPTIONS, RunOptions, add_options
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

_RECORD = "segmentation.json"


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("-o", "--output", type=Path, default=Path("demo-out"), metavar="DIR", help="default: demo-out")
    p.add_argument("--seed", type=int, default=0, help="another synthetic patient")
    p.add_argument("--sample", action="store_true", help="a real patient instead, downloaded (11 MB)")
    add_options(p, ENGINE_OPTIONS)


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Make or fetch the patient, segment, write everything, compare with the truth where it is known."""
    folder: Path = arguments.output
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file.", "Name a folder with -o.")
    options = RunOptions.of(arguments)
    checkpoint = load_accepted(options.model, console)
    with staged() as staging:
        label_file = _place(staging, folder, "segmentation.nii.gz")  # a folder that cannot be made ends the run here
        case, truth = make_patient(arguments, progress.part(0.0, 0.1))
        result = segment_case(case, checkpoint, options, progress=progress.part(0.1, 0.9))
        progress.report("write", 0.9, "Writing the pictures")
        write_volume(result.labels.with_array(write_labels(result.labels.array)), label_file)
        _write_extras(case, truth, result, folder, staging)
    console.placed()
    record = ResultRecord.of(result)
    show(record, console)
    facts = record.as_json()
    if truth is not None:
        facts["dice"] = {region: values["dice"] for region, values in _agreement(result, truth).items()}
        figures = ", ".join(f"{region} {value:.2f}" for region, value in facts["dice"].items())
        console.say(f"Dice against the synthetic truth: {figures}")
    console.say(f"Wrote {folder}: open {folder / 'report.html'}")
    console.result({"output": str(folder), **facts})
    return 0


def _agreement(result: Segmentation, truth: Volume) -> dict[str, dict[str, float]]:
    return {
        region: values
        for region, values in compare_labels(result.labels.array, truth.array).items()
        if region in result.regions
    }


def make_patient(arguments: argparse.Namespace, progress: Progress) -> tuple[Case, Volume | None]:
    """The sample patient, or a synthetic one with the true labels."""
    from ..phantom import make_phantom

    if arguments.sample:
        progress.report("patient", 0.0, "Fetching the sample")
        return read_case(fetch_sample(progress)), None
    progress.report("patient", 0.0, "Making a synthetic patient")
    phantom = make_phantom(arguments.seed)
    return phantom.case, phantom.labels


def _write_extras(case: Case, truth: Volume | None, result: Segmentation, folder: Path, staging: Staging) -> None:
    """Pictures, report and facts; a synthetic patient's images too, to be opened in Slicer."""
    from ..report import write_montage, write_report

    write_montage(case, result, _place(staging, folder, "montage.png"))
    write_report(case, result, _place(staging, folder, "report.html"))
    ResultRecord.of(result).write(staging.path(folder / _RECORD, record=True))
    if truth is not None:
        for modality, volume in case.images.items():
            whole = volume.with_array(np.round(volume.array).astype(np.int16))
            write_volume(whole, _place(staging, folder, f"images/{modality}.nii.gz"))
        write_volume(truth, _place(staging, folder, "images/seg.nii.gz"))


def _place(staging: Staging, folder: Path, name: str) -> Path:
    """Where to write a file of the demo, none of which replaces what others made."""
    return staging.derived(folder / name, folder / _RECORD)
