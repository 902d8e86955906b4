"""A checkpoint: one ``.safetensors`` file that says all of itself.

The file's metadata holds two texts: ``braintumorseg``, the description as JSON (the dataclasses below), and
``sha256``, a digest over the description, the tensor table and every weight byte. A file in which any of these
changed, or a byte was lost or added, is refused. Loading never unpickles.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..domain.errors import CheckpointError
from ..domain.shortage import check_addresses
from .description import AGAIN, SCHEMA_VERSION, Description, parse_description, read_json
from .quantisation import SCALE, pack, unpack, unpacked
from .tensor_file import DESCRIPTION_KEY, DIGEST_KEY, StoredTensor, TensorFile, opened, read_header

if TYPE_CHECKING:
    import torch
    from torch import nn

_T = TypeVar("_T")


class StoredWeights(Mapping[str, "torch.Tensor"]):
    """The weights of a file whose bytes were verified: name → tensor.

    They are compared with the network that takes them, then read and unpacked, when they are first looked at, since a
    backend that has converted them before needs none of it.

    Attributes:
        identity: names these very weights, whatever file they are in.
        shapes: of the weights, as the file's header has them.
    """

    def __init__(self, description: Description, header: TensorFile, path: Path) -> None:
        self.identity = header.digest
        scales = {name + SCALE for name in header.tensors}
        self.shapes = {name: tensor.shape for name, tensor in header.tensors.items() if name not in scales}
        self._description, self._header, self._path = description, header, path

    @functools.cached_property
    def _tensors(self) -> dict[str, torch.Tensor]:
        check_addresses()
        check_fit(self._description, self._header.tensors)

        from safetensors import SafetensorError
        from safetensors.torch import load

        with opened(self._path) as file:
            content = file.read()
        if self._header.digest_of(io.BytesIO(content)) != self.identity:
            raise CheckpointError(f"{self._path} was changed while it was in use.", "Start again.")
        try:
            return unpack(load(content))
        except SafetensorError as error:
            raise CheckpointError(f"{self._path} is damaged ({error}).", AGAIN) from error

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class MemberWeights(Mapping[str, "torch.Tensor"]):
    """Those weights of an ensemble's that are one member's, under their own names."""

    def __init__(self, whole: StoredWeights, number: int) -> None:
        self.identity = f"{whole.identity}-{number}"
        self._whole, self._prefix = whole, f"{number}."
        self.shapes = _without_prefix(whole.shapes, self._prefix)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._whole[f"{self._prefix}{name}"]

    def __iter__(self) -> Iterator[str]:
        return iter(_without_prefix(self._whole, self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Checkpoint:
    """A description and its weights (name → tensor, usually fp16)."""

    description: Description
    weights: Mapping[str, torch.Tensor] = field(repr=False)
    digest: str = ""
    path: Path | None = None

    @property
    def identity(self) -> str:
        """Names the weights, for what is made of them once and kept; empty where they come from no file."""
        return self.weights.identity if isinstance(self.weights, StoredWeights | MemberWeights) else ""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the weights, by name; those in a file are not read for it."""
        if isinstance(self.weights, StoredWeights | MemberWeights):
            return self.weights.shapes
        return {name: tuple(tensor.shape) for name, tensor in self.weights.items()}

    @property
    def members(self) -> tuple[Checkpoint, ...]:
        """What runs: the members of an ensemble, each with its own weights, else this checkpoint alone."""
        if not self.description.members:
            return (self,)
        return tuple(
            dataclasses.replace(self, description=d, weights=self._weights_of(number))
            for number, d in enumerate(self.description.members)
        )

    def _weights_of(self, number: int) -> Mapping[str, torch.Tensor]:
        if isinstance(self.weights, StoredWeights):
            return MemberWeights(self.weights, number)
        return _without_prefix(self.weights, f"{number}.")

    def check_fit(self) -> None:
        """Compare the weights with the network that takes them.

        Raises:
            CheckpointError: the network cannot be built, or its weights are others.
        """
        len(self.weights)

    def check(self) -> None:
        """Build every network once.

        Raises:
            CheckpointError: as :meth:`build`.
        """
        for member in self.members:
            member.build()

    def build(self) -> nn.Module:
        """The network with these weights in fp32, in evaluation mode; of an ensemble, see :attr:`members`.

        Raises:
            CheckpointError: unknown network, or weights that do not fit it or are not finite.
        """
        import torch

        from ..networks.outline import without_values

        d = self.description
        with without_values():
            network = _network(d)
        floats = {name: t.float() if t.is_floating_point() else t for name, t in self.weights.items()}
        broken = [name for name, tensor in floats.items() if not torch.isfinite(tensor).all()]
        if broken:
            raise CheckpointError(f"Weight {broken[0]} of {d.id} is not finite.", AGAIN)
        try:
            network.load_state_dict(_completed(floats, network))
        except RuntimeError as error:
            raise CheckpointError(f"The weights of {d.id} do not fit its network {d.network.family}.", AGAIN) from error
        return network.eval().requires_grad_(False).to(torch.float32)


