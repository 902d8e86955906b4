"""All that a checkpoint says of itself."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..domain.errors import CheckpointError
from ..domain.json_values import json_of
from ..domain.labels import OWN_FIRST, OWN_LAST, REGIONS, Region, own_region
from ..domain.modalities import MODALITIES
from ..domain.structure import from_json
from .limits import exceeded, wrong_value
from .quantisation import STORAGES
from .soundness import problems_of_own, problems_of_preprocessing

SCHEMA_VERSION = 6
_OWN = range(OWN_FIRST, OWN_LAST + 1)
ENSEMBLE = "ensemble"  # the network family of what has members
# What a network finds: tumours, or (label 1) the brain in an image of any sequence.
TUMOUR, BRAIN = "tumour", "brain"
ANY_SEQUENCE = "any"
AGAIN = "Download it again, or export it again from its training run."


@dataclass(frozen=True)
class NetworkSpec:
    """Which network: a key of the registry and its arguments.

    ``eight_bit``: convolution → lowest and highest value that it takes, of those that may compute in 8 bits.
    """

    family: str
    arguments: dict[str, Any] = field(default_factory=dict)
    eight_bit: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def divisor(self) -> int:
        """What the sizes of an image must be divisible by.

        Raises:
            CheckpointError: no such family.
        """
        from ..networks import family_of

        return family_of(self.family).divisor(self.arguments)

    @property
    def trial_size(self) -> int:
        """Voxels along each axis of an image on which two ways to compute the network are compared."""
        return max(2 * self.divisor, 32)


@dataclass(frozen=True)
class OutputSpec:
    """One output channel: what it says is of the union of voxel labels (BraTS 2023: 1 NCR, 2 ED, 3 ET).

    Of a softmax, the background's has none. Labels from 5 on are the model's own; ``name`` and ``colour`` (red, green,
    blue) are then those of the segment.
    """

    name: str
    labels: tuple[int, ...]
    colour: tuple[int, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it is a region of the model's own."""
        return bool(self.labels) and min(self.labels) >= OWN_FIRST


@dataclass(frozen=True)
class PreprocessingSpec:
    """The grid and intensities the network was trained on.

    ``spacing`` is ``(z, y, x)`` in mm; 2D networks use it in plane and leave ``z`` as it is where it is 0.
    ``brain`` is what the images must show: the ``extracted`` brain, or the whole ``head``; where it is not said
    (before schema 3), a ``zscore`` means the former, since it is taken over the brain. ``bias_correction`` is ``n4``
    or ``none``. ``normalisation`` is one of :data:`NORMALISATIONS`; of ``window``, ``intensities`` has for every
    modality the lowest and highest value, the mean and the standard deviation. ``interpolation`` is ``linear``,
    smoothed where the image is finer, or ``cubic``. The network sees the box around the brain and ``margin`` voxels
    around it; of -1, the whole image.
    """

    orientation: str = "LPS"
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    normalisation: str = "zscore"
    bias_correction: str = "none"
    brain: str = ""
    intensities: tuple[tuple[float, float, float, float], ...] = ()
    interpolation: str = "linear"
    margin: int = 0

    def __post_init__(self) -> None:
        if not self.brain:
            object.__setattr__(self, "brain", "extracted" if self.normalisation == "zscore" else "head")


@dataclass(frozen=True)
class TilingSpec:
    """How the network is slid.

    Attributes:
        patch: voxels ``(z, y, x)``, or ``(y, x)`` for slices (0: whole slice).
        overlap: share of a patch that its neighbour shares.
        slice_distance: mm; slices that are nearer to one another are not all run, and what is between two that are
            gets what is interpolated between them. 0: all are run.
        every_slice: names of outputs that are too fine for that: where a slice shows one, its neighbours are run, too.
        windows: ``fitted`` to the brain, where it is smaller than the patch, and slices whole; or exactly of the patch,
            slices cut into windows, too, with their logits averaged, as ``monai`` or as ``nnunet`` lay and weight them.
        blending: weights of ``monai``'s windows, ``gaussian`` or ``constant``.
        mirrored: array axes (of ``zyx``) along which test-time augmentation mirrors.
    """

    patch: tuple[int, ...]
    overlap: float = 0.5
    slice_distance: float = 0.0
    every_slice: tuple[str, ...] = ()
    windows: str = "fitted"
    blending: str = "gaussian"
    mirrored: str = "zyx"


