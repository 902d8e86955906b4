"""From the scans of one session to images that lie over each other and show the brain alone.

What is done is decided from the images: those that come prepared (skull-stripped, on one grid) go on untouched. Else
the brain is extracted on the reference, every other sequence is registered to it within that brain, the brain is found
again from all of them together, and its mask is carried to each sequence's own grid. A motion goes into an image's
affine, so no voxel is interpolated here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from ..domain.alignment_record import AlignmentRecord, BrainFound
from ..domain.case import Case
from ..domain.errors import GeometryError, InputError
from ..domain.grid import Grid
from ..domain.modalities import TITLES, listed
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.volume import Volume
from ..io.registry import read_mask
from .appearance import HEAD, PART, appearance, check_head
from .background import foreground
from .brain_extraction import Brain, can_be_brain, extract_brain, extract_together, size_ml
from .pipeline import check_extent
from .plan import Plan, plan_of
from .pose import Pose, pose_of
from .registration import Registration, register
from .resampling import onto

# Local correlation within the brain. Below the first the images are not of one head, below the second something may be
# amiss: Testing/benchmarks/raw_cases.py prints it for right pairs and for sequences of two patients.
FAILED, POOR = 0.2, 0.27
# Share by which one head may have to be stretched to be the other: of one person's it is a scanner's distortion.
STRETCHED = 0.045


@dataclass(frozen=True)
class AlignedCase:
    """A case whose images lie over each other, and what was done for it.

    Attributes:
        case: the images with the motion in their affines and the background 0; the reference where it was.
        moves: modality → its motion, for those that were registered; see :class:`.Registration` for the direction.
        brain: the brain on the reference's grid, where it was extracted or given.
        pose: how the reference's head is held, where its brain was extracted or given.
        record: what was done and why, in words.
        warnings: of that, what a reader of the result must know.
    """

    case: Case
    moves: Mapping[str, Registration] = field(default_factory=dict)
    brain: Brain | None = None
    pose: Pose | None = None
    record: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid | None:
        """A grid along the axes of the training brains, where the reference's head is tilted against its own grid."""
        return self.pose.grid if self.pose and self.pose.tilted else None

    def as_record(self) -> AlignmentRecord:
        """The figures of what was done."""
        brain = BrainFound()
        if self.brain:
            size = size_ml(self.brain.mask, self.case.reference_volume)
            brain = BrainFound(self.brain.method, round(size, 1))
        moves = {name: move.as_motion() for name, move in self.moves.items()}
        if self.pose and self.pose.tilted:
            moves["atlas"] = self.pose.as_motion()
        return AlignmentRecord(moves, brain)


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
        GeometryError: an image has no size of a head, or cannot be registered: it is of another head, or shows none.
        InputError: no brain is found, the mask is none, or an image is no MR image of a head.
        CancelledError: cancelled through ``progress``.
    """
    options, progress = options or RunOptions(), progress or Progress()
    if options.reference:
        case = replace(case, reference=options.reference)
    if case.stacked:
        return AlignedCase(case)
    for volume in case.images.values():
        check_extent(volume)  # before anything is resampled
    looks = {name: appearance(volume) for name, volume in case.images.items()}
    grids = {name: Grid.of(volume) for name, volume in case.images.items()}
    masked = options.brain_mask is not None
    plan = plan_of(grids, looks, case.reference, options.preprocess, masked=masked, brain=brain)
    if plan.why:
        warnings = _left_alone(case, plan) if options.preprocess != "none" else ()
        return AlignedCase(case, record=(f"neither registered nor skull-stripped: {plan.why}",), warnings=warnings)
    heads = tuple(name for name in case.modalities if looks[name] == HEAD)
    for name in heads:
        check_head(case.images[name], TITLES[name])
    whole = looks[case.reference] != PART or masked  # in a part of a head no brain is looked for
    found = _brain_of(case, options, heads, progress.part(0.0, 0.5)) if brain == "extracted" and whole else None
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(_pose, case.reference_volume, found, progress) if found else None
        moves = _moves(case, options, looks, plan, found, progress.part(0.5, 0.9))
        pose = search.result() if search else None
    if found:
        found = extract_together(found, case.reference_volume, _fellows(case, heads, moves), progress.part(0.9, 1.0))
    cut = plan.stripped | plan.parts
    images = {name: _carried(case, name, moves.get(name), found if name in cut else None) for name in case.images}
    record = _record(case, heads, moves, found, pose)
    warnings = (*_warnings(case, moves), *_left_by_headers(case, plan), *_left_alone(case, plan))
    return AlignedCase(replace(case, images=images), moves, found, pose, record, warnings)


def _left_alone(case: Case, plan: Plan) -> tuple[str, ...]:
    """That heads go on with their skulls, which only a reference that shows a part of one keeps so."""
    if not plan.unfit:
        return ()
    heads = listed([TITLES[name] for name in case.modalities if name in plan.unfit])
    failed = "not be skull-stripped" if plan.registered else "be neither registered to it nor skull-stripped"
    return (
        f"{TITLES[case.reference]} shows a part of a head only, so {heads} could {failed}: choose another reference,"
        " or leave it out.",
    )


def _left_by_headers(case: Case, plan: Plan) -> tuple[str, ...]:
    return tuple(
        f"{TITLES[name]} shows a part of a head only, too little to be registered by: it lies where its header puts it."
        for name in case.modalities
        if name in plan.parts
    )


def _brain_of(case: Case, options: RunOptions, heads: tuple[str, ...], progress: Progress) -> Brain:
    """The brain on the reference's grid: as given, as it was stripped, or extracted."""
    volume = case.reference_volume
    if options.brain_mask:
        return _given_brain(options, volume)
    if case.reference not in heads:
        return Brain(foreground(volume.array), "stripped", f"{TITLES[case.reference]} is skull-stripped as given")
    return extract_brain(volume, options.brain_extraction, progress)


