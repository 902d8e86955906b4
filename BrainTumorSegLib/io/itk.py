"""NRRD and MetaImage, by SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..domain.volume import Volume
from .formats import Pixels, reason_of

# Slicer, ITK and DICOM speak LPS, NIfTI and nibabel RAS; this library keeps RAS as NIfTI does.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Itk:
    """A format that ITK reads and writes; see :class:`.formats.Format`."""

    keeps_place: bool = False

    def __init__(self, name: str, suffixes: tuple[str, ...], reader: str, *beginnings: bytes) -> None:
        self.name, self.suffixes, self._reader, self._beginnings = name, suffixes, reader, beginnings

    def matches(self, head: bytes) -> bool:
        """By the text that its header begins with."""
        return head.lstrip().startswith(self._beginnings)

    def read(self, path: Path) -> Pixels:
        """Read voxels and affine; vectors become channels."""
        import SimpleITK as sitk

        image = sitk.ReadImage(str(path), imageIO=self._reader)  # which ITK would choose by the name
        array = sitk.GetArrayFromImage(image)
        if image.GetDimension() == 4:  # one axis too many: its first three carry the geometry
            image = image[:, :, :, 0]
        elif image.GetNumberOfComponentsPerPixel() > 1:
            array = np.moveaxis(array, -1, 0)
        if image.GetDimension() != 3:
            return Pixels(array, np.eye(4))
        return Pixels(np.ascontiguousarray(array), affine_of(image))

    def write(self, volume: Volume, path: Path) -> None:
        """Write packed voxels."""
        import SimpleITK as sitk

        affine = LPS_TO_RAS @ volume.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        image = sitk.GetImageFromArray(volume.array)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(affine[:3, 3].tolist())
        try:
            sitk.WriteImage(image, str(path), useCompression=True)
        except RuntimeError as error:
            raise OSError(f"it cannot be written ({reason_of(error)})") from error

    def can_hold(self, affine: np.ndarray) -> bool:
        """Axes must be at right angles."""
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-4))


def affine_of(image: Any) -> np.ndarray:
    """The affine to RAS millimetres of a 3D SimpleITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


NRRD = Itk("NRRD", (".nrrd",), "NrrdImageIO", b"NRRD")
META_IMAGE = Itk("MetaImage", (".mha",), "MetaImageIO", b"ObjectType", b"NDims", b"Comment", b"ID ", b"TransformType")