@dataclass(frozen=True)
class PostprocessingSpec:
    """Applied in this order to the regions on the reference grid.

    Attributes:
        thresholds: probability at and above which a voxel belongs to a region; 0.5 where not named.
        filled: regions whose holes are filled, where they are enclosed in any plane of voxels: a ring of tumour is
            closed in some slice long before it is in space, and what it encloses is tumour core.
        minimum_component_mm3: connected components of WT (26 neighbours) smaller than this are removed.
        minimum_core_mm3: connected components of WT with less TC than this are removed where another one has it: oedema
            lies round a tumour, and what else shines in T2 and FLAIR are more often lesions of another kind.
        minimum_pieces_mm3: connected pieces of TC and of ET smaller than this go to what is around them, ED and NCR.
        minimum_et_mm3: ET smaller than this in all becomes NCR: a handful of voxels is more often
            an error than a lesion, and BraTS scores a false one with 0.
        minimum_et_dice: ET of which less Dice is expected becomes NCR, before pieces are counted: a tumour that does
            not enhance had better have none. Needs a temperature of ET.
        temperatures: what a region's logits are divided by where its probabilities are given, so that a share p of the
            voxels given as p is tumour. The expected Dice of a region is given only where one is named.
    """

    thresholds: dict[str, float] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    minimum_component_mm3: float = 0.0
    minimum_core_mm3: float = 0.0
    minimum_pieces_mm3: dict[str, float] = field(default_factory=dict)
    minimum_et_mm3: float = 0.0
    minimum_et_dice: float = 0.0
    temperatures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRecord:
    """Where the weights come from."""

    data: str = ""
    training_cases: tuple[str, ...] = ()
    validation_cases: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = ""


@dataclass(frozen=True)
class AccuracyRecord:
    """A measured figure: region → mean over ``cases``, with the convention for empty masks.

    ``modalities`` are those that were given; empty stands for all that the model takes.
    """

    data: str
    cases: int
    measure: str
    convention: str
    values: dict[str, float]
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """All that a checkpoint says of itself.

    Attributes:
        storage: how the file holds the weights, see :mod:`.quantisation`.
        task: what it finds, a tumour's regions or the brain.
        members: of an ensemble, each a whole description; the probabilities of their regions are averaged. Its own
            fields are then of all together: the sequences that any member takes, the regions, what is done to the
            average; network, preprocessing and tiling stand for the leading member's.
        weight: what its probabilities count for among the members of an ensemble.
        activation: ``sigmoid`` for each output, or ``softmax`` over them; then the likeliest output has a voxel.
        pooling: how an ensemble's probabilities are averaged: ``arithmetic``, or ``geometric``, which averages logits;
            its members then have the same outputs of the same images.
    """

    id: str
    title: str
    version: str
    dimensions: int
    network: NetworkSpec
    modalities: tuple[str, ...]
    outputs: tuple[OutputSpec, ...]
    preprocessing: PreprocessingSpec
    tiling: TilingSpec
    optional_modalities: tuple[str, ...] = ()
    postprocessing: PostprocessingSpec = PostprocessingSpec()
    training: TrainingRecord = TrainingRecord()
    accuracy: tuple[AccuracyRecord, ...] = ()
    data_licence: str = ""
    weights_licence: str = ""
    intended_use: str = "For research, not for clinical use."
    storage: str = "fp16"
    task: str = TUMOUR
    members: tuple[Description, ...] = ()
    weight: float = 1.0
    activation: str = "sigmoid"
    pooling: str = "arithmetic"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise CheckpointError(f"The description of model {self.id!r} is wrong: {problems[0]}.", AGAIN)

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that the outputs determine: those with an output whose labels are all theirs."""
        return tuple(name for name in REGIONS if self.outputs_of(name))

    @property
    def own(self) -> tuple[Region, ...]:
        """Regions of the model's own."""
        found = [output for output in self.outputs if output.is_own]
        return tuple(own_region(o.name, o.labels, number, o.colour) for number, o in enumerate(found))

    @property
    def painted(self) -> dict[int, int]:
        """Channel → label for the model's own regions, outer ones first, so that inner ones are painted over them."""
        found = {i: set(output.labels) for i, output in enumerate(self.outputs) if output.is_own}
        inner = {i: set().union(*(other for other in found.values() if other < labels)) for i, labels in found.items()}
        order = sorted(found, key=lambda i: -len(found[i]))
        return {i: min(found[i] - inner[i], default=min(found[i])) for i in order}

    def outputs_of(self, region: str) -> tuple[int, ...]:
        """Channels whose union is the region.

        A region's probability is the sum over these where the outputs exclude each other, else their maximum, so
        ET ⊆ TC ⊆ WT holds by construction, for networks that predict tissue classes and for those that predict regions.
        """
        wanted = REGIONS[region].labels
        channels = tuple(i for i, o in enumerate(self.outputs) if o.labels and set(o.labels) <= wanted)
        covered = set().union(*(self.outputs[i].labels for i in channels)) if channels else set()
        return channels if covered == wanted else ()

    @property
    def exclusive(self) -> bool:
        """Whether no label belongs to two outputs, as with tissue classes: then their probabilities add up."""
        labels = [label for output in self.outputs for label in output.labels]
        return len(labels) == len(set(labels))

    @property
    def required_modalities(self) -> tuple[str, ...]:
        """Modalities without which the model does not run."""
        return tuple(name for name in self.modalities if name not in self.optional_modalities)

    def runs_on(self, given: Collection[str]) -> bool:
        """Whether these sequences are enough; of an ensemble, for any of its members."""
        return not self.lacking(given)

    def lacking(self, given: Collection[str]) -> tuple[tuple[str, ...], ...]:
        """What has to be given besides: one of each group of modalities; none where the model runs.

        Of an ensemble, what the member lacks that lacks least.
        """
        if self.members:
            return min((member.lacking(given) for member in self.members), key=len)
        if not set(self.modalities) & set(given):
            return (self.modalities,) if not self.required_modalities else tuple((m,) for m in self.required_modalities)
        return tuple((name,) for name in self.required_modalities if name not in given)

    @property
    def modality_subsets(self) -> tuple[tuple[str, ...], ...]:
        """Every set of modalities that the model runs on, the whole first, then fewer and fewer."""
        sizes = range(len(self.modalities), 0, -1)
        sets = (chosen for size in sizes for chosen in itertools.combinations(self.modalities, size))
        return tuple(chosen for chosen in sets if self.runs_on(chosen))

    def accuracy_with(self, modalities: Collection[str]) -> AccuracyRecord | None:
        """Measured Dice where just these modalities (of those that the model takes) are given."""
        given = {name for name in self.modalities if name in modalities}
        found = (r for r in self.accuracy if r.measure == "Dice" and set(r.modalities or self.modalities) == given)
        return next(found, None)


