"""A recipe: one TOML file that drives a training run and ends up inside its checkpoint."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.domain.labels import CONVENTIONS
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.models.description import (
    Description,
    NetworkSpec,
    OutputSpec,
    PostprocessingSpec,
    PreprocessingSpec,
    TilingSpec,
    TrainingRecord,
)

from .datasets.kinds import FINDERS

OPTIMISERS = ("adamw", "adam", "sgd", "nadam")
SCHEDULES = ("cosine", "poly", "plateau")
LOSSES = ("dice_bce", "bce", "dice", "tversky", "tanimoto")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
# What a held-out fold is made of. The second one leaks: every patient of it trains, too.
PATIENTS, LEAKING_SLICES = FOLDS_OF = ("patients", "slices_of_training_patients")
# Kinds of data whose patients are stacks of slices.
_STACKS = ("lgg", "images")

_SEE = "Compare it with those in Training/recipes."

# What neither the states nor the patches of a run depend on, so it may change when the run is resumed.
_FREE = ("title", "version", "notes", "weights_licence", "storage", "tiling", "postprocessing", "init",
         "encoder_weights", "sampling.workers", "data.name", "data.folder", "data.licence", "data.validation_patients",
         "optimisation.steps", "optimisation.patience")  # fmt: skip

# What an earlier version could not say yet, it did so; where it says None, as this recipe does.
_EARLIER: dict[str, Any] = {
    "data.labels": None, "preprocessing.brain": None, "data.fold_of": PATIENTS, "monitoring.whole_slices": False,
    "monitoring.patches": 2, "monitoring.batch_measures": False, "optimisation.prior": 0.0,
    "augmentation.on_device": False, "sampling.carved": 0.0, "sampling.unenhanced": 1,
}  # fmt: skip


@dataclass(frozen=True)
class DataRecipe:
    """Which patients.

    Attributes:
        name: the data in words, for the checkpoint.
        kind: how the folder is laid out, see Training/datasets.
        folder: where the data lie; ``--data`` goes before it.
        licence: under which terms the data may be used.
        labels: label convention of the whole data set; ``auto`` decides it once, from the values of all of them.
        folds, fold: with ``fold`` ≥ 0 the training patients are cut into ``folds`` and that one is held out,
            monitors the run and decides the best state. With -1 all of them train; then nothing is chosen
            by the monitored loss, which is taken on training patients, and the last state is exported.
        fold_of: ``patients``. With ``slices_of_training_patients`` the fold is so many slices of every training
            patient, as in systems that split slices at random: patients leak into it, so what is measured there
            says nothing about new patients. Only to show what such figures are worth.
        validation_patients: how many validate where neither split.json nor folders say which; 0 is a fifth.
        training_patients: train on so many of them only, for a learning curve; more include those of fewer. 0: all.
    """

    name: str
    kind: str = "brats"
    folder: str = ""
    licence: str = ""
    labels: str = "auto"
    folds: int = 5
    fold: int = -1
    fold_of: str = PATIENTS
    validation_patients: int = 0
    training_patients: int = 0


@dataclass(frozen=True)
class SamplingRecipe:
    """How patches are drawn.

    Attributes:
        patch: ``(z, y, x)``, or ``(y, x)`` for slices.
        batch: patches a step and process.
        foreground: share of patches that are centred on tumour.
        carved: share of patches that get another patient's tumour (CarveMix, Training/datasets/carving.py).
        unenhanced: how often a patient counts whose tumour hardly enhances, or does not.
        workers: processes that load and augment.
    """

    patch: tuple[int, ...]
    batch: int = 1
    foreground: float = 0.67
    carved: float = 0.0
    unenhanced: int = 1
    workers: int = 1


@dataclass(frozen=True)
class AugmentationRecipe:
    """Probability of each augmentation (strengths as nnU-Net has them, Isensee 2021).

    Attributes:
        mirror: along all axes, each with probability 0.5.
        channel_wise: brightness differs between the sequences of a patch.
        bias_field: each sequence is brighter here and darker there, by about 15 %; for z-scored images.
        missing: optional sequences are left out, as many as are chosen at random, at least one of all stays.
        kept: sequences that are left out four times less readily than the others.
        on_device: done by the process that trains, on its device, not by the workers: for volumes on a GPU, which
            would wait for the processors. On Apple's GPUs the workers do it all the same.
    """

    mirror: bool = True
    affine: float = 0.2
    noise: float = 0.1
    blur: float = 0.1
    brightness: float = 0.15
    contrast: float = 0.15
    gamma: float = 0.15
    low_resolution: float = 0.1
    channel_wise: bool = False
    bias_field: float = 0.0
    missing: float = 0.0
    kept: tuple[str, ...] = ()
    on_device: bool = False


@dataclass(frozen=True)
class OptimisationRecipe:
    """How weights are found.

    Attributes:
        steps: optimiser steps in all; ``interval`` of them lie between two validations.
        schedule: ``cosine``, ``poly`` (exponent 0.9) or ``plateau``, after a linear warm-up over ``warmup`` of all
            steps.
        plateau_factor, plateau_patience: by how much ``plateau`` reduces the learning rate when the loss has not
            fallen for more than so many intervals: the monitored loss where a fold is held out, else the training
            loss, since the monitored one is then of a few training patches.
        loss: ``dice_bce``, ``bce``, ``dice``, ``tversky`` or ``tanimoto``, see Training/losses.py.
        weights: output → how much its part of the loss counts, 1 for others: Dice gives a rare tissue as much as a
            frequent one, cross-entropy next to nothing.
        ema: decay of the exponential moving average of the weights, lower in the first steps; 0 switches it off.
        clip: largest norm of the gradient; 0 switches it off.
        hold_statistics: batch normalisation keeps the means and variances that it came with, so that a patch is treated
            alike in training and in use, whatever else is in its batch. For going on from weights (``init``).
        precision: Lightning's name, or ``auto``: half precision where the processor computes in it, else fp32.
        patience: validations without improvement that end the run; 0 never. Needs a held-out fold.
        prior: probability of every output that a fresh network begins with (Lin 2017, arXiv 1708.02002, section 4.1),
            by the biases of its last convolutions; 0 leaves them as they are. Tumour is rare: from an even guess a low
            learning rate needs thousands of steps until what is far from it is improbable.
    """

    steps: int = 1000
    interval: int = 100
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    minimum_learning_rate: float = 0.0
    weight_decay: float = 1e-5
    schedule: str = "cosine"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    warmup: float = 0.1
    loss: str = "dice_bce"
    weights: Mapping[str, float] = field(default_factory=dict)
    ema: float = 0.99
    clip: float = 12.0
    precision: str = "auto"
    patience: int = 0
    hold_statistics: bool = False
    prior: float = 0.0


@dataclass(frozen=True)
class MonitoringRecipe:
    """What a run is judged by after every interval.

    Attributes:
        patches: so many of each of at most eight monitored patients, all on tumour.
        whole_slices: instead, every slice of every monitored patient of which something is known, with or without
            tumour, in an order that mixes the patients.
        batch_measures: also log soft Dice and IoU of whole batches and the accuracy of their pixels, in training and
            on what is monitored, as many published systems print them (Training/batch_measures.py).
    """

    patches: int = 2
    whole_slices: bool = False
    batch_measures: bool = False


@dataclass(frozen=True)
class Recipe:
    """All of a training run.

    ``init`` says which weights the run starts from: id or file of a checkpoint, or the recipe (a TOML file beside this
    one) that makes it. ``encoder_weights`` is a file of weights that the encoder alone starts from, such as those that
    it learnt on photographs (Training/pretrained.py).
    """

    id: str
    title: str
    dimensions: int
    network: NetworkSpec
    data: DataRecipe
    sampling: SamplingRecipe
    outputs: tuple[OutputSpec, ...]
    tiling: TilingSpec
    modalities: tuple[str, ...] = MODALITIES
    optional_modalities: tuple[str, ...] = ()
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    postprocessing: PostprocessingSpec = PostprocessingSpec()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    optimisation: OptimisationRecipe = OptimisationRecipe()
    monitoring: MonitoringRecipe = MonitoringRecipe()
    version: str = "1"
    seed: int = 1
    init: str = ""
    encoder_weights: str = ""
    weights_licence: str = "Apache-2.0"
    storage: str = "fp16"
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise RequestError(f"Recipe {self.id}: {'; '.join(problems)}.", _SEE)
        try:
            self.describe(TrainingRecord())  # now rather than when the run is over
        except CheckpointError as error:
            raise RequestError(f"Recipe {self.id}: {error}", _SEE) from error

    @property
    def epochs(self) -> int:
        """Validation intervals of the run; Lightning's epochs."""
        return self.optimisation.steps // self.optimisation.interval

    def describe(self, training: TrainingRecord) -> Description:
        """The description of the checkpoint that the run makes, as yet without measured accuracy."""
        return Description(
            id=self.id,
            title=self.title,
            version=self.version,
            dimensions=self.dimensions,
            network=self.network,
            modalities=self.modalities,
            optional_modalities=self.optional_modalities,
            outputs=self.outputs,
            preprocessing=self.preprocessing,
            tiling=self.tiling,
            postprocessing=self.postprocessing,
            training=training,
            data_licence=self.data.licence,
            weights_licence=self.weights_licence,
            storage=self.storage,
        )

    def changed_since(self, earlier: Mapping[str, Any]) -> list[str]:
        """Names of the entries that differ from an earlier recipe (as a dict) and must not within one run."""
        return differing(earlier, dataclasses.asdict(self), _FREE)


