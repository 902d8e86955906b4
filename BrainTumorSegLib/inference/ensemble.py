"""The networks of a checkpoint run one after another, and the mean of what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..domain.errors import ExecutionError, ShortageError
from ..domain.grid import Grid
from ..domain.labels import REGIONS
from ..domain.modalities import alternatives, listed
from ..domain.progress import Progress
from ..domain.shortage import is_shortage
from ..models.checkpoint_file import Checkpoint
from ..models.description import Description
from ..preprocessing import Prepared
from .backends import Backend
from .foreign_windows import activated
from .memory import OF_LIBRARIES, need_of, predict
from .predictors import Predictor

_SMALLEST = 1e-7  # what is nearer to 0 or 1 has no logit in float32


@dataclass(frozen=True)
class Opinion:
    """What one network says of a case: outputs ``(outputs, Z, Y, X)`` on the box of what was prepared for it."""

    description: Description
    prepared: Prepared
    outputs: np.ndarray

    def probability(self, region: str) -> np.ndarray:
        """A region's probability on the box, see :meth:`.Description.outputs_of`.

        Tissue classes add up: what is core, but enhancing or necrotic with .4 each, is core with .8.
        """
        parts = self.outputs[list(self.description.outputs_of(region))]
        return np.asarray(np.minimum(parts.sum(axis=0), 1) if self.description.exclusive else parts.max(axis=0))


def ask(
    members: Sequence[tuple[Checkpoint, Predictor]],
    backend: Backend,
    prepared_for: Callable[[Description], Prepared],
    progress: Progress,
) -> tuple[list[Opinion], list[str]]:
    """Run the members in turn.

    Args:
        members: the networks and how they are run, in the order in which memory is spent on them.
        backend: takes the weights of each in turn; has those of the first.
        prepared_for: gives what a network takes.
        progress: of all of them.

    Returns:
        What they say, and warnings about what memory did not allow: smaller parts, or members left out.

    Raises:
        ShortageError: memory ran out for the first one already.
        ExecutionError: a network gives something that is no number.
        CheckpointError: a network cannot be built or run as the checkpoint says.
        CancelledError: cancelled through ``progress``.
    """
    opinions: list[Opinion] = []
    warnings: list[str] = []
    for number, (member, predictor) in enumerate(members):
        part = progress.part(number / len(members), (number + 1) / len(members))
        part.report("prepare", 0.0, "Preparing the images")
        try:
            prepared = prepared_for(member.description)
            outputs, shortage = _outputs(member, predictor, backend, prepared, part, loaded=number == 0)
        except (ShortageError, *OF_LIBRARIES) as error:
            if not opinions or not (isinstance(error, ShortageError) or is_shortage(error)):
                raise
            backend.free_memory()
            name = member.description.id
            warnings.append(f"Memory ran out for {name}, so the result does without it; expect a less accurate one.")
            continue
        _check_numbers(outputs, member.description, backend)
        opinions.append(Opinion(member.description, prepared, outputs))
        warnings += shortage
    return opinions, warnings


def _outputs(
    member: Checkpoint, predictor: Predictor, backend: Backend, prepared: Prepared, progress: Progress, *, loaded: bool
) -> tuple[np.ndarray, list[str]]:
    """What a network says, and warnings as of :func:`.predict`; ``loaded``: the backend has its weights."""
    where = f"{backend.device}, {backend.name} {backend.precision}"
    progress.report("load", 0.13, f"Loading {member.description.id} on {where}")
    if not loaded:
        backend.load(member)
    way = predictor.at(prepared.grid.spacing)
    return predict(way, backend, prepared.array, progress.part(0.16, 1.0), need_of(member, backend))


def _check_numbers(outputs: np.ndarray, description: Description, backend: Backend) -> None:
    """Refuse what is below every threshold, and would pass for a brain without a tumour.

    Raises:
        ExecutionError: a probability is no number.
    """
    if math.isnan(float(outputs.min())):
        remedy = "Choose another model" if backend.precision == "fp32" else "Try --precision fp32"
        raise ExecutionError(
            f"The network of {description.id} gives something that is no number (NaN): its weights are too large or of"
            " another network.",
            f"{remedy}; braintumorseg models verify tells whether its file is damaged.",
        )


def pooled(opinions: Sequence[Opinion], pooling: str) -> Sequence[Opinion]:
    """What they say together: of ``geometric`` pooling one opinion, which has the mean of their logits."""
    if pooling != "geometric" or len(opinions) < 2:
        return opinions
    softmax = opinions[0].description.activation == "softmax"
    total = np.zeros_like(opinions[0].outputs)
    for opinion in opinions:
        values = np.clip(opinion.outputs, _SMALLEST, 1.0 if softmax else 1 - _SMALLEST)
        total += np.log(values)
        if not softmax:
            total -= np.log1p(-values)
    total /= len(opinions)
    return [replace(opinions[0], outputs=activated(total[None], opinions[0].description.activation)[0])]


def mean_probability(opinions: Sequence[Opinion], region: str, grid: Grid | None = None) -> np.ndarray:
    """The weighted mean of what those say that know a region, float32 on a grid, by default the reference's."""
    knowing = [opinion for opinion in opinions if region in opinion.description.regions]
    if len(knowing) == 1:
        return knowing[0].prepared.restore(knowing[0].probability(region), grid)
    total = sum(opinion.description.weight for opinion in knowing)
    means: list[tuple[Prepared, np.ndarray]] = []  # of those on one box, which go to the grid together
    for opinion in knowing:
        part = opinion.probability(region) * np.float32(opinion.description.weight / total)
        if means and means[-1][0] is opinion.prepared:
            np.add(means[-1][1], part, out=means[-1][1])
        else:
            means.append((opinion.prepared, part))
    first, *others = (prepared.restore(mean, grid) for prepared, mean in means)
    for other in others:
        first += other
    return first


def known_regions(opinions: Sequence[Opinion]) -> tuple[str, ...]:
    """Regions that some network knows."""
    return tuple(region for region in REGIONS if any(region in o.description.regions for o in opinions))


def about_resting(running: Sequence[Checkpoint], resting: Sequence[Checkpoint], given: Sequence[str]) -> list[str]:
    """Members that sat out for want of sequences."""
    found = []
    for member in resting:
        lacking = alternatives(member.description.lacking(given))
        others = listed([m.description.id for m in running])
        found.append(f"{member.description.id} needs {listed(lacking)} and sat out; the result is that of {others}.")
    return found