ID_RULE = "Use letters, digits, '-', '_' and '.', a letter or digit first."


def is_id(text: str) -> bool:
    """Whether a model can be called so, and its file."""
    return text[:1].isalnum() and all(c.isalnum() or c in "-_." for c in text)


def is_orientation(axes: str) -> bool:
    """Whether three letters such as ``LPS`` say how the axes of an image run."""
    return len(axes) == 3 and all(len(set(axes) & set(pair)) == 1 for pair in ("LR", "PA", "SI"))


def _problems(d: Description) -> Iterator[str]:
    """What is inconsistent in a description, in words."""
    if not is_id(d.id):
        yield "its id must be letters, digits, '-', '_' and '.', and begin with a letter or digit"
    if d.dimensions not in (2, 3):
        yield f"dimensions is {d.dimensions}, not 2 or 3"
    if d.task not in (TUMOUR, BRAIN):
        yield f"unknown task {d.task!r}"
    known = MODALITIES if d.task == TUMOUR else (ANY_SEQUENCE,)
    if not d.modalities or len(set(d.modalities)) != len(d.modalities) or not set(d.modalities) <= set(known):
        yield f"modalities must be distinct and among {', '.join(known)}"
    if not set(d.optional_modalities) <= set(d.modalities):
        yield "an optional modality is not among its modalities"
    if not d.outputs or not all(set(o.labels) <= ({*_OWN} if o.is_own else {1, 2, 3}) for o in d.outputs):
        yield f"every output needs labels among 1, 2, 3, or of its own from {OWN_FIRST} on"
    elif sum(not output.labels for output in d.outputs) != (d.activation == "softmax" and not d.members):
        yield "every output needs labels among 1, 2, 3, but for one of a softmax, the background's"
    elif d.task == TUMOUR and not d.regions and not d.own:
        yield "its outputs make up none of ET, TC, WT, and it has no labels of its own"
    yield from problems_of_own(d)
    if not is_orientation(d.preprocessing.orientation):
        yield f"orientation {d.preprocessing.orientation!r} is none"
    if d.activation not in ("sigmoid", "softmax") or (d.activation == "softmax" and not d.exclusive):
        yield f"unknown activation {d.activation!r}, or a softmax whose outputs share labels"
    yield from problems_of_preprocessing(d)
    if len(d.tiling.patch) != d.dimensions or min(d.tiling.patch) < (0 if d.dimensions == 2 else 1):
        yield f"its patch {d.tiling.patch} does not fit {d.dimensions} dimensions"
    if not 0 <= d.tiling.overlap < 1:
        yield f"overlap is {d.tiling.overlap:g}, not at least 0 and below 1"
    if d.tiling.slice_distance and d.dimensions != 2:
        yield f"it has a slice distance, with {d.dimensions} dimensions"
    if unknown := set(d.tiling.every_slice).difference(output.name for output in d.outputs):
        yield f"it wants every slice of {sorted(unknown)}, which is no output"
    if not all(low <= 0 < high for low, high in d.network.eight_bit.values()):
        yield "what a convolution takes in 8 bits does not span 0"
    if d.weight <= 0:
        yield f"its weight {d.weight:g} is not above 0"
    if d.tiling.windows not in ("fitted", "monai", "nnunet") or d.tiling.blending not in ("gaussian", "constant"):
        yield f"unknown windows {d.tiling.windows!r} or blending {d.tiling.blending!r}"
    if d.tiling.windows != "fitted" and min(d.tiling.patch) < 1:
        yield "its windows need a patch"
    if d.tiling.windows == "fitted" and d.activation == "softmax" and not d.members:
        yield "a softmax needs windows of another program"
    if not set(d.tiling.mirrored) <= set("zyx") or len(set(d.tiling.mirrored)) != len(d.tiling.mirrored):
        yield f"it mirrors along {d.tiling.mirrored!r}, which are no axes"
    yield from _problems_of_members(d)
    q = d.postprocessing
    if not set(q.minimum_pieces_mm3) <= {"TC", "ET"}:
        yield "minimum_pieces_mm3 is of TC and ET alone"
    if not {*q.thresholds, *q.filled, *q.temperatures} <= set(REGIONS):
        yield "a threshold, filling or temperature names no region"
    if not all(value > 0 for value in q.temperatures.values()):
        yield "a temperature is not above 0"
    if not 0 <= q.minimum_et_dice < 1 or (q.minimum_et_dice and "ET" not in q.temperatures):
        yield "minimum_et_dice is not at least 0 and below 1, or ET has no temperature"
    if d.storage not in STORAGES:
        yield f"unknown storage {d.storage!r}"
    if not all(0 < value <= 1 for value in q.thresholds.values()):
        yield "a threshold is not above 0 and at most 1"
    yield from _problems_of_accuracy(d)
    yield from exceeded(d)


