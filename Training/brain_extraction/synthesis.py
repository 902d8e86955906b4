"""Images that no scanner made, so that the network learns what a brain looks like in none of them and all.

After SynthStrip (Hoopes 2022, doi 10.1016/j.neuroimage.2022.119474), section 2.2: contrasts, artefacts, resolutions and
fields of view far beyond what is real. There label maps are filled with random grey values; here the grey values of
real images are put through random curves, one for the brain and one for what is around it, since label maps are
wanting. Every function draws from the generator that it is given and from nothing else.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from BrainTumorSegLib.preprocessing.brain_extraction.included import rescaled

from .heads import Head

Patch = tuple[int, int, int]

VOXEL_MM = 2.0


def smooth_field(rng: np.random.Generator, shape: Patch, knots: int) -> torch.Tensor:
    """Smooth random numbers of mean 0 and standard deviation about 1, ``(Z, Y, X)``."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, knots, knots, knots)).astype(np.float32))
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0] * 1.5


def random_curve(rng: np.random.Generator) -> torch.Tensor:
    """A curve for grey values of 0 to 255: through random heights at a few places; air stays dark."""
    places = np.sort(np.concatenate([[0, 20, 255], rng.uniform(25, 250, rng.integers(2, 6))]))
    heights = rng.uniform(0.05, 1, len(places))
    heights[0] = rng.uniform(0, 0.05)
    heights[1] = heights[0] + rng.uniform(0, 0.1)
    return torch.from_numpy(np.interp(np.arange(256), places, heights).astype(np.float32))


def gentle_curve(rng: np.random.Generator) -> torch.Tensor:
    """Another gamma, now and then inverted (air as well)."""
    curve = np.linspace(0, 1, 256) ** math.exp(rng.normal(0, 0.35))
    return torch.from_numpy((1 - curve if rng.random() < 0.03 else curve).astype(np.float32))


def recoloured(rng: np.random.Generator, image: np.ndarray, brain: torch.Tensor, wild: float) -> torch.Tensor:
    """uint8 image → float32; with probability ``wild`` in a contrast that no sequence has."""
    values = torch.from_numpy(image.astype(np.int64))
    if rng.random() >= wild:
        return gentle_curve(rng)[values]
    around = random_curve(rng)[values]
    if rng.random() < 0.5:
        return around
    return brain * random_curve(rng)[values] + (1 - brain) * around


