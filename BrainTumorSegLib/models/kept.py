"""The model of the last run, kept with its networks for the next one, in a process that carries out several."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .catalogue import find, load_model
from .checkpoint_file import Checkpoint

if TYPE_CHECKING:
    from torch import nn


_T = TypeVar("_T")


class KeptCheckpoint(Checkpoint):
    """A checkpoint that is there for several runs, with what was made of it for the first."""

    @property
    def members(self) -> tuple[Checkpoint, ...]:
        """See :attr:`.Checkpoint.members`: the same ones each time."""
        return self._members if self.description.members else (self,)

    @cached_property
    def _members(self) -> tuple[Checkpoint, ...]:
        return super().members

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}

    def once(self, what: str, make: Callable[[], _T]) -> _T:
        """What is made of it by this name, made when it is first asked for."""
        if what not in self._made:
            self._made[what] = make()
        made: _T = self._made[what]
        return made

    def build(self) -> nn.Module:
        """A network of its own for each that asks, which may move and convert it; the weights lie in memory once."""
        return _sharing(self.once("network", super().build))


class _Shelf:
    """Room for one model.

    Attributes:
        is_used: whether anything is kept.
    """

    is_used = False
    _key: tuple[Any, ...] = ()
    _checkpoint: KeptCheckpoint | None = None

    def load(self, model: str | Path) -> Checkpoint:
        found = find(model)
        facts = found.path.stat()
        file = (found.path.absolute(), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        key = (*file, found.description.id)
        if self._checkpoint is None or key != self._key:
            self._checkpoint = None  # the old one makes room first
            loaded = load_model(model)
            self._key, self._checkpoint = (
                key,
                KeptCheckpoint(loaded.description, loaded.weights, loaded.digest, loaded.path),
            )
        return self._checkpoint


_shelf = _Shelf()


def keep_models() -> None:
    """From now on keep the model that was loaded last."""
    _shelf.is_used = True


def load_kept(model: str | Path) -> Checkpoint:
    """As :func:`.catalogue.load_model`; where models are kept, the one of before if its file is the same as then.

    Raises:
        CheckpointError: unknown, damaged, foreign, too new, or not for tumours.
    """
    return _shelf.load(model) if _shelf.is_used else load_model(model)


def once(checkpoint: Checkpoint, what: str, make: Callable[[], _T]) -> _T:
    """What is made of a checkpoint for a run, and kept with it where it is kept, as what a backend compiles."""
    return checkpoint.once(what, make) if isinstance(checkpoint, KeptCheckpoint) else make()


def _sharing(network: nn.Module) -> nn.Module:
    """A copy that can be moved and converted without the original, over the same weights."""
    from torch import nn

    weights: dict[int, Any] = {id(p): nn.Parameter(p.data, requires_grad=False) for p in network.parameters()}
    weights |= {id(buffer): buffer for buffer in network.buffers()}
    return copy.deepcopy(network, weights)