def _network(d: Description) -> nn.Module:
    from ..networks import create_network

    return create_network(
        d.network.family,
        dimensions=d.dimensions,
        in_channels=len(d.modalities),
        out_channels=len(d.outputs),
        arguments=d.network.arguments,
    )


def save_checkpoint(description: Description, weights: Mapping[str, torch.Tensor], path: Path | str) -> Path:
    """Write a checkpoint, of this program's schema version, weights as the description's ``storage`` says.

    Raises:
        CheckpointError: a weight is not finite, or does not fit fp16.
    """
    from safetensors.torch import save

    from ..io.staging import atomic

    stored = _stored(description, weights)
    description = dataclasses.replace(description, schema_version=SCHEMA_VERSION)
    text = json.dumps(dataclasses.asdict(description), ensure_ascii=True, sort_keys=True)
    draft = io.BytesIO(save(stored, metadata={DESCRIPTION_KEY: text}))
    metadata = {DESCRIPTION_KEY: text, DIGEST_KEY: read_header(draft, "The new checkpoint").digest_of(draft)}
    path = Path(path)
    with atomic(path) as part:
        part.write_bytes(save(stored, metadata=metadata))
    return path


def _stored(description: Description, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name → tensor as stored, of an ensemble each member's in its own way and with its number before the name."""
    if not description.members:
        return pack(_distinct(weights), description.storage)
    return {
        f"{number}.{name}": tensor
        for number, member in enumerate(description.members)
        for name, tensor in pack(_distinct(_without_prefix(weights, f"{number}.")), member.storage).items()
    }


def _without_prefix(weights: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint and verify every byte of it.

    Its tensors are compared with the network that it describes when they are first looked at, before memory is taken
    for either: :meth:`Checkpoint.check_fit`.

    Raises:
        CheckpointError: missing, truncated, changed, a pickle, foreign, or of a newer schema.
    """
    path = Path(path)
    source = str(path)
    with opened(path) as file:
        header = read_header(file, source)
        read_json(header.description, source)  # a newer schema may have another digest: it is said first
        if header.digest != header.digest_of(file):
            raise CheckpointError(f"{path} is damaged: its digest does not match.", AGAIN)
        description = parse_description(header.description, source)
    return Checkpoint(description, StoredWeights(description, header, path), header.digest, path)


def check_fit(description: Description, tensors: Mapping[str, StoredTensor]) -> None:
    """Compare the tensors of a file with the network that takes them, or each member's.

    Raises:
        CheckpointError: the network cannot be built, or its weights are others.
    """
    if not description.members:
        return _check_fit(description, unpacked(tensors))
    numbered = {name.partition(".")[0] for name in tensors}
    if numbered != {str(number) for number in range(len(description.members))}:
        raise CheckpointError(f"The weights of {description.id} are not those of its members.", AGAIN)
    for number, member in enumerate(description.members):
        _check_fit(member, unpacked(_without_prefix(tensors, f"{number}.")))


def _check_fit(d: Description, given: Mapping[str, StoredTensor]) -> None:
    from ..networks.outline import shapes_only

    with shapes_only():
        wanted = _network(d).state_dict(keep_vars=True)
    kept = {id(wanted[name]) for name in given if name in wanted}
    unlike = [
        name
        for name, tensor in given.items()
        if name not in wanted
        or tuple(wanted[name].shape) != tensor.shape
        or wanted[name].is_floating_point() != tensor.is_float
    ]
    unlike += [name for name, tensor in wanted.items() if id(tensor) not in kept]  # a second name is stored once
    if unlike:
        raise CheckpointError(
            f"The weights of {d.id} do not fit its network {d.network.family} ({unlike[0][:80]!r}).", AGAIN
        )


def read_description(path: Path | str) -> Description:
    """The description alone, without the weights and without verifying them."""
    path = Path(path)
    with opened(path) as file:
        header = read_header(file, str(path))
    return parse_description(header.description, str(path))


def _distinct(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights without those that are another one under a second name, as some networks of MONAI have them."""
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in weights.items():
        # An empty tensor lies nowhere.
        first.setdefault((tensor.data_ptr(), *tensor.shape) if tensor.numel() else (name,), name)
    return {name: weights[name] for name in first.values()}


def _completed(weights: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights with those that the network has under a second name, and that were stored once."""
    fresh = network.state_dict()
    known = {fresh[name].data_ptr(): tensor for name, tensor in weights.items() if name in fresh}
    second = {name: known[t.data_ptr()] for name, t in fresh.items() if t.numel() and t.data_ptr() in known}
    return {**second, **weights}