def head_around(
    rng: np.random.Generator, brain: torch.Tensor, inner: torch.Tensor, away: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fluid, skull, scalp, face and neck around a stripped brain, ``(Z, Y, X)``.

    The teacher counts the fluid up to the bone as brain, and stripped brains are often without it: so its layer becomes
    brain here.

    Args:
        inner: grey values of the brain, 0 to 1.
        away: mm from the brain.

    Returns:
        The head, and the brain with its fluid.
    """
    shape: Patch = tuple(away.shape)  # type: ignore[assignment]

    def thickness(low: float, high: float) -> torch.Tensor:
        return rng.uniform(low, high) * torch.exp(0.3 * smooth_field(rng, shape, 5))

    fluid = thickness(0, 1.5)
    skull = fluid + thickness(2, 8)
    scalp = skull + thickness(3, 12)
    z, y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in shape), indexing="ij")
    centre = [(brain * axis).sum() / brain.sum() for axis in (z, y, x)]
    # Face and neck hang below the brain: a large ball, lower and in front.
    lower, ahead, radius = rng.uniform(25, 45), rng.uniform(0, 20), rng.uniform(28, 42)
    ball = (z - centre[0] + lower) ** 2 + ((y - centre[1] + ahead) / 1.3) ** 2 + (x - centre[2]) ** 2 < radius**2
    flesh = ball & (away > fluid) & (z < centre[0] - 5)
    texture = smooth_field(rng, shape, 14) + 0.7 * smooth_field(rng, shape, 28)
    kinds = torch.from_numpy(rng.uniform(0, 1, 4).astype(np.float32))
    soft = kinds[torch.bucketize(texture, torch.tensor([-0.8, 0.2, 0.9]))]
    grey = rng.uniform([0, 0, 0.2], [0.9, 0.35, 1.0])
    head = torch.zeros(shape)
    head = torch.where(away < scalp, torch.as_tensor(grey[2], dtype=torch.float32) * (1 + 0.15 * texture), head)
    head = torch.where((away < skull) & ~flesh, torch.tensor(float(grey[1])), head)
    head = torch.where(flesh, soft, head)
    head = torch.where(away < fluid, torch.tensor(float(grey[0])), head)
    return (brain * inner + (1 - brain) * head).clamp(0, 1.2), torch.maximum(brain, (away < fluid).float())


def with_lesions(rng: np.random.Generator, grey: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """The image ``(Z, Y, X)`` with bodies of any grey value in the brain, most of them at its border.

    A tumour that shines like the scalp beside it is brain all the same, and no voxel may be lost of it.
    """
    inside = brain > 0.5
    border = inside & (functional.avg_pool3d(brain[None, None], 7, 1, 3)[0, 0] < 0.95)
    for _ in range(rng.integers(1, 4)):
        places = torch.nonzero(border if rng.random() < 0.75 else inside)
        if not len(places):
            break
        centre = places[int(rng.integers(len(places)))].tolist()
        radius = rng.uniform(3, 15)
        box = tuple(slice(max(int(at - 1.6 * radius), 0), int(at + 1.6 * radius) + 1) for at in centre)
        shape: Patch = tuple(grey[box].shape)  # type: ignore[assignment]
        axes = [torch.arange(size) + part.start - at for size, part, at in zip(shape, box, centre, strict=True)]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        depth = 1 - torch.sqrt((z**2 + y**2 + x**2).float()) / radius + 0.25 * smooth_field(rng, shape, 4)
        texture = 1 + rng.uniform(0, 0.3) * smooth_field(rng, shape, 5)
        rim, core, strength = rng.uniform([0, 0, 0.5], [1.1, 1.1, 1])
        value = torch.where(depth > 0.4, core, rim) if rng.random() < 0.4 else torch.full(shape, float(rim))
        share = torch.sigmoid(10 * depth) * brain[box] * strength
        grey = grey.clone()
        grey[box] += share * (value * texture - grey[box])
    return grey.clamp(min=0)


def no_brain(rng: np.random.Generator, shape: Patch) -> torch.Tensor:
    """A body part without a brain: some bodies of several tissues."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in shape), indexing="ij")
    image = torch.zeros(shape)
    for _ in range(rng.integers(1, 4)):
        c, r = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.25, 0.9, 3)
        body = sum(((axis - a) / b) ** 2 for axis, a, b in zip((z, y, x), c, r, strict=True))
        rim, bone = body < 1, body < rng.uniform(0.2, 0.8)
        grey = rng.uniform(0.1, 1, 2)
        texture = 1 + rng.uniform(0, 0.4) * smooth_field(rng, shape, int(rng.integers(4, 24)))
        image = torch.where(bone, grey[0] * texture, torch.where(rim, grey[1] * texture, image))
    return image.clamp(0, 1).float()


def placement(rng: np.random.Generator, head: Head, shape: Patch) -> torch.Tensor:
    """Where each voxel of a patch lies in a head: ``(1, Z, Y, X, 3)`` as torch's ``grid_sample`` takes it.

    Turned by up to 30° about each axis, scaled by axis, mirrored left to right, shifted, bent a little.
    """
    turn = rng.uniform(-1, 1, 3) * math.radians(30) * (1 if rng.random() < 0.5 else 0.3)
    (sx, sy, sz), (cx, cy, cz) = np.sin(turn), np.cos(turn)
    rotation = (
        np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    )
    scale = np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.05, 3))
    matrix = rotation * scale
    if rng.random() < 0.5:
        matrix[:, 0] *= -1
    size = np.asarray(head.brain.shape[::-1], dtype=float)
    inside = np.argwhere(head.brain > 127)
    middle = (inside.min(0) + inside.max(0))[::-1] / 2
    shift = rng.normal(0, 8, 3) if rng.random() < 0.8 else rng.uniform(-30, 30, 3)
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    place = torch.stack([x, y, z], -1) @ torch.from_numpy(matrix.T.astype(np.float32))
    bend = torch.stack([smooth_field(rng, shape, 5) for _ in range(3)], -1) * rng.uniform(0, 1.2)
    place = place + torch.from_numpy((middle + shift).astype(np.float32)) + bend
    return ((2 * place + 1) / torch.from_numpy(size.astype(np.float32)) - 1)[None]


