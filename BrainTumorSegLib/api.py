"""The three calls that scripts and notebooks use; :mod:`BrainTumorSegLib` offers them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .domain.case import Case
from .domain.options import DEFAULT_MODEL, RunOptions
from .domain.progress import Progress
from .domain.segmentation import Segmentation
from .domain.volume import Volume
from .evaluation import Settings, compare_labels
from .evaluation.metrics.measures import DEFAULT_MEASURES
from .evaluation.metrics.policy import DEFAULT_POLICY
from .inference.pipeline import segment_case
from .io.case_folder import case_of
from .models.catalogue import load_model
from .models.checkpoint_file import Checkpoint


def segment(
    case: Case | Path | str | Mapping[str, Any],
    model: Checkpoint | Path | str = DEFAULT_MODEL,
    device: str = "auto",
    *,
    backend: str = "auto",
    precision: str = "auto",
    tta: bool = False,
    preprocess: str = "auto",
    brain_extraction: str = "auto",
    brain_mask: Path | None = None,
    native: str = "reference",
    reference: str = "",
    keep_probabilities: bool = False,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment one patient.

    Args:
        case: a :class:`Case`, a case folder or Decathlon file, or modality → file, volume or nibabel image.
        model: id, file or a loaded checkpoint (load once for many cases).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        backend: what runs the network on that device: ``torch``, ``openvino``, or ``auto`` for the fastest one.
        precision: ``auto``, ``fp32``, ``bf16``, ``fp16`` or ``int8`` (OpenVINO's alone).
        tta: test-time augmentation, the mean over all mirrorings.
        preprocess: ``auto``: registration and brain extraction where the images need them; ``register``: always;
            ``none`` for images that are taken as they are.
        brain_extraction: ``auto``, ``included``, ``hd-bet`` or ``synthstrip``.
        brain_mask: file with the brain in the reference's space, in place of an extraction.
        native: ``all`` for the labels on every image's own grid, too.
        reference: sequence whose grid carries the result; by default the first of T1ce, T1, FLAIR, T2 that is given.
        keep_probabilities: keep the region probabilities in the result.
        progress: hears how far the run is; ends it when cancelled.

    Returns:
        Labels, measurements and provenance on the reference image's own grid.

    Raises:
        RequestError: the case, the model or an option cannot be used.
        ExecutionError: memory ran out.
    """
    case = case_of(case)
    checkpoint = model if isinstance(model, Checkpoint) else load_model(model)
    options = RunOptions(
        model=checkpoint.description.id,
        device=device,
        backend=backend,
        precision=precision,
        tta=tta,
        preprocess=preprocess,
        brain_extraction=brain_extraction,
        brain_mask=brain_mask,
        native=native,
        reference=reference,
    )
    return segment_case(case, checkpoint, options, keep_probabilities=keep_probabilities, progress=progress)


def evaluate(
    prediction: np.ndarray | Volume | Segmentation,
    reference: np.ndarray | Volume,
    spacing: Sequence[float] | None = None,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    convention: str = DEFAULT_POLICY,
    hd95: str = "directed",
    tolerance: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Compare two label maps ``(Z, Y, X)`` in the convention of this library.

    Args:
        prediction: what a model gave.
        reference: what an expert drew, on the same grid.
        spacing: voxel size ``(z, y, x)`` in mm; by default that of the reference if it is a volume, else 1 mm.
        measures: names from :data:`BrainTumorSegLib.evaluation.metrics.MEASURES`, or ``all``.
        convention: what empty masks count as: ``brats2021``, ``brats2023``, ``nnunet`` or ``monai``.
        hd95: definition of HD95: ``directed``, ``pooled`` or ``surfel``.
        tolerance: of surface Dice, in mm.

    Returns:
        Region → measure → value; NaN where the convention leaves a value out.

    Raises:
        GeometryError: the shapes differ, or the spacing is not positive.
        RequestError: a name is not known.
    """
    settings = Settings(tuple(measures), convention, hd95, tolerance)
    if spacing is None:
        spacing = reference.spacing if isinstance(reference, Volume) else (1.0, 1.0, 1.0)
    arrays: list[Any] = [
        item.labels.array if isinstance(item, Segmentation) else item.array if isinstance(item, Volume) else item
        for item in (prediction, reference)
    ]
    return compare_labels(np.asarray(arrays[0]), np.asarray(arrays[1]), spacing, settings)
