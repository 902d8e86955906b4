"""The three calls that scripts and notebooks use; :mod:`BrainTumorSegLib` offers them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .domain.case import Case
from .domain.errors import GeometryError, InputError
from .domain.labels import REGIONS, read_labels
from .domain.options import DEFAULT_MODEL, RunOptions
from .domain.progress import Progress
from .domain.segmentation import Segmentation
from .domain.volume import Volume
from .evaluation import Settings, compare_labels
from .evaluation.metrics.measures import DEFAULT_MEASURES
from .evaluation.metrics.policy import DEFAULT_POLICY
from .evaluation.pairs import difference_of, measuring
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
    reference: np.ndarray | Volume | Segmentation,
    spacing: Sequence[float] | None = None,
    *,
    measures: Sequence[str] | str = DEFAULT_MEASURES,
    convention: str = DEFAULT_POLICY,
    hd95: str = "directed",
    tolerance: float = 1.0,
    prediction_labels: str = "brats2023",
    reference_labels: str = "brats2023",
) -> dict[str, dict[str, float]]:
    """Compare two label maps ``(Z, Y, X)``.

    Args:
        prediction: what a model gave.
        reference: what an expert drew, on the same grid.
        spacing: voxel size ``(z, y, x)`` in mm; by default that of the reference if it is a volume, else that of the
            prediction if that is one, else 1 mm.
        measures: names from :data:`BrainTumorSegLib.evaluation.metrics.MEASURES`, or ``all``.
        convention: what empty masks count as: ``brats2021``, ``brats2023``, ``nnunet`` or ``monai``.
        hd95: definition of HD95: ``directed``, ``pooled`` or ``surfel``.
        tolerance: of surface Dice, in mm.
        prediction_labels: label convention, such as ``brats2021`` of a file that was read as it is; by default that of
            this library, which every :class:`Segmentation` has.
        reference_labels: the same of the reference.

    Returns:
        Region → measure → value, for regions that both can tell: of a :class:`Segmentation` those that its model knows;
        NaN where the convention leaves a value out.

    Raises:
        InputError: labels that the convention does not have, no array of numbers, or no region that both can tell.
        GeometryError: the shapes differ, two volumes lie on different grids, or the spacing is not positive.
        RequestError: a name is not known.
    """
    settings = Settings(
        (measures,) if isinstance(measures, str) else tuple(measures),
        convention,
        hd95,
        tolerance,
        prediction_labels=prediction_labels,
        reference_labels=reference_labels,
    )
    known = [each.regions if isinstance(each, Segmentation) else tuple(REGIONS) for each in (prediction, reference)]
    settings = measuring(settings, *known)
    first, second = (each.labels if isinstance(each, Segmentation) else each for each in (prediction, reference))
    if isinstance(first, Volume) and isinstance(second, Volume) and (apart := difference_of(first, second)):
        raise GeometryError(
            f"{first.source} and {second.source} are on different grids: {apart}.",
            "Compare them on one grid, or give arrays whose voxels belong together.",
        )
    if spacing is None:
        spacing = next((each.spacing for each in (second, first) if isinstance(each, Volume)), (1.0, 1.0, 1.0))
    predicted = _labels(prediction, prediction_labels, "The prediction")
    return compare_labels(predicted, _labels(reference, reference_labels, "The reference"), spacing, settings)


def _labels(given: np.ndarray | Volume | Segmentation, convention: str, name: str) -> np.ndarray:
    """A label map in the convention of this library; a segmentation has it, and labels of a model's own with it."""
    if isinstance(given, Segmentation):
        return given.labels.array
    values = np.asarray(given.array if isinstance(given, Volume) else given)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} is no array of numbers.", "Give an array or a volume: read_volume() reads a file.")
    return read_labels(values.astype(np.uint8) if values.dtype == bool else values, convention, name)
