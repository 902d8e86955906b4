"""``python -m Training.studies.systems RUNS -o docs/explanation/systems.md``: the page of the systems taken up.

What each was, which recipes and commands train it, and what was published, is in ``systems.toml``. Every figure beside
a published one is read from the files that these commands write below RUNS. What the page needs of them (tables, logs,
pictures, what the checkpoints say of their training, no weights) is copied into a folder beside the page that is called
like it; a study that is not below RUNS is read from there, so that each may be run on another day or machine. Where
neither has it, the page says so. Nothing is trained or measured.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.evaluation.tables import markdown
from BrainTumorSegLib.io.staging import Staging, staged
from BrainTumorSegLib.models.checkpoint_file import read_description
from BrainTumorSegLib.models.description import Description, parse_description

from ..callbacks.interval_log import LOG
from ..command import exit_code
from ..recipe import load_recipe

SYSTEMS = Path(__file__).with_suffix(".toml")
RECIPES = Path(__file__).parents[1] / "recipes"

NOT_YET = "**Not trained yet.**"
_DESCRIPTION = "description.json"
_HEAD = """\
<!-- Written by python -m Training.studies.systems: change Training/studies/systems.toml, not this file. -->
# Published systems, trained here

"""
_TAIL = """\
*Written from the files of the runs by `python -m Training.studies.systems RUNS -o docs/explanation/systems.md`.*
"""


@dataclass(frozen=True)
class Figure:
    """A figure that was published, and where its counterpart is.

    Attributes:
        label: of what.
        published: as it was printed; a dash where nothing was.
        table: CSV in the run's folder; or with ``log``, the id of a recipe, that recipe's training log at the step with
            the lowest validation loss.
        where: column → value of the rows that are meant; each has a name of its own in ``network`` or ``id``.
        column: which of their values.
        digits: decimals.
    """

    label: str
    column: str
    published: str = "–"
    table: str = "comparison.csv"
    where: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Study:
    """One command and what it leaves in its folder.

    Attributes:
        folder: below RUNS.
        title: heading.
        recipes: names without suffix.
        commands: the lines that train, measure and draw.
        text: Markdown file with the command's own tables and notes; while it is missing the study counts as not done.
        pictures: file → what it shows.
        figures: beside the published ones.
        differs: what differs from the published system, and why.
    """

    folder: str
    title: str
    recipes: tuple[str, ...]
    commands: tuple[str, ...]
    text: str
    pictures: Mapping[str, str]
    figures: tuple[Figure, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class System:
    """What was taken up.

    Attributes:
        title: heading.
        was: what it was, and where its figures are from.
        studies: its parts here.
        more: a last paragraph, such as a link.
    """

    title: str
    was: str
    studies: tuple[Study, ...]
    more: str = ""


@dataclass(frozen=True)
class Page:
    """The whole page: what stands above, and the systems."""

    opening: str
    system: tuple[System, ...]

    @property
    def studies(self) -> Iterator[Study]:
        """Of all systems."""
        return (study for system in self.system for study in system.studies)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.studies.systems",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("runs", type=Path, metavar="RUNS", help="folder that holds the studies' folders")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE.md", help="page that is written")
    return p


def load_systems(file: Path = SYSTEMS) -> Page:
    """What is known of the systems.

    Raises:
        InputError: the file is wrong, or names a recipe that is not there.
    """
    try:
        page: Page = from_json(Page, tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise InputError(f"{file} is wrong ({error}).", "Mend it.") from error
    names = [name for study in page.studies for name in study.recipes]
    missing = [name for name in names if not (RECIPES / f"{name}.toml").is_file()]
    if missing:
        raise InputError(f"{file} names recipes that are not there: {', '.join(missing)}.", "Mend it.")
    return page


def found(study: Study, places: Sequence[Path]) -> Path | None:
    """Its folder in the first of the places where its command came to its end."""
    folders = (place / study.folder for place in places)
    return next((folder for folder in folders if (folder / study.text).is_file()), None)


def section(system: System, places: Sequence[Path], pictures: str) -> str:
    """A system on the page; ``pictures`` is the folder of pictures as the page sees it."""
    parts = [f"## {system.title}", system.was.strip()]
    for study in system.studies:
        parts.append(f"### {study.title}")
        parts += [_trained_by(study), _commands(study)]
        folder = found(study, places)
        parts += _outcome(study, folder, pictures) if folder else [NOT_YET]
        if study.differs:
            parts.append("What differs, and why:\n\n" + "\n".join(f"- {reason}" for reason in study.differs))
    return "\n\n".join([*parts, *filter(None, [system.more.strip()])]) + "\n"


def _trained_by(study: Study) -> str:
    """Recipes, data and budget, as the recipes have them."""
    said = []
    for name in study.recipes:
        recipe = load_recipe(RECIPES / f"{name}.toml")
        o, s = recipe.optimisation, recipe.sampling
        ends = f", ended by {o.patience} validations in a row without a lower loss" if o.patience else ""
        said.append(
            f"- `{name}.toml`: {recipe.title}; {o.loss}, {o.optimiser}, learning rate {o.learning_rate:g}; at most"
            f" {o.steps} steps of {s.batch} patches of {' × '.join(map(str, s.patch))}{ends}"
        )
    data = dict.fromkeys(load_recipe(RECIPES / f"{name}.toml").data.name for name in study.recipes)
    return f"Data: {'; '.join(data)}.\n\n" + "\n".join(said)


def _commands(study: Study) -> str:
    return "```\n" + "\n".join(study.commands) + "\n```"


def _outcome(study: Study, folder: Path, pictures: str) -> list[str]:
    """Figures beside the published ones, pictures, then the command's own text with lower headings."""
    parts = _shortened(study, folder)
    parts += [markdown(figures_table(study.figures, folder)).rstrip()] if study.figures else []
    parts += [f"![{what}]({pictures}/{study.folder}/{file})" for file, what in study.pictures.items()]
    text = (folder / study.text).read_text(encoding="utf-8").strip()
    return [*parts, re.sub(r"(?m)^(#+) ", r"###\1 ", text)]


