"""Can the result be true?"""

from __future__ import annotations

import numpy as np

from ..domain.labels import REGIONS
from ..domain.volume import Volume, bounding_box

IMPLAUSIBLE = "This result is not plausible: "  # how the sentence begins

# The largest tumours of BraTS, oedema included, fill about a quarter of the brain; what fills half of it is none.
_LARGEST_SHARE = 0.5
# Nor is half of an adult brain, where the skull is still there and makes the share small.
_LARGEST_ML = 700.0
# Metastases may be dozens; a network on images that it cannot read finds specks by the thousand.
_MOST_PIECES = 1000
# Of the voxels of a brain, networks that learnt give hardly any a probability of exactly 0 or 1; where so few are in
# between, weights are far too large or not of this network.
_LEAST_IN_BETWEEN = 1e-3
# By as much of itself a probability may differ from place to place that is the same: windows are blended.
_ROUNDING = 1e-5


def implausible(labels: Volume, filled: np.ndarray) -> str:
    """Why a label map cannot be true, as a sentence; empty where it can.

    Args:
        labels: label map in the convention of this library.
        filled: where the reference image is not background, on the same grid.
    """
    from scipy import ndimage

    whole = np.isin(labels.array, list(REGIONS["WT"].labels))
    size = int(np.count_nonzero(whole))
    if not size:
        return ""
    reason = ""
    share = min(size / max(int(np.count_nonzero(filled)), 1), 1.0)
    volume = size * labels.voxel_volume / 1000
    if share > _LARGEST_SHARE:
        reason = f"{share:.0%} of what the images show would be tumour"
    elif volume > _LARGEST_ML:
        reason = f"{volume:.0f} mL would be tumour, half of a brain"
    else:
        _, pieces = ndimage.label(whole[bounding_box(whole)], np.ones((3, 3, 3)))
        if pieces > _MOST_PIECES:
            reason = f"the tumour would be in {pieces} pieces"
    if not reason:
        return ""
    return _sentence(reason)


def unlearnt(outputs: np.ndarray, filled: np.ndarray) -> str:
    """Why what a network says cannot rest on the images, as a sentence; empty where it may.

    Args:
        outputs: probabilities ``(outputs, Z, Y, X)``.
        filled: ``(Z, Y, X)``, where the images are not background.
    """
    values = [output[filled] for output in outputs]
    if all(float(np.ptp(seen)) <= _ROUNDING * float(seen.max()) for seen in values if seen.size):
        return _sentence("the network gives every voxel the same probability")
    between = sum(np.count_nonzero((seen > 0) & (seen < 1)) for seen in values)
    if between < _LEAST_IN_BETWEEN * sum(seen.size for seen in values):
        return _sentence("the network gives probabilities of 0 and 1 alone, as none does that has learnt")
    return ""


def _sentence(reason: str) -> str:
    return f"{IMPLAUSIBLE}{reason}. Do not use it; check that the images fit the model."
