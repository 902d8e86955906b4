"""The images of an aligned case as files like those of BraTS: 1 mm, LPS, skull-stripped, on one grid."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.case import Case
from ..domain.grid import LPS_TO_RAS, Grid
from ..domain.result_record import whole_path
from ..domain.volume import Volume
from ..io.registry import write_volume
from ..io.staging import Staging
from ..models.description import PreprocessingSpec
from .alignment import AlignedCase
from .appearance import STRIPPED, appearance
from .background import foreground, remove_background
from .pipeline import network_grid
from .resampling import onto
from .steps import Done

SCHEMA = 1


def stage_preprocessed(
    folder: Path, case_id: str, modalities: Sequence[str], reference: str, staging: Staging
) -> Callable[[Case, AlignedCase], tuple[str, ...]]:
    """Stage all files of a preprocessed case, and give what writes them and returns what must be known of them.

    ``<case>_<modality>.nii.gz``, ``<case>_brain_mask.nii.gz``, ``<case>_preprocessing.json`` and, for every image but
    the reference, ``<case>_<modality>_to_<reference>.tfm``: an ITK transform that resamples the image onto the
    reference, so in points it goes from the reference's space to the image's (LPS). In 3D Slicer it moves the image
    over the reference when it is applied to it.

    Raises:
        OutputError: a file of such a name is there that no earlier run wrote, or is an input.
    """
    facts = folder / f"{case_id}_preprocessing.json"

    def place(name: str) -> Path:
        return staging.derived(folder / f"{case_id}_{name}", facts)

    images = {name: place(f"{name}.nii.gz") for name in modalities}
    mask, record = place("brain_mask.nii.gz"), place("preprocessing.json")
    transforms = {name: place(f"{name}_to_{reference}.tfm") for name in modalities if name != reference}

    def write(case: Case, aligned: AlignedCase) -> tuple[str, ...]:
        spec = PreprocessingSpec()
        ready, done = _with_background(aligned)
        found = ready[aligned.case.reference]
        grid = network_grid(Grid.of(found), spec, aligned.grid)
        brain = aligned.brain.mask if aligned.brain else foreground(found.array)
        inside = onto(brain.astype(np.float32), Grid.of(found), grid) >= 0.5
        for name, file in images.items():
            image = _on_grid(ready[name], grid)
            # Thick slices reach beyond the mask by half of one when they are interpolated.
            write_volume(image.with_array(np.where(inside, image.array, 0)) if aligned.brain else image, file)
        write_volume(Volume(inside.astype(np.uint8), grid.affine), mask)
        for name, file in transforms.items():
            write_transform(aligned.moves[name].matrix if name in aligned.moves else np.eye(4), file)
        warnings = [each.warning for each in done if each.warning] + _unstripped(aligned)
        words = list(dict.fromkeys([*aligned.record, *(each.words for each in done)]))
        record.write_text(json.dumps(_facts(case, aligned, words, warnings), indent=1), encoding="utf-8")
        return tuple(warnings)

    return write


def _with_background(aligned: AlignedCase) -> tuple[dict[str, Volume], list[Done]]:
    """The images with a background of 0, as programs that read them expect, and what that took."""
    images, found = {}, []
    for name, volume in aligned.case.images.items():
        images[name], done = remove_background(volume, name, PreprocessingSpec())
        found += [done] if done else []
    return images, found


def _unstripped(aligned: AlignedCase) -> list[str]:
    """That a mask is none of a brain."""
    if aligned.brain or appearance(aligned.case.reference_volume) == STRIPPED:
        return []
    return ["The images were not skull-stripped, so the brain mask holds all that is not background."]


def write_transform(matrix: np.ndarray, file: Path) -> None:
    """Write a rigid motion (RAS mm, moving → fixed) as the ITK transform that resamples the moving image with it."""
    inverse = LPS_TO_RAS @ np.linalg.inv(matrix) @ LPS_TO_RAS
    numbers = [*inverse[:3, :3].ravel().tolist(), *inverse[:3, 3].tolist()]
    lines = (
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        f"Parameters: {' '.join(map(repr, numbers))}",
        "FixedParameters: 0 0 0",
    )
    # ITK itself ends the process over a name that is no UTF-8.
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


def _on_grid(volume: Volume, grid: Grid) -> Volume:
    """An image in one interpolation, of its own type."""
    values = onto(volume.array, Grid.of(volume), grid)
    if volume.array.dtype.kind in "iu":
        values = np.rint(values)
    return Volume(values.astype(volume.array.dtype), grid.affine, volume.source)


def _facts(case: Case, aligned: AlignedCase, words: list[str], warnings: list[str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "case": case.id,
        "inputs": {name: whole_path(case.images[name].source) for name in case.modalities},
        "reference": case.reference,
        "preprocessing": words,
        "alignment": dataclasses.asdict(aligned.as_record()),
        "warnings": [*case.warnings, *aligned.warnings, *warnings],
    }
