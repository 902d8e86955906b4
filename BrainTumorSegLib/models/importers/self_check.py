"""An importer's last step: what it wrote gives what the original gives, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..checkpoint_file import Checkpoint, load_checkpoint

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-3  # of probabilities, in fp32


def check_member(member: Checkpoint, original: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Run one tile through the network as its file describes it, and through the original's operations.

    Args:
        member: of a file that was written, with one network.
        original: images ``(1, C, …)`` → logits ``(1, outputs, …)``.

    Raises:
        CheckpointError: their probabilities differ by more than :data:`TOLERANCE`.
    """
    import torch

    d = member.description
    network = member.build()
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tile = torch.randn(1, len(d.modalities), *[d.network.trial_size] * d.dimensions)
        apart = _distance(network(tile), original(tile), d.activation)
    if not apart <= TOLERANCE:
        raise CheckpointError(
            f"{d.id} gives something else here than where it comes from (probabilities differ by {apart:.2g}).",
            "Report this, with the program and the version that made the model.",
        )


def check_written(file: Path, originals: list[Callable[[torch.Tensor], torch.Tensor]], progress: Progress) -> None:
    """Check every member of a file, see :func:`check_member`."""
    for number, (member, original) in enumerate(zip(load_checkpoint(file).members, originals, strict=True)):
        progress.report("import", number / len(originals), "Comparing it with the original")
        check_member(member, original)


def _distance(found: torch.Tensor, wanted: torch.Tensor, activation: str) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    pair = [part.softmax(1) if activation == "softmax" else part.sigmoid() for part in (found, wanted)]
    return float((pair[0] - pair[1]).abs().max())
