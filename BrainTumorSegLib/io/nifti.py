"""NIfTI-1 and NIfTI-2, packed or not, by nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.errors import InputError
from ..domain.volume import Place, Volume
from .formats import Pixels

_FORMS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"),
)
# Forms of one image that lie farther apart than this are not the same by rounding.
_SAME_MM = 0.1


class Nifti:
    """See :class:`.formats.Format`."""

    name: str = "NIfTI"
    suffixes: tuple[str, ...] = (".nii.gz", ".nii")
    keeps_place: bool = True

    def matches(self, head: bytes) -> bool:
        """By the size that the header states of itself, and the magic text of a single file behind it."""
        size = {int.from_bytes(head[:4], order) for order in ("little", "big")}
        return (348 in size and head[344:347] == b"n+1") or (540 in size and head[4:7] == b"n+2")

    def read(self, path: Path) -> Pixels:
        """Read the file to its end, so that a checksum is verified where there is one."""
        import nibabel

        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)  # to its end, where the checksum is; nibabel would stop before
        second = 540 in (int.from_bytes(content[:4], order) for order in ("little", "big"))
        image = (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_bytes(content)
        if image.affine is None:
            raise InputError(f"{path} has no affine.", "Export it again from its DICOM series.")
        array = np.asanyarray(image.dataobj)  # get_fdata() would make float64 of everything
        while array.ndim > 4 and array.shape[-1] == 1:
            array = array[..., 0]
        return Pixels(np.ascontiguousarray(array.transpose()), np.asarray(image.affine), place_of(image))

    def write(self, volume: Volume, path: Path) -> None:
        """Write NIfTI-1; the forms are those of the image that the volume lies on, if it came from NIfTI."""
        import nibabel

        header = nibabel.Nifti1Header()
        header.set_data_dtype(volume.array.dtype)
        header.set_data_shape(volume.array.shape[::-1])
        if volume.place is None or not volume.place.fields:
            header.set_qform(volume.affine, code=1)
            header.set_sform(volume.affine, code=1)
            header.set_xyzt_units("mm")
        else:
            for name, value in volume.place.fields.items():
                header[name] = value
        nibabel.save(nibabel.Nifti1Image(volume.array.transpose(), None, header), path)

    def can_hold(self, affine: np.ndarray) -> bool:
        """Any affine fits into the sform."""
        return True


def place_of(image: Any) -> Place:
    """Both forms of the header as they stand, and what is wrong between them."""
    header = image.header
    qform, sform = header.get_qform(), header.get_sform()
    codes = int(header["qform_code"]), int(header["sform_code"])
    warning = ""
    if codes == (0, 0):
        warning = "does not say where it lies (qform and sform are not set)"
    elif all(codes):
        corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
        corners[:, :3] *= np.asarray(image.shape[:3], dtype=float) - 1
        apart = float(np.abs(corners @ (qform - sform).T).max())
        if apart > _SAME_MM:
            warning = f"has two positions, {apart:.1f} mm apart (its qform and its sform differ)"
    return Place({name: header[name].copy() for name in _FORMS}, warning)