def _problems_of_accuracy(d: Description) -> Iterator[str]:
    if d.task == TUMOUR and not all(set(record.values) <= set(REGIONS) for record in d.accuracy):
        yield f"its accuracy names other regions than {', '.join(REGIONS)}"
    if not all(set(record.modalities) <= set(d.modalities) for record in d.accuracy):
        yield "its accuracy names a modality that it does not take"


def _problems_of_members(d: Description) -> Iterator[str]:
    if bool(d.members) != (d.network.family == ENSEMBLE):
        yield "an ensemble has members, and nothing else has"
    if len(d.members) == 1 or any(member.members for member in d.members):
        yield "an ensemble has at least two members, which have none themselves"
    if d.pooling not in ("arithmetic", "geometric"):
        yield f"unknown pooling {d.pooling!r}"
    alike = {(m.modalities, m.outputs, m.activation, m.preprocessing) for m in d.members}
    if d.pooling == "geometric" and len(alike) != 1:
        yield "its members are averaged geometrically, but do not have the same outputs of the same images"
    if d.members and set(d.modalities) != set().union(*(member.modalities for member in d.members)):
        yield "its modalities are not those of its members"
    if d.members and not set(d.regions) <= set().union(*(member.regions for member in d.members)):
        yield "a region is known to none of its members"


def parse_description(text: str, source: str) -> Description:
    """A validated description from its JSON text.

    Raises:
        CheckpointError: not JSON, a newer schema, missing or mistyped fields.
    """
    values = read_json(text, source)
    problem = wrong_value(values)
    if problem:
        raise CheckpointError(f"{source} has a wrong description: {problem}.", AGAIN)
    try:
        return from_json(Description, values)
    except CheckpointError as error:
        raise CheckpointError(f"{source} cannot be used. {error}", error.remedy) from error
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{source} has a wrong description ({error}).", AGAIN) from error


def read_json(text: str, source: str) -> dict[str, Any]:
    """The values of a description of a schema that this program knows."""
    try:
        values = json_of(text)
    except ValueError as error:
        raise CheckpointError(f"{source} is damaged: its description is no JSON.", AGAIN) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{source} does not say its schema version.", AGAIN)
    if version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{source} has schema version {version}, and this program knows up to {SCHEMA_VERSION}.",
            "Update BrainTumorSeg.",
        )
    return values
