"""2D images (png, jpg, tif) that are one patient's axial slices, as a case."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..domain.case import Case
from ..domain.errors import InputError, ModalityError, ShortageError
from ..domain.modalities import FLAIR, T1, T1CE
from ..domain.volume import Volume
from .evidence import check_file, check_memory
from .formats import unreadable

SLICE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# Channels of a colour image of the LGG set (Buda 2019): pre-contrast T1, FLAIR, post-contrast T1.
COLOUR_CHANNELS = (T1, FLAIR, T1CE)

# Such images do not say how large a pixel is: the longer side is taken for the usual field of view of a head.
FIELD_OF_VIEW_MM = 256.0
SLICE_STEP_MM = 5.0
ASSUMED_SPACING = (
    f"2D images do not say how large they are: millilitres and millimetres rest on an assumed field of view of "
    f"{FIELD_OF_VIEW_MM:g} mm and {SLICE_STEP_MM:g} mm between slices."
)

# Pillow's names of what is read; others of its readers start programs (EPS) or were never meant.
_PILLOWS = ("PNG", "JPEG", "TIFF")
# What they meet a damaged file with.
_PILLOWS_ERRORS = (
    OSError, EOFError, SyntaxError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error,
    OverflowError, ArithmeticError, RuntimeError, zlib.error,
)  # fmt: skip
# Bytes a pixel that a page takes while it is unpacked, converted and copied.
_WORKED_BYTES = 16
_MOST_PAGES = 4096

# Mean grey levels by which a copied channel may differ after a lossy file.
_COPY_TOLERANCE = 0.5


def is_slice(path: Path | str) -> bool:
    """Whether the name ends like a 2D image this library reads."""
    return Path(path).suffix.lower() in SLICE_SUFFIXES


def slice_order(path: Path | str) -> tuple[tuple[int, str], ...]:
    """Sorts names by the numbers in them: ``a_2`` before ``a_10``."""
    parts = re.split(r"(\d+)", Path(path).stem)
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in parts)


def matches(head: bytes) -> bool:
    """Whether a file that begins so is a 2D image this library reads."""
    return head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*"))


def is_mask(path: Path | str) -> bool:
    """Whether the name is that of a mask beside an image, as :func:`mask_name` gives it."""
    return is_slice(path) and Path(path).stem.lower().endswith("_mask")


def mask_name(path: Path, page: int, pages: int) -> str:
    """Name of the mask of an image, or of a page of it."""
    return f"{path.stem}_mask.png" if pages == 1 else f"{path.stem}_{page + 1:04d}_mask.png"


def read_pages(path: Path | str) -> list[np.ndarray]:
    """The pages of an image, mostly one, as ``(C, Y, X)``: grey ones have one channel, colour ones three.

    Transparency is dropped.

    Raises:
        InputError: the file is missing, damaged or no such image.
    """
    from PIL import Image, ImageSequence

    path = Path(path)
    check_file(path)
    pages: list[np.ndarray] = []
    taken = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on tags that say nothing of the pixels, and on sizes
            with Image.open(path, formats=_PILLOWS) as image:
                if image.format == "PNG":
                    image.verify()  # the checksum of every chunk; the file must be opened anew
            with Image.open(path, formats=_PILLOWS) as image:
                for page in ImageSequence.Iterator(image):
                    width, height = page.size
                    check_memory(path, taken + _WORKED_BYTES * width * height)
                    pages.append(np.asarray(_plain(page)))
                    taken += pages[-1].nbytes
                    if len(pages) > _MOST_PAGES:
                        raise InputError(f"{path} has more than {_MOST_PAGES} pages.", "Give a file a slice.")
    except MemoryError as error:
        raise ShortageError(f"Memory ran out while {path} was read.", "Close other programs and try again.") from error
    except (*_PILLOWS_ERRORS, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    return [page[None] if page.ndim == 2 else np.moveaxis(page, -1, 0) for page in pages]


def page_count(path: Path) -> int:
    """How many pages an image has; 1 where that cannot be seen, as reading it will say why."""
    from PIL import Image

    try:
        check_file(path)
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_PILLOWS) as image:
            for page in range(1, _MOST_PAGES + 1):  # n_frames would count without end
                try:
                    image.seek(page)
                except EOFError:
                    return page
    except (InputError, *_PILLOWS_ERRORS, Image.DecompressionBombError):
        pass
    return 1


def write_mask(mask: np.ndarray, file: Path) -> None:
    """A boolean ``(Y, X)`` as a grey PNG of 0 and 255."""
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")


def _plain(image):  # type: ignore[no-untyped-def]
    """Grey or colour, without palette, transparency or other colour models; grey of any depth stays as it is."""
    image.load()
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    if image.mode in ("P", "PA") and image.palette is not None:
        colours = np.asarray(image.convert("RGB"))
        return image.convert("L") if (colours == colours[..., :1]).all() else image.convert("RGB")
    if image.mode in ("RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        return image.convert("RGB")
    return image


def slices_affine(shape: Sequence[int]) -> np.ndarray:
    """Affine of slices of ``(Y, X)`` pixels as they are shown: the patient's right on the left, anterior at the top."""
    pixel = FIELD_OF_VIEW_MM / max(shape)
    return np.diag([-pixel, -pixel, SLICE_STEP_MM, 1.0])


