"""Tiny data sets of 2D images and of sparsely annotated volumes, laid out as the published ones are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from Testing.samples import AFFINE

SIZE = 32


def make_slice(number: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A head ``(Y, X, 3)`` uint8 with noisy air, and its tumour, which no slice 0 has; bright in the second channel."""
    generator = np.random.default_rng([seed, number])
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    image = generator.integers(0, 4, (size, size, 3))
    head = x**2 + y**2 < 0.2
    image[head] = generator.integers(80, 121, (int(head.sum()), 3))
    centre = generator.uniform(-0.15, 0.15, 2)
    tumour = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.015) & (number > 0)
    image[tumour, 1] += 100
    return image.astype(np.uint8), tumour


def write_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_lgg(folder: Path, patients: Sequence[str], slices: int = 3, size: int = SIZE) -> Path:
    """kaggle_3m: ``<patient>/<patient>_<slice>.tif`` and ``…_mask.tif``; slices are numbered from 9, without zeros."""
    for seed, patient in enumerate(patients):
        for number in range(slices):
            image, tumour = make_slice(number, seed, size)
            name = f"{patient}_{number + 9}"
            write_image(folder / patient / f"{name}.tif", image)
            write_image(folder / patient / f"{name}_mask.tif", tumour.astype(np.uint8) * 255)
    return folder


def write_coco(
    folder: Path, annotations: Sequence[dict[str, Any]], images: int = 2, size: tuple[int, int] = (SIZE, SIZE)
) -> Path:
    """Images ``0.png``, ``1.png``, … of ``size`` (width, height) with ids from 1, and these annotations."""
    width, height = size
    entries = []
    for number in range(images):
        pixels = np.random.default_rng(number).integers(20, 200, (height, width)).astype(np.uint8)
        write_image(folder / f"{number}.png", pixels)
        entries.append({"id": number + 1, "file_name": f"{number}.png", "width": width, "height": height})
    numbered = [{"id": number, "category_id": 1, **entry} for number, entry in enumerate(annotations)]
    content = {"images": entries, "annotations": numbered, "categories": [{"id": 1, "name": "tumour"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_lgg1p19q(
    folder: Path, patient: str, annotated: Sequence[int] = (3, 4, 5), affine: np.ndarray = AFFINE, seed: int = 0
) -> Volume:
    """T1 and T2 of 8 × 20 × 16 voxels and a segmentation of these slices; returns the tumour of all slices."""
    generator = np.random.default_rng(seed)
    shape = (8, 20, 16)
    (folder / patient).mkdir(parents=True)
    tumour = np.zeros(shape, dtype=np.uint8)
    tumour[1:7, 6:12, 5:11] = 1
    for name, lift in (("T1", 40), ("T2", 300)):
        image = generator.integers(200, 241, shape) + lift * tumour.astype(int)
        write_volume(Volume(image.astype(np.int16), affine), folder / patient / f"{patient}_{name}.nii.gz")
    sparse = np.zeros_like(tumour)
    sparse[list(annotated)] = tumour[list(annotated)]
    write_volume(Volume(sparse, affine), folder / patient / f"{patient}-Segmentation.nii.gz")
    return Volume(tumour, affine)
