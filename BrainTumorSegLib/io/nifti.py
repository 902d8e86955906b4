"""NIfTI-1 and NIfTI-2, packed or not, by nibabel."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.errors import InputError
from ..domain.volume import Place, Volume
from .evidence import read_deflated, read_raw, voxel_bytes
from .formats import Pixels

_FORMS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"),
)
# The longest header, that of NIfTI-2.
_LONGEST = 540
# Slope and intercept of values that are stored as they are.
_PLAIN = (1.0, 0.0)
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
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            header = _header(gzip.GzipFile(fileobj=file).read(_LONGEST) if packed else file.read(_LONGEST))
            shape, dtype, scale = header.get_data_shape(), header.get_data_dtype(), _scale(header)
            if not shape or min(shape) < 1:
                raise InputError(f"{path} has axes of {shape} voxels.", "Its header is damaged; export it again.")
            offset = header.get_data_offset() or header.single_vox_offset
            count = voxel_bytes(shape, 1)
            file.seek(0)
            size, scaled = offset + count * dtype.itemsize, count * (8 if scale != _PLAIN else 0)
            content = (read_deflated if packed else read_raw)(file, path, size, scaled)
        array = _scaled(content[offset:].view(dtype).reshape(shape, order="F"), *scale)
        while array.ndim > 4 and array.shape[-1] == 1:
            array = array[..., 0]
        voxels = np.require(array.transpose(), requirements=["C", "A"])
        return Pixels(voxels, np.asarray(header.get_best_affine()), place_of(header))

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


def _header(content: bytes) -> Any:
    """The header that a file begins with, as nibabel checks it."""
    import nibabel

    second = 540 in (int.from_bytes(content[:4], order) for order in ("little", "big"))
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    return kind.from_fileobj(io.BytesIO(content[: kind.sizeof_hdr]))  # without what programs add behind it


def _scale(header: Any) -> tuple[float, float]:
    """What the stored values are multiplied by, and what is added."""
    slope, intercept = header.get_slope_inter()
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Grey values in float64, as nibabel makes them, with one array more in memory; the stored ones where they are."""
    if (slope, intercept) == _PLAIN or stored.dtype.kind not in "iuf":
        return stored
    with np.errstate(over="ignore"):  # infinite voxels are refused with the image's name
        values = np.multiply(stored, slope, dtype=np.result_type(stored.dtype, np.float64))
        values += intercept
    return values


def place_of(header: Any) -> Place:
    """Both forms of a header as they stand, and what is wrong between them."""
    codes = int(header["qform_code"]), int(header["sform_code"])
    warning = ""
    if codes == (0, 0):
        warning = "does not say where it lies (qform and sform are not set)"
    elif all(codes):
        warning = _difference(header)
    return Place({name: header[name].copy() for name in _FORMS}, warning)


def _difference(header: Any) -> str:
    """How the two forms differ, in words that follow the file's name; empty where they are the same."""
    import nibabel

    try:
        qform = header.get_qform()
    except (ValueError, nibabel.spatialimages.HeaderDataError):  # a quaternion longer than 1, a negative spacing
        qform = np.full((4, 4), np.nan)
    if not np.isfinite(qform).all():
        return "has a qform that is no rotation; its sform was taken"
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    corners[:, :3] *= np.asarray(header.get_data_shape()[:3], dtype=float) - 1
    apart = float(np.abs(corners @ (qform - header.get_sform()).T).max())
    return f"has two positions, {apart:.1f} mm apart (its qform and its sform differ)" if apart > _SAME_MM else ""
