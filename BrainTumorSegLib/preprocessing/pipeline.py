"""The way in, from a case to the network's array, as a list of recorded steps, and the way back that undoes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..domain.case import Case, check_image
from ..domain.errors import GeometryError, InputError
from ..domain.grid import LPS_TO_RAS, Grid, check_overlap, same_grid
from ..domain.modalities import TITLES
from ..domain.volume import Volume, bounding_box
from ..models.description import PreprocessingSpec
from . import box_normalisation
from .background import remove_background
from .bias_field import bias_field_step
from .box_normalisation import normalised_together
from .normalisation import normalisation_step
from .resampling import Resampling, onto
from .steps import Done, ImageStep, SpatialStep

# On each image's own grid, in this order; the first ones leave grey values, which the checks of quality look at.
CLEANING: tuple[ImageStep, ...] = (remove_background,)
INTENSITIES: tuple[ImageStep, ...] = (bias_field_step, normalisation_step)

# The longest side of an image of a head or a part of it lies between these.
SMALLEST_EXTENT_MM, LARGEST_EXTENT_MM = 10.0, 1000.0

# Of the reference's brain, the share that another sequence covers: less than the first is a header that was lost or a
# slab, and worth a warning; less than the second says nothing of this brain.
_COVERS, _COVERS_NOTHING = 0.9, 0.1


@dataclass(frozen=True)
class Crop:
    """The step from the network's whole grid to the box around the brain."""

    box: tuple[slice, ...]
    shape: tuple[int, int, int]

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values on the box → float32 on the whole grid, 0 outside."""
        whole = np.zeros(self.shape, dtype=np.float32)
        whole[self.box] = values
        return whole


@dataclass(frozen=True)
class Prepared:
    """What a network takes, and what is needed to find the way back.

    Attributes:
        array: float32 ``(C, Z, Y, X)``, the brain's box on the network grid; a missing modality is 0.
        box: where that box lies on the network grid.
        grid: the whole network grid.
        reference: the reference image as it was given, but with a background of 0.
        steps: the changes of grid, in the order in which they were done.
        record: what was done to the images, in words.
        warnings: of that, what a reader of the result must know.
        coverage: modality → share of the reference's brain that the image covers.
    """

    array: np.ndarray
    box: tuple[slice, ...]
    grid: Grid
    reference: Volume
    steps: tuple[SpatialStep, ...]
    record: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    coverage: Mapping[str, float] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether some sequence covers a part of the brain only."""
        return any(share < _COVERS for share in self.coverage.values())

    def restore(self, values: np.ndarray, native: Grid | None = None) -> np.ndarray:
        """Values on the box ``(Z, Y, X)`` → float32 on the reference grid: the steps are undone in turn.

        Args:
            native: another grid in the reference's space to end on, such as that of an image that was registered to it.
        """
        first, *later = self.steps
        for step in (Resampling(native, self.grid) if native else first, *later)[::-1]:
            values = step.undo(values)
        return values


def network_grid(reference: Grid, spec: PreprocessingSpec, upright: Grid | None = None) -> Grid:
    """The reference grid in the network's orientation and spacing (a spacing of 0 keeps the axis).

    Args:
        reference: of the images.
        spec: what the network was trained on.
        upright: a grid that is taken instead, along LPS of the head itself, however it is held.
    """
    oriented = upright.oriented(spec.orientation, LPS_TO_RAS) if upright else reference.oriented(spec.orientation)
    wanted = tuple(new or old for new, old in zip(spec.spacing, oriented.spacing, strict=True))
    return oriented.with_spacing(wanted)


class _Record:
    """What steps did, gathered over the images."""

    def __init__(self) -> None:
        self._words: dict[str, list[str]] = {}
        self.warnings: list[str] = []

    def run(
        self, steps: tuple[ImageStep, ...], images: Mapping[str, Volume], spec: PreprocessingSpec
    ) -> dict[str, Volume]:
        """Images through some steps, side by side: what computes is foreign code that lets others run."""

        def through(modality: str) -> tuple[Volume, list[Done]]:
            volume, found = images[modality], []
            for step in steps:
                volume, done = step(volume, modality, spec)
                found += [done] if done else []
            return volume, found

        import SimpleITK  # noqa: F401 - before threads do: where memory is short, they would see half of it

        with ThreadPoolExecutor(len(images) or 1) as threads:
            results = dict(zip(images, threads.map(through, images), strict=True))
        for modality, (_, found) in results.items():
            for done in found:
                self.add(done.words, modality)
                self.warnings += [done.warning] if done.warning else []
        return {modality: volume for modality, (volume, _) in results.items()}

    def add(self, words: str, modality: str = "") -> None:
        """Something that was done, to an image or to all."""
        self._words.setdefault(words, []).extend([modality] if modality else [])

    def lines(self) -> tuple[str, ...]:
        """Each thing once, with the images that it was done to."""
        return tuple(f"{words}: {', '.join(names)}" if names else words for words, names in self._words.items())


