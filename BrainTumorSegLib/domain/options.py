"""How a run is made: one record, filled by scripts, the command line and the panel alike.

:data:`RunOptions`'s fields are also the table of the command line's options: what a field's ``_option`` says is what
``--help`` shows and what is accepted, wherever the record is filled.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import RequestError
from .labels import WRITABLE
from .modalities import MODALITIES

DEFAULT_MODEL = "brats-ensemble"
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
PREPROCESSINGS = ("auto", "none", "register")
BRAIN_EXTRACTIONS = ("auto", "included", "hd-bet", "synthstrip")
NATIVE = ("reference", "all")
PAGE_SUFFIXES = (".html", ".htm")

# The options of every command that runs a model.
ENGINE_OPTIONS = ("model", "device", "backend", "precision", "tta", "preprocess", "brain_extraction")


def _option(about: str, *, choices: tuple[str, ...] = (), metavar: str | None = None) -> dict[str, Any]:
    """Makes of a field the option :func:`_flag` names; ``None`` or an empty text is not given."""
    return {"about": about, "choices": choices, "metavar": metavar}


@dataclass(frozen=True)
class RunOptions:
    """How a model is run on a patient, and what is written of it.

    Attributes:
        model: id of an installed model, or a file.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        backend: what runs the network on that device: ``torch``, ``openvino``, or ``auto`` for the fastest one.
        precision: ``auto``, ``fp32``, ``bf16``, ``fp16`` or ``int8`` (8 bits, OpenVINO's alone).
        tta: test-time augmentation: average over mirrorings, slower by 8 (3D) or 4 (2D), a little more accurate.
        preprocess: ``auto``: co-registration and brain extraction where the images need them, the bias field as the
            model declares; ``register``: the same, but the images are registered and their brain is extracted whatever
            they look like; ``none``: the images are taken as they are (normalisation is the network's own and stays).
        brain_extraction: what extracts the brain; ``auto``: HD-BET where it is installed, else the included network.
        brain_mask: file with the brain on the reference's grid (not 0 inside), in place of an extraction.
        reference: the modality whose grid carries the result; empty for the usual one.
        native: ``all``: the result also on the grid of every other image, as ``<stem>_on_<modality>`` beside it.
        labels: label convention of the file that is written.
        probabilities: folder that gets a probability map a region.
        preprocessed: folder that gets the co-registered, skull-stripped images and the transforms.
        report: HTML file that gets a report with pictures.

    Raises:
        RequestError: a value is none of those that the option knows, or does not go with another; the report's name is
            that of no page.
    """

    model: str = field(default=DEFAULT_MODEL, metadata=_option(f"default: {DEFAULT_MODEL}", metavar="ID|FILE"))
    device: str = field(default="auto", metadata=_option("auto, cpu, cuda, cuda:N or mps"))
    backend: str = field(
        default="auto",
        metadata=_option("torch or openvino; auto: openvino on CPUs that have it", metavar="NAME"),
    )
    precision: str = field(default="auto", metadata=_option("of the network's arithmetic", choices=PRECISIONS))
    tta: bool = field(
        default=False,
        metadata=_option("test-time augmentation: average over mirrorings; slower, a little more accurate"),
    )
    preprocess: str = field(
        default="auto",
        metadata=_option(
            "co-registration and brain extraction; auto: where the images need them; none: they are prepared;"
            " register: always",
            choices=PREPROCESSINGS,
        ),
    )
    brain_extraction: str = field(
        default="auto",
        metadata=_option("method; auto: HD-BET where installed, else the included network", choices=BRAIN_EXTRACTIONS),
    )
    brain_mask: Path | None = field(
        default=None, metadata=_option("the brain, on the reference's grid, instead of an extraction", metavar="FILE")
    )
    reference: str = field(default="", metadata=_option("sequence whose grid carries the result", choices=MODALITIES))
    native: str = field(
        default="reference",
        metadata=_option("all: the result also on the grid of every other image, beside the output", choices=NATIVE),
    )
    labels: str = field(default="brats2023", metadata=_option("label convention of the output", choices=WRITABLE))
    probabilities: Path | None = field(
        default=None, metadata=_option("also write a probability map a region", metavar="DIR")
    )
    preprocessed: Path | None = field(
        default=None, metadata=_option("also write the co-registered, skull-stripped images", metavar="DIR")
    )
    report: Path | None = field(
        default=None, metadata=_option("also write a report with pictures", metavar="FILE.html")
    )

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value, choices = getattr(self, each.name), each.metadata["choices"]
            if choices and value and value not in choices:
                name = each.name.replace("_", " ")
                raise RequestError(f"Unknown {name} {value!r}.", f"Choose one of {', '.join(choices)}.")
        if self.preprocess == "none" and self.brain_mask:
            raise RequestError("--brain-mask does not go with --preprocess none.", "Leave one of them out.")
        if self.report:
            check_report_name(self.report)

    def arguments(self) -> list[str]:
        """The command line that gives these options; what has its default value is left out."""
        found = []
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if value != each.default:
                # In one piece, since a file's name may begin with a dash.
                found.append(_flag(each.name) if value is True else f"{_flag(each.name)}={value}")
        return found

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """The options of a parsed command line; those that its command does not have keep their defaults.

        Raises:
            RequestError: a value cannot be used.
        """
        names = [each.name for each in dataclasses.fields(cls) if hasattr(arguments, each.name)]
        return cls(**{name: getattr(arguments, name) for name in names})


def check_report_name(path: Path) -> None:
    """Refuse a name that is none of a page: a report under that of an image would take the image's place.

    Raises:
        RequestError: it ends neither in .html nor in .htm.
    """
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise RequestError(f"{path.name} is no name of a report.", f"Use a name that ends in {PAGE_SUFFIXES[0]}.")


def _flag(name: str) -> str:
    """The option of a field."""
    return f"--{name.replace('_', '-')}"


OPTION_NAMES = tuple(each.name for each in dataclasses.fields(RunOptions))


def add_options(parser: argparse.ArgumentParser, names: Iterable[str] = OPTION_NAMES) -> None:
    """Options of the command line for these fields of :class:`RunOptions`."""
    fields = {each.name: each for each in dataclasses.fields(RunOptions)}
    for name in names:
        each = fields[name]
        about, flag = each.metadata["about"], _flag(name)
        if isinstance(each.default, bool):
            parser.add_argument(flag, action="store_true", help=about)
            continue
        parser.add_argument(
            flag,
            default=each.default,
            type=str if isinstance(each.default, str) else Path,
            choices=each.metadata["choices"] or None,
            metavar=each.metadata["metavar"],
            help=about,
        )
