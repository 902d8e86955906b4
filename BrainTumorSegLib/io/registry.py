"""Files of volumes by content: what a file begins with chooses its reader, its suffix only how it is written.

To add a format: a file with a class that has what :class:`.formats.Format` names, and a line in :data:`FORMATS`.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..domain.errors import BrainTumorSegError, InputError, RequestError, ShortageError
from ..domain.labels import OWN_FIRST, OWN_LAST, REGIONS, found_values, read_labels, write_labels
from ..domain.segmentation import Segmentation
from ..domain.volume import Volume
from . import dicom, images2d, segmentation_nrrd
from .evidence import check_file
from .formats import HEAD, Format, Pixels, unreadable, wrong_dimension
from .meta_image import MetaImage
from .nifti import Nifti
from .nrrd import Nrrd

FORMATS: tuple[Format, ...] = (Nifti(), Nrrd(), MetaImage())

# Those of header files whose voxels lie elsewhere are read, not written.
IMAGE_SUFFIXES = (*(suffix for known in FORMATS for suffix in known.suffixes), ".nhdr", ".mhd")
_SERIES = (
    "Give the folder of the patient's DICOM series as the case, or a series by its modality: --t1 SERIES;"
    " masks are read as .nii.gz, .nii, .nrrd or .mha."
)
# What else files with such names turn out to be: how they begin, what that is, what to do.
_STRANGERS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"version https://git-lfs",), "a pointer of Git LFS, not the file itself", "Fetch the file: git lfs pull."),
    (
        (b"<!doctype", b"<html", b"<?xml", b"\xef\xbb\xbf<"),
        "a page of the web, saved under this name",
        "Download the file itself.",
    ),
    ((b"PK\x03\x04",), "a zip archive", "Unpack it."),
    ((b"%PDF",), "a PDF document", "Give the image."),
    (tuple(b"\x80%c" % protocol for protocol in range(2, 6)), "a pickle of Python", "Give the image."),
    ((b"\x93NUMPY",), "an array of numpy, which does not say where it lies", "Save it as .nii.gz with its affine."),
)


def is_image(path: Path | str) -> bool:
    """Whether the name ends like a volume that is read here."""
    return Path(path).name.lower().endswith(IMAGE_SUFFIXES)


def head_of(path: Path) -> bytes:
    """The first bytes of a file, unpacked if it is a gzip.

    Raises:
        InputError: the file is missing, empty or damaged.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                head = file.read(HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if not head:
        raise InputError(f"{path} is empty.", "Copy it again.")
    return head


def format_of(path: Path) -> Format:
    """The format of a volume's file, by its content.

    Raises:
        InputError: it is none of them; the message says what it is, where that can be seen.
    """
    head = head_of(path)
    for known in FORMATS:
        if known.matches(head):
            return known
    if dicom.is_dicom(head):
        raise InputError(f"{path} is a DICOM file.", _SERIES)
    for beginnings, what, remedy in _STRANGERS:
        if head.lower().lstrip().startswith(tuple(b.lower() for b in beginnings)):
            raise InputError(f"{path} is {what}.", remedy)
    if images2d.matches(head):
        raise InputError(f"{path} is a 2D image, not a volume.", "Give a patient's 2D images together, as the case.")
    if {348, 540} & {int.from_bytes(head[:4], order) for order in ("little", "big")}:
        raise InputError(f"{path} is of Analyze 7.5 or half of a NIfTI pair.", "Convert it to a single .nii.gz file.")
    if path.suffix.lower() == ".img":
        raise InputError(f"{path} holds the voxels of a pair of files.", "Convert the pair to a single .nii.gz file.")
    raise InputError(
        f"{path} cannot be read: it is not a volume.", "Give .nii.gz, .nii, .nrrd or .mha; copy it again if it is one."
    )


def read_volume(path: Path | str, *, channels: bool = False) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Args:
        path: file to read; its content tells the format.
        channels: accept a 4D file and return ``(C, Z, Y, X)``.

    Raises:
        InputError: the file is missing, damaged, no image, or not of the expected dimension; or it is a segmentation of
            3D Slicer, which :func:`read_label_map` reads by the names of its segments.
        GeometryError: its affine is unusable.
    """
    return _read(Path(path), channels=channels)


def read_mask(path: Path | str) -> Volume:
    """The same of a mask, such as the brain's: what is not 0 counts, so it may be a segmentation of 3D Slicer, too.

    Errors as for :func:`read_volume`.
    """
    return _read(Path(path), segments=True)


def _read(path: Path, *, channels: bool = False, segments: bool = False) -> Volume:
    reader = format_of(path)
    try:
        if not segments and isinstance(reader, Nrrd) and segmentation_nrrd.names_segments(path):
            raise InputError(
                f"{path} is a segmentation of 3D Slicer: its voxels are numbers of segments, no grey values or labels.",
                "Give an image; in Python BrainTumorSegLib.io.registry.read_label_map() reads it by their names.",
            )
        pixels = reader.read(path)
    except BrainTumorSegError:
        raise
    except MemoryError as error:  # what the file claims was compared with what it holds before
        raise ShortageError(f"Memory ran out while {path} was read.", "Close other programs and try again.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    # nibabel's own errors are of these classes, but for two.
    except (ValueError, OverflowError, np.linalg.LinAlgError, ArithmeticError, TypeError) as error:
        raise unreadable(path, error, "Its header is damaged; export it again.") from error
    except Exception as error:
        if not type(error).__module__.startswith("nibabel"):
            raise
        raise unreadable(path, error) from error
    return _checked(pixels, path, channels)


def _checked(pixels: Pixels, path: Path, channels: bool) -> Volume:
    array = pixels.array
    if 0 in array.shape:
        raise InputError(f"{path} has an axis of length zero.", "The file holds no image; export it again.")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 and not (channels and array.ndim == 4):
        raise wrong_dimension(path, array.ndim)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds values of type {array.dtype}, not grey values.", "Export a scalar image.")
    return Volume(array, pixels.affine, str(path), pixels.place)


def read_label_map(path: Path | str, convention: str = "auto") -> Volume:
    """Read a label map in the convention of this library: a volume, or a segmentation of 3D Slicer (``.seg.nrrd``) or
    of DICOM by its segments.

    Labels of a model's own (:func:`own_labels`) stay as they are.

    Raises:
        InputError: unreadable, labels outside the convention, or segments that are not ET, TC, WT, NCR or ED.
        RequestError: the convention is not known.
    """
    if names_segments(path):
        read = dicom.read_seg if dicom.is_dicom_file(Path(path)) else segmentation_nrrd.read
        return read(Path(path), convention)
    volume = read_volume(path)
    return volume.with_array(read_labels(volume.array, convention, volume.source, own_labels(Path(path))))


def own_labels(path: Path) -> frozenset[int]:
    """Labels of a model's own in a label map, as the record beside a result of this program says; else none."""
    # Imported here: it knows measurements, and with them scipy, which Slicer need not load when it starts.
    from ..domain.result_record import read_record, record_path

    with suppress(InputError):
        said = (label for region in read_record(record_path(path)).own.values() for label in region.labels)
        return frozenset(label for label in said if OWN_FIRST <= label <= OWN_LAST)
    return frozenset()


def known_regions(path: Path) -> frozenset[str]:
    """Which of ET, TC and WT a label map can tell, as the record beside a result of this program says; else all.

    Where labels are in it that the record does not name, somebody has drawn on, and the record says nothing of it.
    """
    from ..domain.result_record import read_record, record_path

    with suppress(BrainTumorSegError):  # what cannot be read says why when it is compared
        record = read_record(record_path(path))
        if set(record.regions) != set(REGIONS) and (
            names_segments(path)
            or {str(value) for value in found_values(read_volume(path).array, str(path))} <= set(record.labels)
        ):
            return frozenset(record.regions)
    return frozenset(REGIONS)


def names_segments(path: Path | str) -> bool:
    """Whether a file is a segmentation of 3D Slicer or DICOM, which names its segments and stores a box around them.

    Raises:
        InputError: it is missing or no volume at all.
        RequestError: it is DICOM, and pydicom is not installed.
    """
    path = Path(path)
    if dicom.is_dicom(head_of(path)):
        return dicom.is_seg(path)
    return isinstance(format_of(path), Nrrd) and segmentation_nrrd.names_segments(path)


def writer_of(path: Path | str) -> Format:
    """The format that a name asks for.

    Raises:
        RequestError: its suffix is no format that is written.
    """
    name = Path(path).name.lower()
    for known in FORMATS:
        if name.endswith(known.suffixes):
            return known
    remedy = "Use .nii.gz, .nii, .nrrd or .mha; .dcm where the images are DICOM."
    raise RequestError(f"{Path(path).name} names no format this program writes.", remedy)


def check_writable(path: Path | str, affine: np.ndarray | None = None) -> None:
    """Refuse a name whose suffix is no format that is written, or cannot hold a grid of this affine.

    Raises:
        RequestError: with the suffixes that are.
    """
    writer = writer_of(path)
    if affine is not None and not writer.can_hold(affine):
        raise RequestError(f"{Path(path).name} cannot hold a sheared grid.", "Write .nii.gz instead.")


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write a NIfTI, NRRD or MetaImage file; the format follows from the name.

    Raises:
        RequestError: the name ends in no known suffix, or the format cannot hold a sheared grid.
        OSError: the disk refused.
    """
    check_writable(path, volume.affine)
    writer_of(path).write(volume, Path(path))


def check_result(path: Path | str, reference: Volume | None = None) -> None:
    """Refuse a name for a segmentation in whose format none can be written.

    Args:
        path: of the output.
        reference: image on whose grid the result will lie, where it is known already.

    Raises:
        RequestError: no such format, or one that cannot hold the grid or has no DICOM images to refer to.
    """
    if dicom.is_dicom_seg(path):
        dicom.check_seg(Path(path), reference)
    else:
        check_writable(path, reference.affine if reference else None)


def beside_result(path: Path) -> tuple[Path, ...]:
    """What is written beside a segmentation in the format that its name asks for."""
    return dicom.beside_seg(path) if dicom.is_dicom_seg(path) else ()


def write_result(result: Segmentation, convention: str, file: Path, *beside: Path) -> None:
    """Write a segmentation in the format that the name asks for.

    Args:
        result: to write.
        convention: label convention of a label map; a DICOM segmentation has segments instead.
        file: that gets it.
        beside: files that get what :func:`beside_result` names.

    Raises:
        OutputError: the source's files do not allow it.
        OSError: the disk refused.
    """
    if dicom.is_dicom_seg(file):
        dicom.write_seg(result, file, *beside)
    else:
        write_volume(result.labels.with_array(write_labels(result.labels.array, convention)), file)
