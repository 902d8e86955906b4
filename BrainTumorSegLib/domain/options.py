"""The options of a run: one record, filled alike by the command line, the panel and scripts."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import RequestError
from .labels import WRITABLE
from .modalities import MODALITIES

DEFAULT_MODEL = "brats-segresnet"
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PREPROCESSING = ("auto", "none")


def _option(default: Any, about: str, **more: Any) -> Any:
    """A field with what its option on the command line is called and how it is explained."""
    return dataclasses.field(default=default, metadata={"help": about, **more})


@dataclass(frozen=True)
class RunOptions:
    """How a case is segmented.

    Attributes:
        model: id of an installed model, or a file.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        tta: test-time augmentation, the mean over all mirrorings: slower by 8 (3D) or 4 (2D), a little more accurate.
        preprocess: ``auto``; ``none`` leaves out what changes the images themselves (the bias field stays in them).
        reference: sequence whose grid carries the result; empty for the first of T1ce, T1, FLAIR, T2 that is given.
        labels: label convention of the written label map.
    """

    model: str = _option(DEFAULT_MODEL, f"default: {DEFAULT_MODEL}", metavar="ID|FILE")
    device: str = _option("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = _option("auto", "half precision is faster where the hardware computes in it", choices=PRECISIONS)
    tta: bool = _option(False, "average over mirrorings: slower, a little more accurate")
    preprocess: str = _option("auto", "none: take the images as they are", choices=(*PREPROCESSING, "register"))
    reference: str = _option("", "sequence whose grid carries the result", choices=MODALITIES)
    labels: str = _option("brats2023", "label convention of the output", choices=WRITABLE)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata.get("choices")
            if choices and value and value not in choices:
                raise RequestError(f"Unknown {field.name} {value!r}.", f"Choose one of {', '.join(choices)}.")
        if self.preprocess == "register":
            raise RequestError("--preprocess register is not there yet.", "Register the images first, or leave it out.")

    def arguments(self) -> list[str]:
        """What the command line has to be given for these options; those at their defaults are left out."""
        return [part for field in dataclasses.fields(self) for part in self._argument(field)]

    def _argument(self, field: dataclasses.Field[Any]) -> Iterator[str]:
        value = getattr(self, field.name)
        if value == field.default:
            return
        yield f"--{field.name}"
        if value is not True:
            yield str(value)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = ()) -> None:
        """Give a command these options."""
        for field in dataclasses.fields(cls):
            if field.name in leave_out:
                continue
            more = {name: value for name, value in field.metadata.items() if value is not None}
            if isinstance(field.default, bool):
                parser.add_argument(f"--{field.name}", action="store_true", **more)
            else:
                parser.add_argument(f"--{field.name}", default=field.default or None, **more)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> RunOptions:
        """The options among parsed arguments.

        Raises:
            RequestError: a value cannot be had.
        """
        given = {field.name: getattr(arguments, field.name, None) for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})
