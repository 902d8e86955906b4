"""Volumes from files and to files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from ..domain.errors import InputError, RequestError
from ..domain.modalities import IMAGE_SUFFIXES, is_image
from ..domain.volume import Volume

# Slicer, ITK and DICOM speak LPS, NIfTI and nibabel RAS; this library keeps RAS as NIfTI does.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_volume(path: Path | str, *, channels: bool = False) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Args:
        path: file to read.
        channels: accept a 4D file and return ``(C, Z, Y, X)``.

    Raises:
        InputError: the file is missing, damaged, no image, or not of the expected dimension.
        GeometryError: its affine is unusable.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path} does not exist." if not path.exists() else f"{path} is not a file.", "Check the path."
        )
    if not is_image(path):
        raise InputError(f"{path} is not a volume this program reads.", f"It reads {', '.join(IMAGE_SUFFIXES)}.")
    try:
        array, affine = (_read_nifti if _is_nifti(path) else _read_itk)(path)
    except (OSError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} cannot be read ({reason}).", "The file is damaged or not an image; copy it again."
        ) from error
    except (
        ValueError,
        OverflowError,
        MemoryError,  # a damaged header asks for any size
        np.linalg.LinAlgError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    ) as error:
        raise InputError(f"{path} cannot be read ({error}).", "Its header is damaged; export it again.") from error
    return _checked(array, affine, path, channels)


def _checked(array: np.ndarray, affine: np.ndarray, path: Path, channels: bool) -> Volume:
    if 0 in array.shape:
        raise InputError(f"{path} has an axis of length zero.", "The file holds no image; export it again.")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 and not (channels and array.ndim == 4):
        raise InputError(
            f"{path} has {array.ndim} dimensions where 3 are due.",
            "Give one 3D file a sequence; a Decathlon file with four channels goes in alone, as the case itself.",
        )
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {array.dtype}, not grey values.", "Export a scalar image.")
    return Volume(array, affine, str(path))


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.decompress(content)  # to its end, where the checksum is; nibabel would stop before
    second = 540 in (int.from_bytes(content[:4], order) for order in ("little", "big"))  # the header's size
    image = (nibabel.Nifti2Image if second else nibabel.Nifti1Image).from_bytes(content)
    if image.affine is None:
        raise InputError(f"{path} has no affine.", "Export it again from its DICOM series.")
    array = np.asanyarray(image.dataobj)  # get_fdata() would make float64 of everything
    while array.ndim > 4 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.ascontiguousarray(array.transpose()), np.asarray(image.affine)


def _read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    if image.GetDimension() == 4:  # one axis too many: its first three carry the geometry
        image = image[:, :, :, 0]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    if image.GetDimension() != 3:
        return array, np.eye(4)
    return np.ascontiguousarray(array), _affine_of_itk(image)


def _affine_of_itk(image) -> np.ndarray:  # type: ignore[no-untyped-def]
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


def check_writable(path: Path | str) -> None:
    """Refuse a name whose suffix is no format that :func:`write_volume` writes.

    Raises:
        RequestError: with the suffixes that are.
    """
    name = Path(path).name
    if not is_image(name) or name.lower().endswith((".nhdr", ".mhd")):
        raise RequestError(f"{name} names no format this program writes.", "Use .nii.gz, .nii, .nrrd or .mha.")


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write a NIfTI, NRRD or MetaImage file; the format follows from the name.

    Raises:
        RequestError: the name ends in no known suffix, or the format cannot hold a sheared grid.
        OSError: the disk refused.
    """
    path = Path(path)
    check_writable(path)
    if _is_nifti(path):
        image = nibabel.Nifti1Image(volume.array.transpose(), volume.affine)
        image.set_qform(volume.affine, code=1)
        image.set_sform(volume.affine, code=1)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
    else:
        _write_itk(volume, path)


def _write_itk(volume: Volume, path: Path) -> None:
    import SimpleITK as sitk

    affine = LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise RequestError(f"{path.name} cannot hold a sheared grid.", "Write .nii.gz instead.")
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written ({str(error).strip().splitlines()[-1]})") from error
