"""What all commands that run a model have in common: loading it, and what is written and printed of a result."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ..domain.case import Case
from ..domain.errors import ModalityError
from ..domain.modalities import MODALITIES, TITLES
from ..domain.options import RunOptions
from ..domain.result_record import ResultRecord
from ..domain.segmentation import Segmentation
from ..domain.text_table import text_table
from ..io.case_folder import CaseFiles
from ..io.outputs import is_of_others
from ..models.checkpoint_file import Checkpoint
from ..models.kept import load_kept
from ..models.licence import accept_licence, pending_licence
from .console import Console


def load_accepted(model: str, console: Console) -> Checkpoint:
    """Load the model by id or file; a licence that was not accepted before is shown, and accepted by going on.

    Raises:
        CheckpointError: unknown, damaged, foreign or too new.
    """
    checkpoint = load_kept(model)
    description = checkpoint.description
    if licence := pending_licence(description):
        console.note(f"The weights of {description.id} come under {licence}; by using them you accept these terms.")
        accept_licence(description)
    return checkpoint


def add_inputs(p: argparse.ArgumentParser, case: str) -> None:
    """Arguments that name a patient's images; ``case`` says what may be given for all of them."""
    p.add_argument("case", nargs="*", type=Path, help=case)
    for modality in MODALITIES:
        what = f"{TITLES[modality]} image; a DICOM series by its folder or any one of its files"
        p.add_argument(f"--{modality}", type=Path, action="append", metavar="FILE", help=what)
    p.add_argument("--study", default="", metavar="UID", help="of several in a DICOM folder (default: the best one)")


def named_files(arguments: argparse.Namespace) -> dict[str, Path]:
    """The sequences that were given by name.

    Raises:
        ModalityError: two files for one.
    """
    files: dict[str, Path] = {}
    for modality in MODALITIES:
        given = getattr(arguments, modality) or []
        if len(given) > 1:
            raise ModalityError(f"Two files were given for {TITLES[modality]}: {given[0]} and {given[1]}.", "Give one.")
        if given:
            files[modality] = given[0]
    return files


def files_read(arguments: argparse.Namespace, found: CaseFiles, options: RunOptions) -> list[Path]:
    """Files and folders that a run on a patient reads, over which nothing is written.

    Each file for itself, too: those of a folder may be links to where an output goes. What an earlier run wrote beside
    them is none of these.
    """
    beside = [path for path in found.beside if is_of_others(path)]
    mask = [options.brain_mask] if options.brain_mask else []
    return [*arguments.case, *named_files(arguments).values(), *found.sources, *beside, *mask]


def write_page(case: Case, result: Segmentation, file: Path | None) -> None:
    """The report of one case, where one was asked for."""
    if file:
        from ..report import write_report

        write_report(case, result, file)


def show(record: ResultRecord, console: Console) -> None:
    """Files, warnings and the table of volumes."""
    for name, file in record.provenance.inputs.items():
        console.say(f"{name}: {file}")
    for name, reason in record.left_out.items():
        console.say(f"left out: {name} ({reason})")
    for warning in record.warnings:
        console.warn(warning)
    rows = []
    for region, m in record.measurements.items():
        share = f"{m.share:.0%}" if math.isfinite(m.share) else "-"
        expected = f"{record.confidence[region]:.2f}" if region in record.confidence else "-"
        longest = f"{m.largest_diameter_mm:.1f} mm"
        rows.append((region, f"{m.volume_ml:.1f} mL", share, str(m.lesions), longest, expected))
    console.say(text_table(("region", "volume", "share", "lesions", "longest", "expected Dice"), rows, gap=3))