def as_scanned(rng: np.random.Generator, image: torch.Tensor) -> torch.Tensor:
    """A bias field, thick slices along some axis, blur and noise."""
    shape: Patch = tuple(image.shape)  # type: ignore[assignment]
    if rng.random() < 0.7:
        knots = int(rng.integers(2, 5))
        image = image * torch.exp(rng.uniform(0, 0.4) * smooth_field(rng, shape, knots))
    if rng.random() < 0.6:
        axis = int(rng.choice(3, p=(0.6, 0.2, 0.2)))
        size = list(image.shape)
        size[axis] = max(round(size[axis] * VOXEL_MM / rng.uniform(2.5, 7)), 8)
        thick = functional.interpolate(image[None, None], size=size, mode="area")
        image = functional.interpolate(thick, size=shape, mode="trilinear")[0, 0]
    if rng.random() < 0.2:
        image = functional.avg_pool3d(image[None, None], 3, 1, 1)[0, 0]
    if rng.random() < 0.6:
        noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        image = (image + rng.uniform(0, 0.08) * noise).abs()
    return image


def field_of_view(rng: np.random.Generator, brain: torch.Tensor) -> torch.Tensor:
    """Where the scanner looked: bool ``(Z, Y, X)``, a box that may cut the vertex, the neck or the sides."""
    seen = torch.zeros(brain.shape, dtype=torch.bool)
    where = torch.nonzero(brain > 0.5)
    if not len(where):
        return ~seen
    low, high = where.min(0).values.tolist(), where.max(0).values.tolist()
    box = []
    for axis, size in enumerate(brain.shape):
        length = high[axis] - low[axis]
        cut = (0.1, 0.12) if axis == 0 else (0.02, 0.02)  # of the brain, at its lower and its upper end
        ends = [0, size]
        if rng.random() < 0.35:
            ends[0] = max(int(low[axis] - rng.uniform(-cut[0] * length, 25)), 0)
        if rng.random() < 0.35:
            ends[1] = min(int(high[axis] + 1 + rng.uniform(-cut[1] * length, 25)), size)
        box.append(slice(*ends))
    seen[tuple(box)] = True
    return seen


def sample(
    rng: np.random.Generator, head: Head, shape: Patch, wild: float, lesions: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, brain and what is known of it, each float32 ``(1, Z, Y, X)``, of a head as some scanner might show it."""
    image = head.images[rng.integers(len(head.images))]
    brain = torch.from_numpy(head.brain.astype(np.float32) / 255)
    grey = recoloured(rng, image, brain, wild)
    if head.distance.size:
        grey, brain = head_around(rng, brain, grey, torch.from_numpy(head.distance.astype(np.float32)))
    known = torch.from_numpy(head.known.astype(np.float32))
    place = placement(rng, head, shape)
    layers = torch.stack([grey, brain, known])[None]
    grey, brain, known = functional.grid_sample(layers, place, align_corners=False)[0]
    if rng.random() < lesions:
        grey = with_lesions(rng, grey, brain)
    # What the image does not reach is known to hold none of it.
    reached = functional.grid_sample(torch.ones_like(layers[:, :1]), place, align_corners=False)[0, 0] > 0.5
    return _seen(rng, grey, brain, torch.where(reached, known, 1.0))


def sample_without(rng: np.random.Generator, shape: Patch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of a body part without a brain."""
    return _seen(rng, no_brain(rng, shape), torch.zeros(shape), torch.ones(shape))


def _seen(
    rng: np.random.Generator, grey: torch.Tensor, brain: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    seen = field_of_view(rng, brain)
    scanned = as_scanned(rng, grey) * seen
    image = torch.from_numpy(rescaled(scanned.numpy()))
    return image[None], (brain * seen)[None], (known > 0.5).float()[None]