def _shortened(study: Study, folder: Path) -> list[str]:
    """Which runs had another budget than their recipe says: a run of two steps is not to look like a training."""
    said = []
    for name in study.recipes:
        recipe = load_recipe(RECIPES / f"{name}.toml")
        if described := _described(folder, recipe.id):
            steps = described.training.recipe.get("optimisation", {}).get("steps")
            if steps != recipe.optimisation.steps:
                said.append(f"`{name}` had at most {steps} steps here, not {recipe.optimisation.steps}.")
    return ["\n".join(said)] if said else []


def _described(folder: Path, name: str) -> Description | None:
    """What a run's checkpoint says of itself, from the file or from what was kept of it."""
    file, kept = folder / name / f"{name}.safetensors", folder / name / _DESCRIPTION
    if file.is_file():
        return read_description(file)
    return parse_description(kept.read_text(encoding="utf-8"), str(kept)) if kept.is_file() else None


def figures_table(figures: Sequence[Figure], folder: Path) -> list[list[str]]:
    """What was published, and the same of every network of a study.

    Raises:
        InputError: a file of the run is damaged.
    """
    found = [_values(figure, folder) for figure in figures]
    names = list(dict.fromkeys(name for values in found for name in values))
    lines = [["", "published", *names]]
    for figure, values in zip(figures, found, strict=True):
        ours = [f"{values[name]:.{figure.digits}f}" if name in values else "–" for name in names]
        lines.append([figure.label, figure.published, *ours])
    return lines


def _values(figure: Figure, folder: Path) -> dict[str, float]:
    """Network → value; nothing where the file has no such column."""
    file = folder / _place(figure)
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        if figure.log:
            best = min(rows, key=lambda row: float(row["validation_loss"]))
            rows = [{**best, "id": figure.log}]
        wanted = [row for row in rows if all(row.get(name) == value for name, value in figure.where.items())]
        return {row.get("network") or row["id"]: float(row[figure.column]) for row in wanted if row.get(figure.column)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"{file} is no table of a run ({error}).", "It belongs to the run; make it again.") from error


def write(page: Page, runs: Path, output: Path) -> None:
    """The page and copies of what it rests on, all of them or none.

    Raises:
        InputError: a file of a run is damaged or missing.
        OutputError: the folder cannot be written to.
    """
    kept = output.with_suffix("")
    with staged([runs]) as staging:
        for study in page.studies:
            if folder := found(study, [runs]):
                _keep(study, folder, kept / study.folder, staging)
        sections = [section(system, [runs, kept], output.stem) for system in page.system]
        text = _HEAD + "\n".join([page.opening.strip() + "\n", *sections, _TAIL])
        staging.path(output).write_text(text, encoding="utf-8")


def _keep(study: Study, folder: Path, destination: Path, staging: Staging) -> None:
    """Copy what the page needs of a study."""
    for file in study.pictures:
        if not (folder / file).is_file():
            raise InputError(f"{folder} lacks {file}.", "It belongs to the run; measure it again.")
    for name in _files(study):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, staging.path(destination / name))
    for recipe in (load_recipe(RECIPES / f"{name}.toml") for name in study.recipes):
        if described := _described(folder, recipe.id):
            text = json.dumps(dataclasses.asdict(described), indent=1, sort_keys=True)
            staging.path(destination / recipe.id / _DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _files(study: Study) -> Iterator[str]:
    """Of a study's folder, what the page reads; each once."""
    yield from dict.fromkeys([study.text, *study.pictures, *(_place(figure) for figure in study.figures)])


def _place(figure: Figure) -> str:
    """The table that a figure is read from."""
    return f"{figure.log}/{LOG}" if figure.log else figure.table


def run(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        BrainTumorSegError: RUNS is no folder, or a file in it is damaged.
    """
    if not arguments.runs.is_dir():
        raise RequestError(f"{arguments.runs} is no folder.", "Give the folder that holds the studies' folders.")
    page = load_systems()
    write(page, arguments.runs, arguments.output)
    for study in page.studies:
        done = found(study, [arguments.runs, arguments.output.with_suffix("")])
        print(f"{study.folder}: {'done' if done else 'not trained yet'}", flush=True)
    print(f"Wrote {arguments.output}", flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
