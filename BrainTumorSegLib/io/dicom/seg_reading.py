"""DICOM segmentations (PS3.3 A.51) as label maps, those of this program and of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import BrainTumorSegError, InputError, RequestError
from ...domain.grid import LPS_TO_RAS
from ...domain.volume import Volume
from ..evidence import BoundedFile, check_memory
from ..formats import reason_of
from ..segments import known_name, label_map
from .headers import EXTRA, damage, pydicom_for, quiet, read_dataset

# Storage of segmentations, and of those whose segments are the values of a label map.
_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
# A voxel belongs to a segment from this share on, where shares are stored.
_HALF = 0.5
_VOXEL_BYTES = 4  # while it is read
_AGAIN = "Export it again."


def is_seg(path: Path) -> bool:
    """Whether a DICOM file is a segmentation.

    Raises:
        RequestError: pydicom is not installed.
    """
    pydicom_for(path)
    try:
        with quiet(), BoundedFile(path) as stream:
            found = read_dataset(stream, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except damage():
        return False
    return str(found.get("SOPClassUID", "")) in _CLASSES


def read_seg(path: Path, convention: str = "auto") -> Volume:
    """The label map of a DICOM segmentation, on the box of slices that hold its segments.

    Args:
        path: file to read.
        convention: ``whole`` takes the whole tumour alone; every other name leaves the word to the segments' labels.

    Raises:
        RequestError: highdicom is not installed.
        InputError: it is damaged, its slices make no volume, or its segments are not those of a tumour.
    """
    pydicom_for(path)
    try:
        import highdicom
    except ImportError as error:
        raise RequestError(f"{path} needs highdicom, which is not installed.", EXTRA) from error
    try:
        with quiet(), BoundedFile(path) as stream:
            segmentation = highdicom.seg.Segmentation.from_dataset(read_dataset(stream), copy=False)
            return _label_map(segmentation, path, convention)
    except BrainTumorSegError:
        raise
    except damage() as error:
        raise InputError(f"The segmentation {path} cannot be read ({reason_of(error)}).", _AGAIN) from error


def _label_map(segmentation: Any, path: Path, convention: str) -> Volume:
    geometry = segmentation.get_volume_geometry(allow_missing_positions=True)
    if geometry is None:
        raise InputError(f"The slices of the segmentation {path} are no regular grid.", "Give a label map, .nii.gz.")
    size = int(np.prod(geometry.spatial_shape, dtype=np.int64))
    check_memory(path, _VOXEL_BYTES * size * (segmentation.number_of_segments + 1))
    numbers = [*segmentation.segment_numbers]
    voxels = segmentation.get_volume(segment_numbers=numbers).array >= _HALF
    affine = LPS_TO_RAS @ np.asarray(geometry.affine)[:, [2, 1, 0, 3]]
    # Slices ascend along the normal of rows and columns, as those of a series do.
    if np.linalg.det(affine[:3, :3]) < 0:
        affine[:3, 3] += (len(voxels) - 1) * affine[:3, 2]
        affine[:3, 2] *= -1
        voxels = voxels[::-1]
    masks: dict[str, np.ndarray] = {}
    unknown, names = [], []
    for place, number in enumerate(numbers):
        described, mask = segmentation.get_segment_description(number), voxels[..., place]
        names.append(str(described.segment_label))
        meaning = known_name(names[-1]) or known_name(str(described.segmented_property_type.meaning))
        if meaning is not None:
            masks[meaning] = masks[meaning] | mask if meaning in masks else mask
        elif mask.any():
            unknown.append(names[-1])
    return Volume(label_map(path, masks, unknown, names, convention), affine, str(path))
