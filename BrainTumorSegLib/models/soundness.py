"""Whether what a checkpoint says of its own labels and of its images makes sense; its bounds are in :mod:`.limits`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..domain.labels import REGIONS, TISSUES

if TYPE_CHECKING:
    from .description import Description

# What is done to intensities; the first five image by image, the others, as nnU-Net does, in the box around what is
# not 0 in any of the images: the z-score over what is not 0 in some image, over the whole box, between fixed values,
# and to 0 to 1.
NORMALISATIONS = frozenset(
    {"zscore", "zscore_foreground", "zscore_unclipped", "zscore_tanh", "none"}
    | {"zscore_nonzero", "zscore_box", "window", "rescale"}
)


def problems_of_own(d: Description) -> Iterator[str]:
    """What is wrong with the labels of its own, in words."""
    names = [region.name.casefold() for region in d.own]
    taken = {name.casefold() for name in (*REGIONS, *TISSUES)}
    if len(set(names)) < len(names) or taken & set(names) or not all(0 < len(name.strip()) <= 64 for name in names):
        yield "its own labels need names of their own, of at most 64 characters"
    if len(set(d.painted.values())) < len(d.painted):
        yield "two of its own regions are made of the same labels"
    if any(o.colour and (len(o.colour) != 3 or not all(0 <= c <= 255 for c in o.colour)) for o in d.outputs):
        yield "a colour is not three numbers of 0 to 255"


def problems_of_preprocessing(d: Description) -> Iterator[str]:
    """What is wrong with the way from images to what the network takes, in words."""
    if d.preprocessing.normalisation not in NORMALISATIONS:
        yield f"unknown normalisation {d.preprocessing.normalisation!r}"
    wanted = len(d.modalities) if d.preprocessing.normalisation == "window" and not d.members else 0
    if not d.members and len(d.preprocessing.intensities) != wanted:
        yield "its intensities are not those of its modalities"
    if not all(low < high and spread > 0 for low, high, _, spread in d.preprocessing.intensities):
        yield "its intensities leave nothing of an image"
    if not -1 <= d.preprocessing.margin <= 1000:
        yield f"its margin is {d.preprocessing.margin}"
    if d.preprocessing.interpolation not in ("linear", "cubic"):
        yield f"unknown interpolation {d.preprocessing.interpolation!r}"
    if d.preprocessing.bias_correction not in ("n4", "none"):
        yield f"unknown bias correction {d.preprocessing.bias_correction!r}"
    if d.preprocessing.brain not in ("extracted", "head"):
        yield f"unknown kind of image {d.preprocessing.brain!r}"
    if min(d.preprocessing.spacing) < 0:
        yield "its spacing is negative"
