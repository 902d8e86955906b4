"""What the benchmarks of a model on patients are asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from Training.datasets.case import LabelledCase
from Training.datasets.split import FOLD, VALIDATION
from Training.studies.calibration import UNSEEN, patients


def model_and_patients(title: str) -> tuple[Checkpoint, list[LabelledCase]]:
    """The model, and patients that it was not trained on: of the command line ``MODEL DATA_FOLDER [--patients]``."""
    p = argparse.ArgumentParser(description=title)
    p.add_argument("model")
    p.add_argument("data", type=Path)
    p.add_argument("--patients", choices=(VALIDATION, FOLD, UNSEEN), default=VALIDATION)
    arguments = p.parse_args()
    checkpoint = load_model(arguments.model)
    return checkpoint, list(patients(checkpoint, arguments.data, arguments.patients).values())
