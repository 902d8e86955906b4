"""From the scans of one session to images that lie over each other and show the brain alone.

What is done is decided from the images: those that come prepared (skull-stripped, on one grid) go on untouched. Else
the brain is extracted on the reference, every other sequence is registered to it within that brain, and the brain's
mask is carried to each sequence's own grid. A motion goes into an image's affine, so no voxel is interpolated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..domain.alignment_record import AlignmentRecord, BrainFound
from ..domain.case import Case
from ..domain.errors import GeometryError
from ..domain.grid import Grid, same_grid
from ..domain.modalities import TITLES, listed
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.volume import Volume
from .appearance import HEAD, PART, appearance
from .brain_extraction import Brain, extract_brain
from .registration import Registration, register
from .resampling import onto

# Local correlation within the brain: below the first the images are not of one head, below the second something is
# amiss (measured by ``python -m Testing.benchmarks.raw_cases``).
FAILED, POOR = 0.12, 0.2
# Less motion than this is none: the headers are right.
_STILL_MM = 0.5


@dataclass(frozen=True)
class AlignedCase:
    """A case whose images lie over each other, and what was done for it.

    Attributes:
        case: the images with the motion in their affines and the background 0; the reference where it was.
        moves: modality → its motion, for those that were registered; see :class:`.Registration` for the direction.
        brain: the brain on the reference's grid, where it was extracted or given.
        grid: LPS grid of the network in the reference's space, where its head is tilted; else the reference's own.
        record: what was done and why, in words.
        warnings: of that, what a reader of the result must know.
    """

    case: Case
    moves: Mapping[str, Registration] = field(default_factory=dict)
    brain: Brain | None = None
    grid: Grid | None = None
    record: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_record(self) -> AlignmentRecord:
        """The figures of what was done."""
        brain = BrainFound()
        if self.brain:
            size = np.count_nonzero(self.brain.mask) * self.case.reference_volume.voxel_volume / 1000
            brain = BrainFound(self.brain.method, round(size, 1))
        return AlignmentRecord({name: move.as_motion() for name, move in self.moves.items()}, brain)


def align_case(
    case: Case, options: RunOptions | None = None, progress: Progress | None = None, *, brain: str = "extracted"
) -> AlignedCase:
    """Register the images of a case to its reference and extract the brain, where they need it.

    Args:
        case: one session's images.
        options: ``preprocess``, ``brain_extraction``, ``brain_mask`` and ``reference``.
        progress: hears how far it is; ends it when cancelled.
        brain: what the images shall show, the ``extracted`` brain or the whole ``head``.

    Raises:
        GeometryError: an image cannot be registered: it is of another head, or shows none.
        InputError: no brain is found, or the mask is none.
        CancelledError: cancelled through ``progress``.
    """
    options, progress = options or RunOptions(), progress or Progress()
    if options.reference:
        case = replace(case, reference=options.reference)
    if options.preprocess == "none":
        return AlignedCase(case, record=("images taken as they are, as asked for",))
    looks = {name: appearance(volume) for name, volume in case.images.items()}
    if options.preprocess == "auto" and not options.brain_mask and (why := _is_prepared(case, looks)):
        return AlignedCase(case, record=(f"neither registered nor skull-stripped: {why}",))
    heads = [name for name, look in looks.items() if look == HEAD]
    found = _brain_of(case, options, progress.part(0.0, 0.5)) if brain == "extracted" else None
    moves, warnings = _moves(case, found, progress.part(0.5, 1.0))
    images = {name: _moved(case, name, moves, found, heads) for name in case.images}
    return AlignedCase(
        replace(case, images=images), moves, found, None, _record(case, heads, moves, found), tuple(warnings)
    )


def _is_prepared(case: Case, looks: Mapping[str, str]) -> str:
    """Why the images go on as they are; empty where something has to be done."""
    if HEAD in looks.values():
        return ""
    if PART in looks.values():
        return "the images show a part of a brain"
    reference = Grid.of(case.reference_volume)
    together = all(same_grid(Grid.of(volume), reference) for volume in case.images.values())
    return "the images are skull-stripped and on one grid" if together else ""


def _brain_of(case: Case, options: RunOptions, progress: Progress) -> Brain:
    """The brain on the reference's grid."""
    volume = case.reference_volume
    if appearance(volume) != HEAD:
        return Brain(volume.array != 0, "given", f"{TITLES[case.reference]} skull-stripped as given")
    return extract_brain(volume, options.brain_extraction, progress)


def _moves(case: Case, brain: Brain | None, progress: Progress) -> tuple[dict[str, Registration], list[str]]:
    moves, warnings = {}, []
    fixed = case.reference_volume
    others = [name for name in case.modalities if name != case.reference]
    for index, name in enumerate(others):
        share = index / len(others)
        progress.report("registration", share, f"Registering {TITLES[name]} to {TITLES[case.reference]}")

        def tick(share: float = share) -> None:
            progress.report("registration", share)

        move = register(case.images[name], fixed, brain.mask if brain else None, tick)
        if move.quality < FAILED:
            raise GeometryError(
                f"{TITLES[name]} ({case.images[name].source}) cannot be registered to {TITLES[case.reference]}"
                f" ({fixed.source}): their local correlation is {move.quality:.2f}, that of one head {POOR} and more.",
                "Check that both are MR images of one patient's whole head; leave out what is not.",
            )
        if move.quality < POOR:
            warnings.append(
                f"{TITLES[name]} may not lie over {TITLES[case.reference]} (local correlation {move.quality:.2f}):"
                " check the alignment."
            )
        moves[name] = move
    return moves, warnings


def _moved(case: Case, name: str, moves: Mapping[str, Registration], brain: Brain | None, heads: list[str]) -> Volume:
    """An image in the reference's space, what is not brain 0."""
    volume = case.images[name]
    if name in moves and moves[name].displacement_mm > _STILL_MM:
        volume = moves[name].move(volume)
    if brain is None or name not in heads:
        return volume
    inside = onto(brain.mask.astype(np.float32), Grid.of(case.reference_volume), Grid.of(volume)) >= 0.5
    return volume.with_array(np.where(inside, volume.array, 0))


def _record(case: Case, heads: list[str], moves: Mapping[str, Registration], brain: Brain | None) -> tuple[str, ...]:
    lines = [f"whole heads: {listed([TITLES[name] for name in heads])}"] if heads else []
    lines += [brain.words] if brain else []
    lines += [
        f"registered to {case.reference} (moved by up to {move.displacement_mm:.1f} mm, turned by {move.angle_deg:.1f}°,"
        f" local correlation {move.before:.2f} → {move.quality:.2f}): {name}"
        for name, move in moves.items()
    ]
    return tuple(lines)