def stack_slices(case_id: str, images: Sequence[np.ndarray], channels: Sequence[str], source: str = "") -> Case:
    """Images ``(C, Y, X)`` of one size, from the lowest slice up, as a case whose volumes are ``(Z, Y, X)``.

    Args:
        case_id: name of the patient.
        images: the slices; all colours become one grey where one modality is asked for.
        channels: the modality of each channel, in the image's order.
        source: where they came from, for messages.

    A channel that is zero everywhere, or that repeats FLAIR as the LGG set has it for missing ones, is left out.

    Raises:
        InputError: the images differ in size, or have not these channels.
    """
    source = source or case_id
    sizes = sorted({image.shape[1:] for image in images})
    if len(sizes) > 1:
        listed = ", ".join(f"{x} × {y}" for y, x in sizes)
        raise InputError(f"The slices of {source} have different sizes: {listed}.", "Give slices of one series.")
    if len(channels) == 1:
        images = [
            image if len(image) == 1 else image.mean(axis=0, keepdims=True).astype(np.float32) for image in images
        ]
    counts = sorted({len(image) for image in images})
    if counts != [len(channels)]:
        have = " and ".join(str(count) for count in counts)
        raise InputError(
            f"The slices of {source} have {have} channels where {len(channels)} ({', '.join(channels)}) are due.",
            "Give colour images whose channels are these sequences, or choose another model.",
        )
    volume = np.stack(images, axis=1)
    affine = slices_affine(volume.shape[2:])
    kept = {name: volume[index] for index, name in enumerate(channels) if volume[index].any()}
    kept = {name: array for name, array in kept.items() if not _repeats(name, kept)}
    if not kept:
        raise InputError(f"The slices of {source} are zero everywhere.", "Export them again.")
    return Case(
        case_id,
        {name: Volume(array, affine, f"{source}, {name}") for name, array in kept.items()},
        warnings=(ASSUMED_SPACING,),
        stacked=True,
    )


def _repeats(name: str, channels: dict[str, np.ndarray]) -> bool:
    """Whether a channel is FLAIR once more."""
    if name == FLAIR or FLAIR not in channels:
        return False
    apart = np.abs(channels[name].astype(np.float32) - channels[FLAIR].astype(np.float32)).mean()
    return bool(apart < _COPY_TOLERANCE)


def channels_for(modalities: Sequence[str], optional: Sequence[str] = (), bands: int = 3) -> tuple[str, ...]:
    """The modality of each channel of images for a model.

    Args:
        modalities: that the model takes.
        optional: those of them that may be missing.
        bands: channels of the images, 1 or 3. A single one is FLAIR where the model can do with that.

    Raises:
        ModalityError: the images cannot hold what the model takes.
    """
    if len(modalities) == 1:
        return tuple(modalities)
    if bands == 1 and FLAIR in modalities and set(modalities) <= {*optional, FLAIR}:
        return (FLAIR,)
    if set(modalities) <= set(COLOUR_CHANNELS):
        return COLOUR_CHANNELS
    raise ModalityError(
        f"2D images cannot hold {', '.join(modalities)}.",
        f"A grey image holds one sequence, a colour one {', '.join(COLOUR_CHANNELS)}.",
    )
