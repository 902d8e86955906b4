"""Windows as other programs lay, weight and average them, for models that come from there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..domain.errors import CheckpointError
from .backends import Backend
from .sliding_window import MOST_WINDOWS, gaussian_along, starts

SLICES_PER_BATCH = 8


@dataclass(frozen=True)
class ForeignWindows:
    """Windows exactly of the patch, whose logits are averaged; see :class:`.predictors.Predictor`.

    Attributes:
        patch: window ``(z, y, x)``, or ``(y, x)`` within every slice, in voxels; a smaller image lies in the middle.
        overlap: share of a window that its neighbour covers too.
        scheme: ``monai``, whose windows follow each other until the last one ends with the image, or ``nnunet``, whose
            lie evenly.
        blending: of ``monai``, ``gaussian`` or ``constant`` weights.
        activation: of the averaged logits, ``sigmoid`` or ``softmax``.
    """

    patch: tuple[int, ...]
    overlap: float = 0.5
    scheme: str = "nnunet"
    blending: str = "gaussian"
    activation: str = "sigmoid"

    part = "window"
    loses_context = True

    def at(self, spacing: Sequence[float]) -> ForeignWindows:
        """The same, whatever the size of voxels."""
        return self

    def smaller(self) -> ForeignWindows | None:
        """None: in other windows it would be another model."""
        return None

    def parts(self) -> str:
        """Its parts, in words."""
        return f"windows of {' × '.join(str(size) for size in self.patch)} voxels"

    def voxels(self, shape: Sequence[int]) -> int:
        """How many voxels of images ``(Z, Y, X)`` go through the network at once."""
        return math.prod(self.patch) * (min(SLICES_PER_BATCH, shape[0]) if len(self.patch) == 2 else 1)

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``.

        Raises:
            CheckpointError: there are too many windows.
        """
        flat = len(self.patch) == 2
        images = np.moveaxis(array, 1, 0) if flat else array[None]
        batch = SLICES_PER_BATCH if flat else 1
        sides = [
            (max(part - size, 0) // 2, -(-max(part - size, 0) // 2))
            for part, size in zip(self.patch, images.shape[2:], strict=True)
        ]
        crop = tuple(slice(low, low + size) for (low, _), size in zip(sides, images.shape[2:], strict=True))
        images = np.pad(images, [(0, 0), (0, 0), *sides])
        places = [self._starts(size, part) for size, part in zip(images.shape[2:], self.patch, strict=True)]
        corners = list(itertools.product(range(0, len(images), batch), *places))
        if len(corners) > MOST_WINDOWS:
            raise CheckpointError(
                f"The model asks for {len(corners):,} {self.parts()} on these images, more than {MOST_WINDOWS:,}.",
                "Choose another model.",
            )
        weights = self._weights()
        total = np.zeros(images.shape[2:], dtype=np.float32)
        blended: np.ndarray | None = None
        for done, (first, *corner) in enumerate(corners):
            tick(done, len(corners))
            box = tuple(slice(low, low + part) for low, part in zip(corner, self.patch, strict=True))
            logits = backend.logits(images[first : first + batch, :, *box])
            if blended is None:
                blended = np.zeros((len(images), logits.shape[1], *images.shape[2:]), dtype=np.float32)
            blended[first : first + batch, :, *box] += logits * weights
            if first == 0:
                total[box] += weights
        assert blended is not None, "an image has at least one window"
        blended = blended[:, :, *crop]
        blended /= total[crop]
        result = activated(blended, self.activation)
        return np.moveaxis(result, 1, 0) if flat else result[0]

    def _starts(self, size: int, part: int) -> list[int]:
        if self.scheme == "monai":
            return starts(size, part, self.overlap)
        count = math.ceil((size - part) / (part * (1 - self.overlap))) + 1
        return [round((size - part) / max(count - 1, 1) * number) for number in range(count)]

    def _weights(self) -> np.ndarray:
        if self.scheme == "monai" and self.blending == "constant":
            return np.ones(self.patch, dtype=np.float32)
        if self.scheme == "monai":
            middle = [(size - 1) / 2 for size in self.patch]
            return np.maximum(_product([gaussian_along(n, m) for n, m in zip(self.patch, middle, strict=True)]), 1e-3)
        weights = 10 * _product([gaussian_along(size, size // 2) for size in self.patch])
        weights = weights.astype(np.float16).astype(np.float32)  # the corners, which half precision makes 0
        return np.maximum(weights, weights[weights > 0].min())


def activated(logits: np.ndarray, activation: str) -> np.ndarray:
    """Logits ``(N, outputs, …)``, float32, → probabilities, in the same memory."""
    if activation == "softmax":
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits
    with np.errstate(over="ignore"):
        np.exp(np.negative(logits, out=logits), out=logits)
    logits += 1
    return np.asarray(np.reciprocal(logits, out=logits))


def _product(along: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product of what lies along the axes."""
    whole = np.ones((1,) * len(along), dtype=np.float32)
    for axis, values in enumerate(along):
        whole = whole * values.reshape([-1 if axis == other else 1 for other in range(len(along))])
    return whole
