"""Two examinations of one phantom: at the earlier one its head was held otherwise, and its tumour was smaller."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.phantom import Phantom, make_phantom
from Testing.raw_scans import motion

MOVED = motion()


@functools.cache
def phantom() -> Phantom:
    return make_phantom(0, (78, 120, 120))


def smaller() -> np.ndarray:
    """The tumour as it was before it grew by three voxels on all sides."""
    labels = phantom().labels.array
    return np.where(ndimage.binary_erosion(labels > 0, iterations=3), labels, 0).astype(np.uint8)


def examination(name: str, labels: np.ndarray, sequence: str, moved: np.ndarray, **provenance: Any) -> tuple[Any, Any]:
    """A result and the scan it was made on, as nodes."""
    import slicer

    from BrainTumorSegLib.io import mrml

    image = phantom().case.images[sequence]
    scan = slicer.util.addVolumeFromArray(image.array, moved @ image.affine, f"{name} scan")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} result")
    place = mrml.Place(moved @ image.affine, scan)
    mrml.write_segments(node, labels, mrml.segment_styles(tuple(REGIONS), regions=True, classes=False), place)
    mrml.write_provenance(node, {"model": {"id": "m", "version": "1"}, **provenance}, tuple(REGIONS))
    return node, scan
