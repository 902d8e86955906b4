"""The one way through: case → checkpoint → predictor → regions on the reference grid → segmentation."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np

from .. import __version__
from ..case import Case
from ..checkpoint import Checkpoint, Description
from ..errors import ExecutionError, ModalityError
from ..labels import REGIONS
from ..modalities import TITLES
from ..preprocessing import Prepared, prepare
from ..progress import Progress
from ..segmentation import Segmentation
from .device import describe, resolve_device, resolve_precision
from .postprocess import clean, threshold
from .predict import Plan, Predictor

# Skull-stripped brains fill a quarter of the BraTS grid; heads as scanned have air that is not zero.
_FILLED_IF_NOT_STRIPPED = 0.6

# A region whose measured Dice is lower is not to be relied on; two readers of one tumour agree at about 0.8.
_TRUSTED_DICE = 0.6


def segment_case(
    case: Case,
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    precision: str = "auto",
    mirror: bool = False,
    keep_probabilities: bool = False,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment one patient.

    Args:
        case: the images; every modality that the model requires must be there.
        checkpoint: the model.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        mirror: average over mirrorings: slower by 8 (3D) or 4 (2D), a little more accurate.
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
    target = resolve_device(device)
    chosen = resolve_precision(target, precision)
    progress.report("load", 0.15, f"Loading {description.id} on {describe(target)}, {chosen}")
    predictor = Predictor(checkpoint.build(), Plan.of(description, mirror=mirror), target, chosen)

    def tick(done: int, total: int) -> None:
        part = "slices" if description.dimensions == 2 else "window"
        progress.report("predict", 0.2 + 0.7 * done / total, f"Running the network, {part} {done + 1} of {total}")

    try:
        outputs = predictor(prepared.array, tick)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "out of memory" not in str(error).lower():
            raise
        raise ExecutionError(
            f"Memory ran out on {describe(target)}.", "Close other programs, or choose --device cpu."
        ) from error
    progress.report("finish", 0.9, "Placing the result on the reference grid")
    labels, probabilities = _compose(outputs, prepared, description, case, keep_probabilities)
    return Segmentation(
        case_id=case.id,
        labels=case.reference_volume.with_array(labels),
        regions=description.regions,
        provenance=_provenance(checkpoint, case, prepared, describe(target), chosen, mirror, started),
        warnings=tuple(_warnings(case, description, labels)),
        probabilities=probabilities,
    )


def check_modalities(case: Case, description: Description) -> None:
    """Refuse a case that lacks what the model needs.

    Raises:
        ModalityError: names what is missing and what the model accepts.
    """
    missing = [TITLES[name] for name in description.required_modalities if name not in case.images]
    if not set(description.modalities) & set(case.images):
        missing = [" or ".join(TITLES[name] for name in description.modalities)]
    if missing:
        accepts = ", ".join(
            TITLES[name] + (" (may be missing)" if name in description.optional_modalities else "")
            for name in description.modalities
        )
        options = [f"--{name} FILE" for name in description.modalities if name not in case.images]
        raise ModalityError(
            f"{' and '.join(missing)} missing: model {description.id} needs {accepts}.",
            f"Give it ({', '.join(options)}), or choose another model: braintumorseg models.",
        )


def _compose(
    outputs: np.ndarray, prepared: Prepared, description: Description, case: Case, keep: bool
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Outputs on the box → label map, one region at a time so that only one probability map is alive."""
    masks, probabilities = {}, {}
    for region in description.regions:
        probability = prepared.restore(outputs[list(description.outputs_of(region))].max(axis=0))
        masks[region] = threshold(probability, region, description.postprocessing)
        if keep:
            probabilities[region] = probability
    volume = case.reference_volume.voxel_volume
    return clean(masks, description.postprocessing, volume), probabilities


def _warnings(case: Case, description: Description, labels: np.ndarray) -> list[str]:
    found = []
    reference = case.reference_volume.array
    if np.count_nonzero(reference) > _FILLED_IF_NOT_STRIPPED * reference.size:
        found.append("The images do not look skull-stripped; the model was trained on skull-stripped ones.")
    if not labels.any():
        found.append("No tumour was found.")
    unknown = [region for region in REGIONS if region not in description.regions]
    if unknown:
        written = "all of the tumour is written as label 2"
        if len(unknown) == 1:
            written = "its voxels carry the label of the region around it"
        found.append(f"This model does not know {' and '.join(unknown)}; {written}.")
    return found + _warnings_of_missing(case, description)


def _warnings_of_missing(case: Case, description: Description) -> list[str]:
    """What to expect where sequences that the model could have used were not given."""
    missing = [TITLES[name] for name in description.optional_modalities if name not in case.images]
    if not missing:
        return []
    found = [f"{' and '.join(missing)} {'was' if len(missing) == 1 else 'were'} not given"]
    measured = description.accuracy_with(case.images)
    if measured is None:
        return [f"{found[0]}; expect a less accurate result."]
    figures = ", ".join(f"{region} {value:.2f}" for region, value in measured.values.items())
    found[0] += f"; with what was given, Dice was {figures} on {measured.cases} validation patients."
    doubtful = [region for region, value in measured.values.items() if value < _TRUSTED_DICE]
    if doubtful:
        found.append(f"Do not rely on {' and '.join(doubtful)}: too little of it shows in the images that were given.")
    return found


def _provenance(
    checkpoint: Checkpoint,
    case: Case,
    prepared: Prepared,
    device: str,
    precision: str,
    mirror: bool,
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
        "mirror": mirror,
        "seconds": round(time.perf_counter() - started, 2),
        "versions": {"braintumorseg": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
