"""Networks of which only the shapes are wanted, or whose weights come from a file: built without random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What fills a tensor with its first values.
_RANDOM = frozenset(
    {torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.erfinv_, torch.Tensor.bernoulli_}
    | {torch.nn.init.uniform_, torch.nn.init.normal_, torch.nn.init.trunc_normal_, torch.nn.init.kaiming_uniform_}
    | {torch.nn.init.kaiming_normal_, torch.nn.init.xavier_uniform_, torch.nn.init.xavier_normal_}
)


class _WithoutRandomValues(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _RANDOM:
            return args[0] if args else (kwargs or {})["tensor"]
        if func is torch.linspace:  # rates from layer to layer, which constructors read back
            return func(*args, **{**(kwargs or {}), "device": "cpu"})
        return func(*args, **(kwargs or {}))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Modules that are made within have every shape, and neither memory nor values."""
    with torch.device("meta"), _WithoutRandomValues():
        yield


@contextmanager
def without_values() -> Iterator[None]:
    """Modules that are made within have memory, but no random weights: they are built several times sooner."""
    with _WithoutRandomValues():
        yield
