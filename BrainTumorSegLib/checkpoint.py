"""A checkpoint: one ``.safetensors`` file that says all of itself.

The file's metadata holds two texts: ``braintumorseg``, the description as JSON (the dataclasses below), and
``sha256``, a digest over the description, the tensor table and every weight byte. A file in which any of these
changed, or a byte was lost or added, is refused. Loading never unpickles.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError
from .labels import REGIONS
from .modalities import MODALITIES
from .storage import STORAGES, pack, unpack
from .structure import from_json

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEMA_VERSION = 2
_DESCRIPTION_KEY = "braintumorseg"
_DIGEST_KEY = "sha256"
_AGAIN = "Download it again, or export it again from its training run."


@dataclass(frozen=True)
class NetworkSpec:
    """Which network: a key of the registry and its arguments."""

    family: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputSpec:
    """One output channel: a sigmoid for the union of voxel labels (BraTS 2023: 1 NCR, 2 ED, 3 ET)."""

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class PreprocessingSpec:
    """The grid and intensities the network was trained on.

    ``spacing`` is ``(z, y, x)`` in mm; 2D networks use it in plane and leave ``z`` as it is where it is 0.
    ``bias_correction`` is ``n4`` or ``none``, see preprocessing/bias.py.
    """

    orientation: str = "LPS"
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    normalisation: str = "zscore"
    bias_correction: str = "none"


@dataclass(frozen=True)
class TilingSpec:
    """How the network is slid: ``patch`` in voxels ``(z, y, x)``, or ``(y, x)`` for slices (0: whole slice)."""

    patch: tuple[int, ...]
    overlap: float = 0.5


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
        minimum_et_mm3: ET smaller than this in all becomes NCR: a handful of voxels is more often
            an error than a lesion, and BraTS scores a false one with 0.
        temperatures: what a region's logits are divided by where its probabilities are told, so that a share p of the
            voxels told as p is tumour. How sure the model is of a region is told only where one is named.
    """

    thresholds: dict[str, float] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    minimum_component_mm3: float = 0.0
    minimum_core_mm3: float = 0.0
    minimum_et_mm3: float = 0.0
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
    """All that a checkpoint says of itself. ``storage``: how the file holds the weights, see :mod:`.storage`."""

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
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise CheckpointError(f"The description of model {self.id!r} is wrong: {problems[0]}.", _AGAIN)

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that the outputs determine: those with an output whose labels are all theirs."""
        return tuple(name for name in REGIONS if self.outputs_of(name))

    def outputs_of(self, region: str) -> tuple[int, ...]:
        """Channels whose union is the region.

        A region's probability is the maximum over these, so ET ⊆ TC ⊆ WT holds by construction, for
        networks that predict regions and for those that predict tissue classes alike.
        """
        wanted = REGIONS[region].labels
        channels = tuple(i for i, output in enumerate(self.outputs) if set(output.labels) <= wanted)
        covered = set().union(*(self.outputs[i].labels for i in channels)) if channels else set()
        return channels if covered == wanted else ()

    @property
    def required_modalities(self) -> tuple[str, ...]:
        """Modalities without which the model does not run."""
        return tuple(name for name in self.modalities if name not in self.optional_modalities)

    @property
    def modality_subsets(self) -> tuple[tuple[str, ...], ...]:
        """Every set of modalities that the model runs on, the whole first, then fewer and fewer."""
        needed = set(self.required_modalities)
        sizes = range(len(self.modalities), 0, -1)
        sets = (chosen for size in sizes for chosen in itertools.combinations(self.modalities, size))
        return tuple(chosen for chosen in sets if needed <= set(chosen))

    def accuracy_with(self, modalities: Collection[str]) -> AccuracyRecord | None:
        """Measured Dice where just these modalities (of those that the model takes) are given."""
        given = {name for name in self.modalities if name in modalities}
        found = (r for r in self.accuracy if r.measure == "Dice" and set(r.modalities or self.modalities) == given)
        return next(found, None)


def _problems(d: Description) -> typing.Iterator[str]:
    """What is inconsistent in a description, in words."""
    if not d.id[:1].isalnum() or not all(c.isalnum() or c in "-_." for c in d.id):
        yield "its id must be letters, digits, '-', '_' and '.', and begin with a letter or digit"
    if d.dimensions not in (2, 3):
        yield f"dimensions is {d.dimensions}, not 2 or 3"
    if not d.modalities or len(set(d.modalities)) != len(d.modalities) or not set(d.modalities) <= set(MODALITIES):
        yield f"modalities must be distinct and among {', '.join(MODALITIES)}"
    if not set(d.optional_modalities) <= set(d.modalities):
        yield "an optional modality is not among its modalities"
    if not d.outputs or any(not output.labels or not set(output.labels) <= {1, 2, 3} for output in d.outputs):
        yield "every output needs labels among 1, 2, 3"
    elif not d.regions:
        yield "its outputs make up none of ET, TC, WT"
    if len(d.preprocessing.orientation) != 3 or any(
        len(set(d.preprocessing.orientation) & set(pair)) != 1 for pair in ("LR", "PA", "SI")
    ):
        yield f"orientation {d.preprocessing.orientation!r} is none"
    if d.preprocessing.normalisation not in ("zscore", "zscore_foreground", "none"):
        yield f"unknown normalisation {d.preprocessing.normalisation!r}"
    if d.preprocessing.bias_correction not in ("n4", "none"):
        yield f"unknown bias correction {d.preprocessing.bias_correction!r}"
    if min(d.preprocessing.spacing) < 0:
        yield "its spacing is negative"
    if len(d.tiling.patch) != d.dimensions or min(d.tiling.patch) < (0 if d.dimensions == 2 else 1):
        yield f"its patch {d.tiling.patch} does not fit {d.dimensions} dimensions"
    if not 0 <= d.tiling.overlap < 1:
        yield f"overlap is {d.tiling.overlap:g}, not at least 0 and below 1"
    q = d.postprocessing
    if not {*q.thresholds, *q.filled, *q.temperatures} <= set(REGIONS):
        yield "a threshold, filling or temperature names no region"
    if not all(value > 0 for value in q.temperatures.values()):
        yield "a temperature is not above 0"
    if d.storage not in STORAGES:
        yield f"unknown storage {d.storage!r}"
    if not all(0 < value <= 1 for value in q.thresholds.values()):
        yield "a threshold is not above 0 and at most 1"


@dataclass(frozen=True)
class Checkpoint:
    """A description and its weights (name → tensor, usually fp16)."""

    description: Description
    weights: Mapping[str, torch.Tensor] = field(repr=False)
    digest: str = ""
    path: Path | None = None

    def build(self) -> nn.Module:
        """The network with these weights in fp32, in evaluation mode.

        Raises:
            CheckpointError: unknown network, or weights that do not fit it or are not finite.
        """
        import torch

        from .networks import create_network

        d = self.description
        network = create_network(
            d.network.family,
            dimensions=d.dimensions,
            in_channels=len(d.modalities),
            out_channels=len(d.outputs),
            arguments=d.network.arguments,
        )
        floats = {name: t.float() if t.is_floating_point() else t for name, t in self.weights.items()}
        broken = [name for name, tensor in floats.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise CheckpointError(f"Weight {broken[0]} of {d.id} is not finite.", _AGAIN)
        try:
            network.load_state_dict(floats)
        except RuntimeError as error:
            raise CheckpointError(
                f"The weights of {d.id} do not fit its network {d.network.family}.", _AGAIN
            ) from error
        return network.eval().requires_grad_(False).to(torch.float32)


def save_checkpoint(description: Description, weights: Mapping[str, torch.Tensor], path: Path | str) -> Path:
    """Write a checkpoint, of this program's schema version, weights as the description's ``storage`` says.

    Raises:
        CheckpointError: a weight is not finite, or does not fit fp16.
    """
    from safetensors.torch import save

    from .files import atomic

    stored = pack(weights, description.storage)
    description = dataclasses.replace(description, schema_version=SCHEMA_VERSION)
    text = json.dumps(dataclasses.asdict(description), ensure_ascii=True, sort_keys=True)
    draft = save(stored, metadata={_DESCRIPTION_KEY: text})
    header, body = _split(draft, "checkpoint")
    metadata = {_DESCRIPTION_KEY: text, _DIGEST_KEY: _digest(header, body)}
    path = Path(path)
    with atomic(path) as part:
        part.write_bytes(save(stored, metadata=metadata))
    return path


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint and verify every byte of it.

    Raises:
        CheckpointError: missing, truncated, changed, a pickle, foreign, or of a newer schema.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.", "Check the path, or see: braintumorseg models.")
    content = path.read_bytes()
    header, body = _split(content, str(path))
    metadata = header["__metadata__"]
    _read_json(metadata[_DESCRIPTION_KEY], str(path))  # a newer schema may have another digest: it is told first
    if metadata.get(_DIGEST_KEY) != _digest(header, body):
        raise CheckpointError(f"{path} is damaged: its digest does not match.", _AGAIN)
    description = parse_description(metadata[_DESCRIPTION_KEY], str(path))
    try:
        weights = unpack(load(content))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}).", _AGAIN) from error
    return Checkpoint(description, weights, metadata[_DIGEST_KEY], path)


def read_description(path: Path | str) -> Description:
    """The description alone, without the weights and without verifying them."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = _header_size(file.read(9), path.stat().st_size, str(path))
            file.seek(8)
            header = _header(file.read(size), str(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).", "Check the path.") from error
    return parse_description(header["__metadata__"][_DESCRIPTION_KEY], str(path))


def _split(content: bytes, source: str) -> tuple[dict[str, Any], bytes]:
    """Header (parsed) and body of a safetensors file: 8 bytes length, JSON header, tensors."""
    size = _header_size(content[:9], len(content), source)
    return _header(content[8 : 8 + size], source), content[8 + size :]


def _header_size(start: bytes, total: int, source: str) -> int:
    """Length of the JSON header, from the first 9 bytes of a file of ``total`` bytes."""
    # The header begins with a brace; a length may by chance begin as a zip file or a pickle does.
    if start[8:] != b"{" and start.startswith((b"PK", b"\x80")):
        raise CheckpointError(
            f"{source} is a pickled PyTorch file, which can run code when it is loaded.",
            "Export it to .safetensors: see Training.",
        )
    size = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or size > total - 8:
        raise CheckpointError(f"{source} is truncated or no checkpoint.", _AGAIN)
    return size


def _header(text: bytes, source: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is damaged or no checkpoint.", _AGAIN) from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_DESCRIPTION_KEY), str):
        raise CheckpointError(f"{source} holds weights but no description of them.", "Export it with Training.")
    return header


def _digest(header: Mapping[str, Any], body: bytes) -> str:
    table = {name: entry for name, entry in header.items() if name != "__metadata__"}
    state = hashlib.sha256(header["__metadata__"][_DESCRIPTION_KEY].encode())
    state.update(json.dumps(table, sort_keys=True).encode())
    state.update(body)
    return state.hexdigest()


def parse_description(text: str, source: str) -> Description:
    """A validated description from its JSON text.

    Raises:
        CheckpointError: not JSON, a newer schema, missing or mistyped fields.
    """
    values = _read_json(text, source)
    try:
        return from_json(Description, values)
    except CheckpointError as error:
        raise CheckpointError(f"{source} cannot be used. {error}", error.remedy) from error
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source} has a wrong description ({error}).", _AGAIN) from error


def _read_json(text: str, source: str) -> dict[str, Any]:
    """The values of a description of a schema that this program knows."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is damaged: its description is no JSON.", _AGAIN) from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{source} does not say its schema version.", _AGAIN)
    if version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{source} has schema version {version}, and this program knows up to {SCHEMA_VERSION}.",
            "Update BrainTumorSeg.",
        )
    return values
