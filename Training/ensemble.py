"""``python -m Training.ensemble SPEC.toml --data DIR -o FILE``: average several models in one file, and measure it.

The specification (those that ship are in Training/ensembles) says which models, how much each counts, and what is done
to their average; ``--member`` names files of models that are not installed, or newer than those that are, or of
ensembles that have them as members.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.domain.labels import CONVENTIONS
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import PostprocessingSpec
from BrainTumorSegLib.models.ensemble import average_of

from .command import exit_code
from .measure import LABELS_HELP, write_measured


@dataclass(frozen=True)
class EnsembleSpec:
    """What an ensemble is made of.

    Attributes:
        members: ids or files of the models.
        weights: what each counts for; all alike where empty.
        postprocessing: of the average.
    """

    id: str
    title: str
    members: tuple[str, ...]
    version: str = "1"
    weights: tuple[float, ...] = ()
    postprocessing: PostprocessingSpec = field(default_factory=PostprocessingSpec)

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.weights)} weights for {len(self.members)} members")

    def build(self, files: Mapping[str, Path]) -> Checkpoint:
        """The ensemble, not measured yet; ``files``: member → its file, where that is not the installed one.

        Raises:
            CheckpointError: a member cannot be read, or they do not go together.
        """
        models = [_taken(name, files.get(name, name)) for name in self.members]
        weighted = [
            dataclasses.replace(m, description=dataclasses.replace(m.description, weight=weight))
            for m, weight in zip(models, self.weights or [1.0] * len(models), strict=True)
        ]
        description, weights = average_of(weighted, self.id)
        described = dataclasses.replace(
            description, title=self.title, version=self.version, postprocessing=self.postprocessing
        )
        return Checkpoint(described, weights)


def _taken(name: str, place: Path | str) -> Checkpoint:
    """The model of a file, or the member of that id where the file is an ensemble that has it."""
    model = load_model(place)
    return next((member for member in model.members if member.description.id == name), model)


def load_spec(path: Path) -> EnsembleSpec:
    """Read a specification.

    Raises:
        RequestError: the file is missing, no TOML, or has unknown, missing or mistyped entries.
    """
    try:
        spec: EnsembleSpec = from_json(EnsembleSpec, tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).", "See Training/ensembles.") from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError, RecursionError, CheckpointError) as error:
        raise RequestError(f"{path} is wrong: {error}.", "Compare it with those in Training/ensembles.") from error
    return spec


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.ensemble", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("spec", type=Path, help="TOML file, see Training/ensembles")
    p.add_argument(
        "--member",
        action="append",
        default=[],
        metavar="ID=FILE",
        help="file of a member, or of an ensemble that has it; repeat it",
    )
    p.add_argument("--data", type=Path, required=True, help="folder of patients, with a split.json")
    p.add_argument("-o", "--output", type=Path, required=True, help="the checkpoint that is written")
    p.add_argument("--name", default="", help="what the patients are, for the card (default: as the members say)")
    p.add_argument("--labels", choices=("auto", *CONVENTIONS), default="", help=LABELS_HELP)
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Average, write, measure, write again.

    Raises:
        BrainTumorSegError: the request is wrong, or a patient cannot be read.
    """
    spec = load_spec(arguments.spec)
    files = {}
    for text in arguments.member:
        name, _, file = text.partition("=")
        if name not in spec.members or not file:
            raise RequestError(f"--member {text} names none of {', '.join(spec.members)}.", "Write ID=FILE.")
        files[name] = Path(file)
    built = spec.build(files)
    write_measured(
        built.description,
        built.weights,
        arguments.data,
        arguments.output,
        name=arguments.name,
        labels=arguments.labels,
        device=arguments.device,
        sources=list(files.values()),
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
