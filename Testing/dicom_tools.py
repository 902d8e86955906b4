"""DICOM files read and checked by other programs: dcmqi, which 3D Slicer reads segmentations with, and dciodvfy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from BrainTumorSegLib.domain.grid import LPS_TO_RAS
from BrainTumorSegLib.domain.volume import Volume


def violations(file: Path) -> list[str]:
    """What dciodvfy (David Clunie's dicom3tools) finds in a file that breaks the standard."""
    done = _run("dciodvfy", str(file))
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def read_segments(file: Path, folder: Path, onto: Volume) -> dict[str, np.ndarray]:
    """Label → mask on an image's grid, as dcmqi reads a segmentation; what it reads may be a box inside that grid."""
    folder.mkdir(parents=True)
    where = ("--outputDirectory", str(folder), "--outputType", "nrrd")
    done = _run("segimage2itkimage", "--inputDICOM", str(file), *where)
    assert done.returncode == 0, done.stderr
    meta = json.loads((folder / "meta.json").read_text())
    masks = {}
    for segments in meta["segmentAttributes"]:
        for segment in segments:
            number = segment["labelID"]
            path = folder / f"{number}.nrrd"
            masks[segment["SegmentLabel"]] = _onto(sitk.ReadImage(str(path)), number, onto)
    return masks


def read_report(file: Path, folder: Path) -> dict[str, Any]:
    """A structured report of measurements (TID 1500), as dcmqi reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "report.json"
    done = _run("tid1500reader", "--inputDICOM", str(file), "--outputMetadata", str(output))
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(output.read_text())
    return content


def affine_of(image: Any) -> np.ndarray:
    """The affine to RAS millimetres of a 3D image of SimpleITK."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.asarray(LPS_TO_RAS @ affine)


def _onto(image: Any, value: int, onto: Volume) -> np.ndarray:
    """The voxels of one value, by their places in space."""
    z, y, x = np.nonzero(sitk.GetArrayFromImage(image) == value)
    place = affine_of(image) @ np.stack([x, y, z, np.ones_like(x)])
    index = np.linalg.inv(onto.affine) @ place
    whole = np.round(index[:3]).astype(int)
    assert np.abs(onto.affine[:3, :3] @ (index[:3] - whole)).max(initial=0) < 1e-3, "the voxels lie between the image's"
    mask = np.zeros(onto.shape, dtype=bool)
    mask[whole[2], whole[1], whole[0]] = True
    return mask


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program that the test extra brings."""
    beside = shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)
    assert beside, f"{program} is not installed: python -m pip install -e '.[test]'"
    return subprocess.run([beside, *arguments], capture_output=True, text=True, timeout=120, check=False)