def _given_brain(options: RunOptions, volume: Volume) -> Brain:
    """The brain of a file.

    Raises:
        InputError: it holds no brain that lies within the reference, or what cannot be one by its size.
    """
    given = read_mask(str(options.brain_mask))
    mask = onto(_filled(given.array).astype(np.uint8), Grid.of(given), Grid.of(volume), nearest=True) > 0
    share = float(mask.mean())
    if not 0 < share < 1:
        what = "fills all of" if share else "holds nothing within"
        raise InputError(
            f"{options.brain_mask} is no brain mask: it {what} {volume.source}.",
            "Give a mask, not 0 in the brain, in the reference's space.",
        )
    size = size_ml(mask, volume)
    if not can_be_brain(size):
        raise InputError(
            f"{options.brain_mask} is no brain mask: it measures {size:,.0f} mL within {volume.source}.",
            "Give a mask of the whole brain, in the reference's space and in millimetres.",
        )
    return Brain(mask, "given", f"brain taken from {options.brain_mask} ({size:,.0f} mL)")


def _filled(mask: np.ndarray) -> np.ndarray:
    """What a mask takes for brain: all that is not 0, of shares between 0 and 1 the larger half; NaN is none."""
    if mask.dtype.kind != "f":
        return mask != 0
    known = np.nan_to_num(mask)
    shares = bool(known.min() >= 0 and known.max() <= 1)
    return known >= 0.5 if shares else known != 0


def _pose(volume: Volume, brain: Brain, progress: Progress) -> Pose:
    """How the reference's head is held; ends when the run is cancelled."""
    silent = Progress(cancelled=progress.cancelled)
    return pose_of(volume, brain.mask, lambda: silent.report("registration", 0.0))


def _moves(
    case: Case, options: RunOptions, looks: Mapping[str, str], plan: Plan, brain: Brain | None, progress: Progress
) -> dict[str, Registration]:
    """The motions of the images that are to be registered, found side by side."""
    fixed, title = case.reference_volume, TITLES[case.reference]
    others = [name for name in case.modalities if name in plan.registered]
    heads = {name for name, look in looks.items() if look == HEAD}
    lock, ticks = threading.Lock(), [0]

    def tick() -> None:
        with lock:
            ticks[0] += 1
            share = 1 - 0.995 ** (ticks[0] / max(len(others), 1))  # how many it will be is not known
            progress.report("registration", share, f"Registering {listed([TITLES[n] for n in others])} to {title}")

    def find(name: str) -> Registration:
        moving = case.images[name]
        skull = (name in heads) == (case.reference in heads)
        if brain and name in heads and not skull:  # the reference is stripped: only brains can be compared
            moving = brain_alone(moving, options.brain_extraction, Progress(cancelled=progress.cancelled))
        return register(moving, fixed, brain.mask if brain else None, skull=skull and name in heads, tick=tick)

    if not others:
        return {}
    with ThreadPoolExecutor(len(others)) as pool:
        moves = dict(zip(others, pool.map(find, others), strict=True))
    for name, move in moves.items():
        one, other = (f"{TITLES[each]} ({case.images[each].source})" for each in (name, case.reference))
        # By how much a head is stretched is no question for a part of one.
        unlike = PART in (looks[name], looks[case.reference])
        check_one_head(one, other, replace(move, stretch=0.0) if unlike else move)
    return moves


