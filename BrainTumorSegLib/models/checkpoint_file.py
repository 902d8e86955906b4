"""A checkpoint: one ``.safetensors`` file that says all of itself.

The file's metadata holds two texts: ``braintumorseg``, the description as JSON (the dataclasses below), and
``sha256``, a digest over the description, the tensor table and every weight byte. A file in which any of these
changed, or a byte was lost or added, is refused. Loading never unpickles.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import CheckpointError
from .description import AGAIN, SCHEMA_VERSION, Description, parse_description, read_json
from .quantisation import pack, unpack

if TYPE_CHECKING:
    import torch
    from torch import nn

_DESCRIPTION_KEY = "braintumorseg"
_DIGEST_KEY = "sha256"


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

        from ..networks import create_network

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
            raise CheckpointError(f"Weight {broken[0]} of {d.id} is not finite.", AGAIN)
        try:
            network.load_state_dict(_completed(floats, network))
        except RuntimeError as error:
            raise CheckpointError(f"The weights of {d.id} do not fit its network {d.network.family}.", AGAIN) from error
        return network.eval().requires_grad_(False).to(torch.float32)


def save_checkpoint(description: Description, weights: Mapping[str, torch.Tensor], path: Path | str) -> Path:
    """Write a checkpoint, of this program's schema version, weights as the description's ``storage`` says.

    Raises:
        CheckpointError: a weight is not finite, or does not fit fp16.
    """
    from safetensors.torch import save

    from ..io.staging import atomic

    stored = pack(_distinct(weights), description.storage)
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
    read_json(metadata[_DESCRIPTION_KEY], str(path))  # a newer schema may have another digest: it is said first
    if metadata.get(_DIGEST_KEY) != _digest(header, body):
        raise CheckpointError(f"{path} is damaged: its digest does not match.", AGAIN)
    description = parse_description(metadata[_DESCRIPTION_KEY], str(path))
    try:
        weights = unpack(load(content))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}).", AGAIN) from error
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
        raise CheckpointError(f"{source} is truncated or no checkpoint.", AGAIN)
    return size


def _header(text: bytes, source: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is damaged or no checkpoint.", AGAIN) from error
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
