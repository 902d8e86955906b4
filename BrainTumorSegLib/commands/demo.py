"""``braintumorseg demo``: see all of it work, on a synthetic patient or the public sample."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from ..domain.case import Case
from ..domain.errors import ExecutionError, OutputError
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
from ..io.staging import Staging, atomic, staged
from ..io.user_folder import user_folder
from .console import Console
from .running import load_accepted, tell

SAMPLE = "BraTS-GLI-00001-000"
SAMPLE_ADDRESS = "https://github.com/lassoan/SlicerMONAIAuto3DSeg/releases/download/TestingData/"
SAMPLE_SHA256 = {
    "t1c": "4399faadcc45c8a4541313cdf88aced7d835ed59ac3078d950e0eac293d603f5",
    "t1n": "e860924b936e301ddeba20409fbb59dde322475cb49328f1b46a9235c792e73e",
    "t2f": "82aed8546af5e6d8d94fd91c56227abdcf6120130390d1556c4342a208980604",
    "t2w": "4cd389cc57d12134a30a898c66532228126b9a7d0600ee578e82a32144528b51",
}


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
        label_file = staging.path(folder / "segmentation.nii.gz")  # a folder that cannot be made ends the run here
        progress.report("patient", 0.0, "Fetching the sample" if arguments.sample else "Making a synthetic patient")
        case, truth = (fetch_sample(progress), None) if arguments.sample else make_patient(arguments.seed)
        result = segment_case(case, checkpoint, options, progress=progress)
        progress.report("write", 0.92, "Writing the pictures")
        write_volume(result.labels.with_array(write_labels(result.labels.array)), label_file)
        _write_extras(case, truth, result, folder, staging)
    tell(result, console)
    facts = ResultRecord.of(result).as_json()
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


def make_patient(seed: int) -> tuple[Case, Volume]:
    """A synthetic patient and the true labels."""
    from ..phantom import make_phantom

    phantom = make_phantom(seed)
    return phantom.case, phantom.labels


def _write_extras(case: Case, truth: Volume | None, result: Segmentation, folder: Path, staging: Staging) -> None:
    """Pictures, report and facts; a synthetic patient's images too, to be opened in Slicer."""
    from ..report import write_montage, write_report

    write_montage(case, result, staging.path(folder / "montage.png"))
    write_report(case, result, staging.path(folder / "report.html"))
    ResultRecord.of(result).write(staging.path(folder / "segmentation.json"))
    if truth is not None:
        for modality, volume in case.images.items():
            whole = volume.with_array(np.round(volume.array).astype(np.int16))
            write_volume(whole, staging.path(folder / "images" / f"{modality}.nii.gz"))
        write_volume(truth, staging.path(folder / "images" / "seg.nii.gz"))


def fetch_sample(progress: Progress) -> Case:
    """The public BraTS 2023 sample patient, kept in the user's folder; every file's SHA-256 is checked.

    Raises:
        ExecutionError: no internet, or what came is not that file.
    """
    folder = user_folder() / "samples" / SAMPLE
    for done, (name, digest) in enumerate(SAMPLE_SHA256.items()):
        file = folder / f"{SAMPLE}-{name}.nii.gz"
        if file.is_file() and _sha256(file) == digest:
            continue
        progress.report("patient", 0.01 * done, f"Downloading {file.name}")
        with atomic(file) as part:
            _download(SAMPLE_ADDRESS + file.name, part)
            if _sha256(part) != digest:
                raise ExecutionError(f"{file.name} arrived changed.", "Try again; if it stays so, leave out --sample.")
    return read_case(folder)


def _download(address: str, file: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer, file.open("wb") as target:
            shutil.copyfileobj(answer, target)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ExecutionError(
            f"{address} cannot be downloaded ({reason}).", "Without internet, leave out --sample."
        ) from error


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
