"""An encoder that knows other images already: its weights from a file, so that nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError

_PREFIXES = ("module.", "encoder.", "backbone.")
_SHOWN = 3  # names in a message


def load_encoder(network: nn.Module, file: Path) -> list[str]:
    """Give the encoder of a network the weights of a file, and say what of the file was left out.

    Args:
        network: one with an ``encoder``, such as ``flexible_unet`` and ``encoders``.
        file: a state dict of that encoder, or of the classifier that it comes from, as torchvision, timm,
            segmentation-models-pytorch and MONAI publish them: ``.safetensors``, or torch's own format. Where the first
            convolution has another number of input channels, its kernels are repeated and scaled.

    Raises:
        RequestError: the file cannot be read, or the network has no encoder of its own.
        CheckpointError: the weights are of another encoder.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise RequestError("This network has no encoder to load.", "Leave encoder_weights out.")
    weights, fresh = _read(file), encoder.state_dict()
    wanted = [name for name in fresh if not name.endswith("num_batches_tracked")]
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise _foreign(file, f"it lacks {some(missing)}")
    fitted = {name: _fitted(weights[name], fresh[name]) for name in wanted}
    differing = [name for name in wanted if fitted[name].shape != fresh[name].shape]
    if differing:
        raise _foreign(file, f"{some(differing)} of other sizes")
    encoder.load_state_dict(fitted, strict=False)
    return sorted(set(weights) - set(fresh))


def _read(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, without the prefix that all of them share."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)  # tensors alone: runs no code
            state = state.get("state_dict", state)
        weights = {str(name): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    except Exception as error:  # unpickling raises anything
        raise RequestError(f"{file} holds no weights that can be read ({error}).", "Give a state dict.") from error
    for prefix in _PREFIXES:
        inner = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        weights = inner or weights
    return weights


def _fitted(weight: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A convolution's kernels for another number of input channels: repeated in turn, so that sums stay alike."""
    if weight.ndim < 3 or wanted.ndim != weight.ndim or weight.shape[1] == wanted.shape[1]:
        return weight
    if weight.shape[0] != wanted.shape[0] or weight.shape[2:] != wanted.shape[2:] or weight.shape[1] != 3:
        return weight  # not the one that sees colour images
    given, needed = weight.shape[1], wanted.shape[1]
    if needed == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, [channel % given for channel in range(needed)]] * (given / needed)


def _foreign(file: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{file} is of another encoder: {why}.", "Give weights of the recipe's encoder.")


def some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
