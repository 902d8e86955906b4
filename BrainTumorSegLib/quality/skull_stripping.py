"""Are the images skull-stripped, and do they show a whole brain?"""

from __future__ import annotations

from .examined import Examined

# Skull-stripped brains fill a quarter of the BraTS grid; heads as scanned have air that is not zero. Where the air was
# set to zero the size tells: the training brains measure 1.2 to 1.7 litres, a head 3 and more.
_FILLED_IF_NOT_STRIPPED = 0.6
_LARGEST_BRAIN_ML = 2400.0
# A child's brain has this size before its first birthday; an image that is smaller than the second is of no whole head.
_SMALLEST_BRAIN_ML, _SMALLEST_HEAD_MM = 650.0, 80.0
# Nor does any part of a brain that can be segmented measure so little: voxel sizes in centimetres make 1.5 of 1,500 mL.
_SMALLEST_PART_ML = 3.0
# A slice through a brain is not longer than this; one through a head with the air around it is.
_LONGEST_BRAIN_MM = 200.0


def check(examined: Examined) -> list[str]:
    """Whether a skull is there, or a part of the brain is not."""
    size = sorted(n * step for n, step in zip(examined.filled.shape, examined.reference.spacing, strict=True))
    full = float(examined.filled.mean()) > _FILLED_IF_NOT_STRIPPED
    if examined.filled_ml > _LARGEST_BRAIN_ML or (full and size[1] > _LONGEST_BRAIN_MM):
        return ["The images do not look skull-stripped; the model was trained on skull-stripped ones."]
    if examined.shows_part:
        return ["The images show a part of a brain; the model was trained on whole ones."]
    if examined.filled_ml < (_SMALLEST_BRAIN_ML if size[1] > _SMALLEST_HEAD_MM else _SMALLEST_PART_ML):
        return [f"The brain measures {examined.filled_ml:,.0f} mL only: check the voxel size."]
    return []
