"""Nodes of 3D Slicer's scene (MRML): the only folder of the engine that knows ``slicer`` and ``vtk``.

It needs MRML itself, not the application: what it does can be tested on the scene alone.
"""

from .segmentations import (
    STYLES,
    TERMINOLOGY,
    Place,
    fingerprint,
    grid_of,
    holds_other_work,
    known_regions,
    labels_of,
    place_beside,
    segment_ids,
    segment_styles,
    terminology_of,
    write_provenance,
    write_segments,
)
from .volumes import (
    ATTRIBUTE,
    Alignment,
    affine_of,
    alignment,
    case_of,
    check_volume,
    grid_of_volume,
    mark_made,
    own_affine,
    volume_of,
    world_of,
    write_node,
)

__all__ = [
    "ATTRIBUTE",
    "STYLES",
    "TERMINOLOGY",
    "Alignment",
    "Place",
    "affine_of",
    "alignment",
    "case_of",
    "check_volume",
    "fingerprint",
    "grid_of",
    "grid_of_volume",
    "holds_other_work",
    "known_regions",
    "labels_of",
    "mark_made",
    "own_affine",
    "place_beside",
    "segment_ids",
    "segment_styles",
    "terminology_of",
    "volume_of",
    "world_of",
    "write_node",
    "write_provenance",
    "write_segments",
]