def brain_alone(volume: Volume, method: str, progress: Progress) -> Volume:
    """A whole head, 0 outside its brain, for a search in which the other image shows no more.

    Raises:
        InputError: no brain is found.
        CancelledError: cancelled through ``progress``.
    """
    return volume.with_array(np.where(extract_brain(volume, method, progress).mask, volume.array, 0))


def check_one_head(one: str, other: str, move: Registration) -> None:
    """Refuse what cannot be of one head; ``one`` and ``other`` name the images that were registered.

    Raises:
        GeometryError: they hardly correlate, or one would have to be stretched.
    """
    if move.quality < FAILED:
        raise GeometryError(
            f"{one} cannot be registered to {other}: their local correlation is {move.quality:.2f}, that of one head"
            f" {POOR:.2f} and more.",
            "Check that both are MR images of one patient's head, no localiser, angiogram or other modality; leave out"
            " what is not.",
        )
    if move.stretch > STRETCHED:
        raise GeometryError(
            f"{one} shows another head than {other}: it would have to be stretched by {move.stretch:.0%} to lie over it"
            f" (local correlation {move.quality:.2f}).",
            "Check that both are of one patient and have the right voxel size; leave out what is not.",
        )


def _fellows(case: Case, heads: tuple[str, ...], moves: Mapping[str, Registration]) -> dict[str, Volume]:
    """The other whole heads in the reference's space, but for those that may not lie over it."""
    fitting = (name for name in heads if name != case.reference and (name not in moves or moves[name].quality >= POOR))
    return {TITLES[name]: _moved(case, name, moves.get(name)) for name in fitting}


def _moved(case: Case, name: str, move: Registration | None) -> Volume:
    volume = case.images[name]
    return move.move(volume) if move is not None and move.displacement_mm > 0 else volume


def _carried(case: Case, name: str, move: Registration | None, brain: Brain | None) -> Volume:
    """An image in the reference's space, 0 outside the brain where there is one to cut it out by."""
    volume = _moved(case, name, move)
    if brain is None:
        return volume
    inside = onto(brain.mask.astype(np.float32), Grid.of(case.reference_volume), Grid.of(volume)) >= 0.5
    return volume.with_array(_masked(volume.array, inside))


def _masked(array: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """0 outside and nowhere inside: the smallest value there becomes the least positive one that is like the others."""
    if not inside.any():
        return np.zeros_like(array)
    lowest = array[inside].min()
    if array.dtype.kind == "u" or lowest >= 0:
        least = 1 if array.dtype.kind in "iu" else float(array[inside].max()) * 1e-4
        return np.where(inside, np.maximum(array, np.asarray(least, dtype=array.dtype)), np.asarray(0, array.dtype))
    values = array.astype(np.float32) - np.float32(lowest)
    return np.where(inside, np.maximum(values, np.float32(values[inside].max() * 1e-4)), np.float32(0))


def _record(
    case: Case, heads: tuple[str, ...], moves: Mapping[str, Registration], brain: Brain | None, pose: Pose | None
) -> tuple[str, ...]:
    """What was done and why."""
    lines = [f"whole heads, not skull-stripped: {', '.join(heads)}"] if heads else []
    lines += [brain.words] if brain else []
    for name, move in moves.items():
        how = f"moved by up to {move.displacement_mm:.1f} mm, turned by {move.angle_deg:.1f}°"
        figures = f"local correlation {move.before:.2f} before, {move.quality:.2f} after"
        if not move.displacement_mm:
            how, figures = "lies as its header says", f"local correlation {move.quality:.2f}"
        lines.append(f"registered to {case.reference} ({how}; {figures}): {name}")
    if pose and pose.tilted:
        lines.append(f"the head is tilted by {pose.tilt_deg:.0f}°: the network's grid follows it")
    return tuple(lines)


def _warnings(case: Case, moves: Mapping[str, Registration]) -> tuple[str, ...]:
    return tuple(
        f"{TITLES[name]} may not lie over {TITLES[case.reference]} (local correlation {move.quality:.2f}, less than"
        f" {POOR:.2f}): check the alignment."
        for name, move in moves.items()
        if move.quality < POOR
    )
