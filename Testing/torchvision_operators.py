"""A torchvision without its compiled part, as where pip finds one for CUDA alone beside a torch for CPUs.

Importing it fails then, for want of two operators that detection needs and segmentation does not. Tests of networks
over other libraries' encoders need nothing else of it, so they declare the two. Where torchvision fits torch, nothing
is done.
"""

from __future__ import annotations

import importlib.util

_OPERATORS = ("nms", "qnms")
_kept: list[object] = []  # what is declared lasts as long as its library


def declare_missing() -> None:
    """Declare them, if torchvision is there and cannot be imported without."""
    if _kept or importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