def differing(earlier: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> list[str]:
    """Dotted names of the entries in which two recipes (as dicts) differ, but for those that may, and all in them."""
    old, new = _flat(earlier), _flat(now)
    said = {name: new.get(name) if value is None else value for name, value in _EARLIER.items() if name in new}
    old = said | old
    names = (name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name))
    return [name for name in names if not any(name == entry or name.startswith(f"{entry}.") for entry in free)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _problems(r: Recipe) -> Iterator[str]:
    """What is wrong in a recipe, in words."""
    o, s, d = r.optimisation, r.sampling, r.data
    for name, value, choices in (
        ("data.kind", d.kind, FINDERS),
        ("data.labels", d.labels, ("auto", *CONVENTIONS)),
        ("data.fold_of", d.fold_of, FOLDS_OF),
        ("optimiser", o.optimiser, OPTIMISERS),
        ("schedule", o.schedule, SCHEDULES),
        ("loss", o.loss, LOSSES),
        ("precision", o.precision, PRECISIONS),
    ):
        if value not in choices:
            yield f"{name} is {value!r}, not one of {', '.join(choices)}"
    if len(s.patch) != r.dimensions or min(s.patch, default=0) < 1:
        yield f"a {r.dimensions}D network needs a {r.dimensions}D patch"
    if o.interval < 1 or o.steps < 1 or o.steps % o.interval:
        yield f"steps ({o.steps}) must be a multiple of interval ({o.interval})"
    if s.batch < 1 or min(s.workers, o.patience, o.plateau_patience) < 0:
        yield "batch must be at least 1, workers, patience and plateau_patience at least 0"
    if s.unenhanced < 1:
        yield "unenhanced must be at least 1"
    if not 0 < o.plateau_factor < 1:
        yield "plateau_factor must lie between 0 and 1"
    if not 0 <= o.minimum_learning_rate <= o.learning_rate or o.learning_rate == 0 or o.weight_decay < 0 or o.clip < 0:
        yield "learning_rate must be above 0, minimum_learning_rate between 0 and it, weight_decay and clip at least 0"
    shares = {"warmup": o.warmup, "foreground": s.foreground, "carved": s.carved, **dataclasses.asdict(r.augmentation)}
    if unknown := set(shares.pop("kept")) - {*r.optional_modalities}:
        yield f"augmentation.kept names {', '.join(sorted(unknown))}, not among optional_modalities"
    yield from (f"{name} must lie between 0 and 1" for name, value in shares.items() if not 0 <= value <= 1)
    if unknown := set(o.weights) - {output.name for output in r.outputs}:
        yield f"optimisation.weights names {', '.join(sorted(unknown))}, not among outputs"
    if min(o.weights.values(), default=1) <= 0:
        yield "optimisation.weights must be above 0"
    if not 0 <= o.ema < 1 or not 0 <= o.prior < 1:
        yield "ema and prior must be at least 0 and below 1"
    if d.folds < 2 or not -1 <= d.fold < d.folds:
        yield f"fold must be -1 or lie between 0 and {d.folds - 1}, and folds be at least 2"
    if d.fold_of == LEAKING_SLICES and (d.fold == -1 or d.kind not in _STACKS):
        yield f"fold_of {d.fold_of} needs a fold (fold is {d.fold}) and data of kind {' or '.join(_STACKS)}"
    if r.monitoring.whole_slices and r.dimensions != 2:
        yield "monitoring.whole_slices is for 2D networks"
    if r.monitoring.patches < 1:
        yield "monitoring.patches must be at least 1"
    if min(d.training_patients, d.validation_patients) < 0:
        yield "training_patients and validation_patients must be at least 0"
    if o.hold_statistics and not r.init:
        yield "hold_statistics needs init: a fresh network has no statistics to hold"
    if r.init and r.encoder_weights:
        yield "init and encoder_weights exclude each other"
    if o.patience and d.fold == -1:
        yield "patience needs a held-out fold (fold is -1, so training patients are monitored)"


def recorded(training: TrainingRecord) -> Recipe:
    """The recipe that a checkpoint was made by.

    Raises:
        RequestError: it holds none, or one of a version with other entries.
    """
    try:
        return from_json(Recipe, dict(training.recipe))
    except (TypeError, ValueError, RequestError) as error:
        raise RequestError(
            f"It holds no recipe of this version ({error}).", "Give a checkpoint that this version trained."
        ) from error


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        RequestError: the file is missing, no TOML, or has unknown, missing, mistyped or contradicting entries.
    """
    path = Path(path)
    try:
        recipe = from_json(Recipe, tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RequestError(f"Recipe {path} cannot be read ({error.strerror}).", "See Training/recipes.") from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"Recipe {path} is wrong: {error}.", _SEE) from error
    return dataclasses.replace(recipe, init=str(path.parent / recipe.init)) if recipe.init.endswith(".toml") else recipe
