"""What MONAI's configurations say of networks, transforms and windows, as this program says it; for both importers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..checkpoint_file import save_checkpoint
from ..description import Description, NetworkSpec
from .foreign_files import Fields
from .self_check import check_written

if TYPE_CHECKING:
    import torch

_OTHERS = "Only what a checkpoint can say of itself is taken over; see docs/how-to/bring-your-own-model.md."
_COMMON = {
    "_target_",
    "in_channels",
    "out_channels",
    "spatial_dims",
    "init_filters",
    "blocks_down",
    "blocks_up",
    "norm",
}


def refused(where: str, what: str) -> CheckpointError:
    """The error that names the first thing that cannot be said here."""
    return CheckpointError(f"{where} {what}, which is not known here.", _OTHERS)


def network_of(n: Fields) -> tuple[NetworkSpec, int, int, int]:
    """The network of a definition with ``_target_``: it, its dimensions, channels and outputs.

    Raises:
        CheckpointError: it is another than SegResNet and SegResNetDS, or has an argument that changes what it gives.
    """
    kind = n.text("_target_").rpartition(".")[2]
    if kind not in ("SegResNet", "SegResNetDS"):
        raise refused(n.where, f"has the network {kind[:80]!r}")
    known = _COMMON | ({"dropout_prob"} if kind == "SegResNet" else {"dsdepth"})
    for key, value in n.values.items():
        if key not in known and value is not None and not _is_default(kind, key, value):
            raise refused(n.where, f"has a network with {key}={str(value)[:60]!r}")
    ds = kind == "SegResNetDS"
    down = n.counts("blocks_down") if "blocks_down" in n else [1, 2, 2, 4]
    up = n.counts("blocks_up") if "blocks_up" in n else [1] * (len(down) - 1)
    norm = _norm(n, "batch" if ds else "group")
    arguments: dict[str, Any] = {
        "width": int(n.number("init_filters", 32 if ds else 8)),
        "blocks_down": down,
        "blocks_up": up,
        "norm": norm,
    }
    family = "segresnet_ds" if ds else "segresnet"
    counts = (n.number("spatial_dims", 3), n.number("in_channels", 1), n.number("out_channels", 2))
    dimensions, channels, outputs = (int(count) for count in counts)
    return NetworkSpec(family, arguments), dimensions, channels, outputs


def _is_default(kind: str, key: str, value: Any) -> bool:
    name = value[0] if isinstance(value, list | tuple) and value else value
    if key == "act":
        return str(name).lower() == "relu"
    if key == "upsample_mode":
        return str(value).lower().rpartition(".")[2] == ("nontrainable" if kind == "SegResNet" else "deconv")
    return key == "use_conv_final" and value is True


def _norm(n: Fields, default: str) -> str:
    """``group``, ``batch`` or ``instance``."""
    value = n.values.get("norm") or default
    name, options = (value, {}) if isinstance(value, str) else (value[0], value[1] if len(value) > 1 else {})
    name = str(name).lower()
    if name in ("batch", "instance", "instance_nvfuser") and (not options or options == {"affine": True}):
        return "instance" if name.startswith("instance") else "batch"
    if name == "group" and (not options or options == {"num_groups": 8}):
        return "group"
    raise refused(n.where, f"has a network with norm={str(value)[:60]!r}")


def write_checked(
    d: Description, weights: Mapping[str, torch.Tensor], counts: tuple[int, int], folder: Path, progress: Progress
) -> Path:
    """Write a checkpoint file, and compare it with MONAI's own network.

    Args:
        d: of the model.
        weights: of MONAI's network.
        counts: its channels and outputs.
        folder: where the file goes.
        progress: hears how far the comparison is.

    Raises:
        CheckpointError: the weights do not fit the network, or both give different probabilities.
    """
    state = without_module(weights)
    original = original_of(d.network, d.dimensions, *counts, state)
    written = folder / f"{d.id}.safetensors"
    save_checkpoint(d, without_supervision(state, d.network) if d.network.family == "segresnet_ds" else state, written)
    check_written(written, [original], progress)
    return written


def original_of(
    network: NetworkSpec, dimensions: int, channels: int, outputs: int, state: Mapping[str, torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """MONAI's own network with these weights, as its bundle or checkpoint builds it.

    Raises:
        CheckpointError: the weights do not fit it.
    """
    from monai.networks.nets import SegResNet, SegResNetDS

    a = network.arguments
    norms: dict[str, Any] = {"group": ("GROUP", {"num_groups": 8}), "batch": "BATCH", "instance": "INSTANCE"}
    common: dict[str, Any] = {
        "spatial_dims": dimensions,
        "init_filters": a["width"],
        "in_channels": channels,
        "out_channels": outputs,
        "norm": norms[a["norm"]],
        "blocks_down": a["blocks_down"],
        "blocks_up": a["blocks_up"],
    }
    heads = sum(name.endswith(".head.weight") for name in state)
    try:
        ds = network.family == "segresnet_ds"
        net = SegResNetDS(**common, dsdepth=max(heads, 1)) if ds else SegResNet(**common)
        net.load_state_dict(dict(state))
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NotImplementedError) as error:
        first = str(error).strip().splitlines()
        raise CheckpointError(
            f"The weights do not fit the network {network.family} ({(first or ['?'])[-1].strip()[:160]}).",
            "Export it again with the program that made it.",
        ) from error
    return net.eval().float()


def without_supervision(state: Mapping[str, Any], network: NetworkSpec) -> dict[str, Any]:
    """The weights without the outputs of deep supervision, which only training uses."""
    last = f"up_layers.{len(network.arguments['blocks_down']) - 2}.head."
    return {name: tensor for name, tensor in state.items() if ".head." not in name or name.startswith(last)}


def without_module(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights under their own names, where they were saved from several GPUs."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
