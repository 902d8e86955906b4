"""The one way through: case → checkpoint → predictor → regions on the reference grid → segmentation."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np

from .. import __version__
from ..domain.case import Case
from ..domain.errors import ExecutionError, ModalityError
from ..domain.labels import ED, ET, NCR, REGIONS
from ..domain.modalities import TITLES, listed, taken
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.segmentation import Segmentation
from ..models.checkpoint_file import Checkpoint
from ..models.description import Description
from ..preprocessing import Prepared, prepare
from .confidence import calibrated, confidence
from .device import describe, free_memory, resolve_device, resolve_precision
from .postprocessing import clean, region_mask
from .prediction import Plan, Predictor
from .result_warnings import cautions


def segment_case(
    case: Case,
    checkpoint: Checkpoint,
    options: RunOptions = RunOptions(),  # noqa: B008 — frozen
    *,
    keep_probabilities: bool = False,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment one patient.

    Args:
        case: the images; every modality that the model requires must be there.
        checkpoint: the model.
        options: device, precision, tta and preprocess are used here; the model is the one that is given.
        keep_probabilities: keep the region probabilities in the result.
        progress: told how far the run is; ends it when cancelled.

    Raises:
        ModalityError: a required modality is missing.
        GeometryError: the images do not overlap.
        DeviceError: the device is not there.
        ExecutionError: memory ran out.
        CancelledError: cancelled through ``progress``.
    """
    started = time.perf_counter()
    progress = progress or Progress()
    description = checkpoint.description
    check_modalities(case, description)
    progress.report("prepare", 0.05, "Preparing the images")
    prepared = prepare(case, description.modalities, description.preprocessing)
    target = resolve_device(options.device)
    chosen = resolve_precision(target, options.precision)
    progress.report("load", 0.15, f"Loading {description.id} on {describe(target)}, {chosen}")
    predictor = Predictor(checkpoint.build(), Plan.of(description, mirror=options.tta), target, chosen)
    outputs, shortage = _predict(predictor, prepared.array, progress)
    progress.report("finish", 0.9, "Placing the result on the reference grid")
    labels, sure, probabilities = _compose(outputs, prepared, description, case, keep_probabilities)
    return Segmentation(
        case_id=case.id,
        labels=case.reference_volume.with_array(labels),
        regions=description.regions,
        provenance=_provenance(checkpoint, case, prepared, describe(target), chosen, options.tta, started),
        warnings=(*shortage, *cautions(case, description, prepared, labels, sure)),
        confidence=sure,
        probabilities=probabilities,
    )


def _predict(predictor: Predictor, array: np.ndarray, progress: Progress) -> tuple[np.ndarray, list[str]]:
    """Outputs on the box, and what had to be changed for want of memory: smaller and smaller parts, then an error."""

    def tick(done: int, total: int) -> None:
        part = "slices" if predictor.plan.dimensions == 2 else "window"
        progress.report("predict", 0.2 + 0.7 * done / total, f"Running the network, {part} {done + 1} of {total}")

    shortage: list[str] = []
    while True:
        try:
            return predictor(array, tick), shortage
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "out of memory" not in str(error).lower():
                raise
            smaller = predictor.plan.smaller()
            if smaller is None:
                raise ExecutionError(
                    f"Memory ran out on {describe(predictor.device)}, even in small parts.",
                    "Close other programs, or choose --device cpu.",
                ) from error
        predictor = Predictor(predictor.network, smaller, predictor.device, predictor.precision)
        free_memory(predictor.device)
        window = " × ".join(str(size) for size in smaller.patch)
        parts = f"windows of {window} voxels" if smaller.dimensions == 3 else f"{smaller.batch} slices at a time"
        progress.report("predict", 0.2, f"Memory ran short, going on in {parts}")
        # Slices do not see each other, windows do: in shorter ones the network knows less of what is around.
        if smaller.dimensions == 3:
            shortage = [f"Memory ran short, so the network ran in {parts}; expect a less accurate result."]


def check_modalities(case: Case, description: Description) -> None:
    """Refuse a case that lacks what the model needs.

    Raises:
        ModalityError: names what is missing and what the model accepts.
    """
    missing = [TITLES[name] for name in description.required_modalities if name not in case.images]
    if not set(description.modalities) & set(case.images):
        missing = [" or ".join(TITLES[name] for name in description.modalities)]
    if missing:
        accepts = taken(description.modalities, description.optional_modalities)
        options = [f"--{name} FILE" for name in description.modalities if name not in case.images]
        raise ModalityError(
            f"{listed(missing)} missing: model {description.id} takes {accepts}.",
            f"Give it ({', '.join(options)}), or choose another model: braintumorseg models.",
        )


def _compose(
    outputs: np.ndarray, prepared: Prepared, description: Description, case: Case, keep: bool
) -> tuple[np.ndarray, dict[str, float], dict[str, np.ndarray]]:
    """Outputs on the box → label map and confidence, one region at a time so that only one probability map is alive."""
    masks, sure, probabilities = {}, {}, {}
    spec = description.postprocessing
    for region in description.regions:
        probability = prepared.restore(outputs[list(description.outputs_of(region))].max(axis=0))
        masks[region] = region_mask(probability, region, spec)
        if region in spec.temperatures:  # what uncalibrated probabilities promise is worth nothing
            probability = calibrated(probability, spec.temperatures[region])
            sure[region] = confidence(probability, masks[region], case.reference_volume.spacing)
        if keep:
            probabilities[region] = probability
    volume = case.reference_volume.voxel_volume
    labels = clean(masks, spec, volume)
    found = {label for label in (NCR, ED, ET) if (labels == label).any()}
    return labels, {r: value for r, value in sure.items() if found & REGIONS[r].labels}, probabilities


def _provenance(
    checkpoint: Checkpoint,
    case: Case,
    prepared: Prepared,
    device: str,
    precision: str,
    tta: bool,
    started: float,
) -> dict[str, Any]:
    import torch

    d = checkpoint.description
    return {
        "model": {"id": d.id, "version": d.version, "sha256": checkpoint.digest},
        "inputs": {name: case.images[name].source for name in case.modalities},
        "reference": case.reference,
        "preprocessing": list(prepared.notes),
        "device": device,
        "precision": precision,
        "tta": tta,
        "seconds": round(time.perf_counter() - started, 2),
        "versions": {"braintumorseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
