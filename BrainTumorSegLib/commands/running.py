"""What all commands that run a model have in common: its options, and what is told and written of a result."""

from __future__ import annotations

import math
from pathlib import Path

from ..domain.case import Case
from ..domain.segmentation import Segmentation
from ..domain.text_table import text_table
from ..models.catalogue import load_model
from ..models.checkpoint_file import Checkpoint
from ..models.licence import accept, open_terms
from .console import Console


def load_accepted(model: str, console: Console) -> Checkpoint:
    """Load the model by id or file; terms that were not accepted before are told, and accepted by going on.

    Raises:
        CheckpointError: unknown, damaged, foreign or too new.
    """
    checkpoint = load_model(model)
    description = checkpoint.description
    if terms := open_terms(description):
        console.note(f"The weights of {description.id} come under {terms}; by using them you accept these terms.")
        accept(description)
    return checkpoint


def write_page(case: Case, result: Segmentation, file: Path | None) -> None:
    """The report of one case, where one was asked for."""
    if file:
        from ..report import write_report

        write_report(case, result, file)


def show(result: Segmentation, console: Console) -> None:
    """Warnings and the table of volumes."""
    for warning in result.warnings:
        console.warn(warning)
    rows = []
    for region, m in result.measurements.items():
        share = f"{m.share:.0%}" if math.isfinite(m.share) else "-"
        expected = f"{result.confidence[region]:.2f}" if region in result.confidence else "-"
        longest = f"{m.largest_diameter_mm:.1f} mm"
        rows.append((region, f"{m.volume_ml:.1f} mL", share, str(m.lesions), longest, expected))
    console.say(text_table(("region", "volume", "share", "lesions", "longest", "expected Dice"), rows, gap=3))