def prepare(case: Case, modalities: tuple[str, ...], spec: PreprocessingSpec, upright: Grid | None = None) -> Prepared:
    """Take every image through the image steps on its own grid, then to the network grid in one interpolation.

    Args:
        case: images that lie over each other.
        modalities: of the network's channels, in their order.
        spec: what the model was trained on.
        upright: a grid in the reference's space, along LPS of the head, whose axes and extent the network's grid takes;
            by default the reference's own.

    Raises:
        GeometryError: an image does not overlap the reference or its brain, or has no size of a head.
        InputError: nothing of the images lies on the reference grid, or one is a mask.
    """
    check_extent(case.reference_volume)
    record = _Record()
    used = [name for name in case.modalities if name in modalities or name == case.reference]
    images = record.run(CLEANING, {name: case.images[name] for name in used}, spec)
    reference = Grid.of(case.reference_volume)
    grid = network_grid(reference, spec, upright)
    given = {name: images[name] for name in modalities if name in images}
    for volume in given.values():
        check_overlap(volume, case.reference_volume)
    ready, foreground = record.run(INTENSITIES, given, spec), None
    if spec.normalisation in box_normalisation.METHODS:
        ready, foreground = normalised_together(ready, modalities, reference, spec)
    channels = {}  # views where no voxel is interpolated: what holds something is a third of a BraTS image
    for modality in modalities:
        if modality not in ready:
            record.add("not given", modality)
            continue
        volume = ready[modality]
        if not same_grid(Grid.of(volume), reference):
            record.add(f"resampled onto the grid of {case.reference}", modality)
        channels[modality] = onto(volume.array, Grid.of(volume), grid, cubic=spec.interpolation == "cubic")
    filled = channels.values() if foreground is None else [onto(foreground, reference, grid, nearest=True)]
    box = _with_margin(_filled_box(filled), grid.shape, spec.margin)
    array = np.zeros((len(modalities), *(part.stop - part.start for part in box)), dtype=np.float32)
    for channel, modality in enumerate(modalities):
        if modality in channels:
            array[channel] = channels[modality][box]
    if not array.any():
        raise InputError(
            f"The images of {case.id} are empty where {case.reference_volume.source} lies.",
            "Register them first, or choose the sequences of one session.",
        )
    if not np.allclose(grid.spacing, reference.spacing, rtol=0.01):
        record.add(f"the network ran at {' × '.join(f'{mm:g}' for mm in grid.spacing[::-1])} mm")
    coverage = _coverage(channels, case, images, grid)
    record.warnings += _about_coverage(coverage, case)
    for name, volume in images.items():
        if volume is not case.images[name]:  # that it is a mask may show only when its background is 0
            check_image(volume, name)
    return Prepared(
        array,
        box,
        grid,
        images[case.reference],
        (Resampling(reference, grid), Crop(box, grid.shape)),
        record.lines(),
        tuple(record.warnings),
        coverage,
    )


def _filled_box(images: Collection[np.ndarray]) -> tuple[slice, ...]:
    """Smallest box that holds all that is not 0 in images of one grid; all of it where nothing is."""
    filled = [bounding_box(image != 0) for image in images if image.any()]
    if not filled:
        return tuple(slice(0, size) for size in next(iter(images)).shape)
    return tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*filled, strict=True)
    )


def _with_margin(box: tuple[slice, ...], shape: tuple[int, int, int], margin: int) -> tuple[slice, ...]:
    """The box and some voxels around it, as far as the grid goes; of -1, the whole grid."""
    if margin < 0:
        return tuple(slice(0, size) for size in shape)
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size)) for part, size in zip(box, shape, strict=True)
    )


def _coverage(
    channels: Mapping[str, np.ndarray], case: Case, images: Mapping[str, Volume], grid: Grid
) -> dict[str, float]:
    """Modality → share of the reference's brain (what is not 0 of it) where the image is not 0 either."""
    if case.reference in channels:
        brain = channels[case.reference] != 0
    else:
        own = images[case.reference]
        brain = onto(own.array, Grid.of(own), grid) != 0
    size = np.count_nonzero(brain)
    others = {name: image for name, image in channels.items() if name != case.reference}
    return {name: np.count_nonzero((image != 0) & brain) / size for name, image in others.items()} if size else {}


def _about_coverage(coverage: Mapping[str, float], case: Case) -> list[str]:
    """Warnings about sequences that show a part of the brain.

    Raises:
        GeometryError: one shows next to nothing of it.
    """
    title = TITLES[case.reference]
    found = []
    for name, share in coverage.items():
        if share < _COVERS_NOTHING:
            raise GeometryError(
                f"{TITLES[name]} ({case.images[name].source}) covers {share:.0%} of the brain in {title}.",
                "Its position was lost, or it is of another session; register it first, or leave it out.",
            )
        if share < _COVERS:
            found.append(f"{TITLES[name]} covers only {share:.0%} of the brain in {title}: check its position.")
    return found


def check_extent(volume: Volume) -> None:
    """Refuse what cannot be a head: an affine in metres or micrometres asks for endless memory or leaves one voxel.

    Raises:
        GeometryError: the longest side is no head's.
    """
    extent = [size * step for size, step in zip(volume.shape, volume.spacing, strict=True)]
    if max(extent) > LARGEST_EXTENT_MM or max(extent) < SMALLEST_EXTENT_MM:
        raise GeometryError(
            f"{volume.source} is {' × '.join(f'{mm:.4g}' for mm in extent[::-1])} mm in size, which is no head.",
            "Its voxel size is not in millimetres; export it again from its DICOM series.",
        )
