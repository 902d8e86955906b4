"""``braintumorseg models``: what is installed, what it can do, adding and removing."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..domain.errors import CheckpointError, ExecutionError, RequestError
from ..domain.modalities import MODALITIES, from_name, taken
from ..domain.progress import Progress
from ..domain.text_table import text_table
from ..io.outputs import check_outputs
from ..models import catalogue, public_models
from ..models.checkpoint_file import save_checkpoint
from ..models.description import ID_RULE, is_id
from ..models.ensemble import average_of
from ..models.importers import importer_of
from ..models.importers.wishes import MEANINGS, Wishes, titles
from ..models.model_card import model_card
from .common import add_common
from .console import Console


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    actions = p.add_subparsers(
        dest="action", metavar="list | info | inspect | add | download | remove | ensemble | export | verify"
    )
    listing = actions.add_parser("list", help="installed models (the default)")
    listing.add_argument("--available", action="store_true", help="public models that can be downloaded")
    download = actions.add_parser("download", help="download a public model and take it over; asks first")
    download.add_argument("model", metavar="ID")
    download.add_argument("--yes", action="store_true", help="do not ask")
    download.add_argument("--sha256", default="", metavar="HEX", help="the digest to agree to; asks no more")
    download.add_argument("--fetch-only", action="store_true", help="download and check it, and tell its digest")
    _add_wishes(download.add_argument_group("in place of what is listed"))
    for name, what, about in (
        ("info", "ID", "print the model card"),
        ("remove", "ID", "delete a model that was added"),
    ):
        actions.add_parser(name, help=about).add_argument("model", metavar=what)
    for name, about in (
        ("inspect", "say what a file, folder or archive is, and what has to be said of it before it is added"),
        ("add", "copy a checkpoint, or a model of nnU-Net v2, a MONAI bundle or Auto3DSeg, into your models folder"),
    ):
        taking = actions.add_parser(name, help=about)
        taking.add_argument("model", metavar="FILE|FOLDER|ZIP")
        _add_wishes(taking.add_argument_group("what the files of another program leave open"))
    ensemble = actions.add_parser("ensemble", help="make one model that averages several, in one file")
    ensemble.add_argument("models", nargs="+", metavar="ID|FILE")
    ensemble.add_argument("-o", "--output", type=Path, required=True, metavar=f"FILE{catalogue.SUFFIX}")
    export = actions.add_parser("export", help="write a model's network for other programs")
    export.add_argument("model", metavar="ID|FILE")
    export.add_argument("--format", choices=("onnx", "openvino", "torchscript"), required=True)
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: ID with the format's suffix")
    actions.add_parser("verify", help="read every byte of every model")
    for action in actions.choices.values():
        add_common(action, inner=True)


def _add_wishes(p: argparse._ArgumentGroup) -> None:
    p.add_argument("--id", default="", help="of the new model")
    p.add_argument(
        "--channels", default="", metavar="NAME,…", help=f"sequences in the network's order: {','.join(MODALITIES)}"
    )
    p.add_argument(
        "--labels",
        default="",
        metavar="NAME=LABEL,…",
        help=f"what labels stand for: one of {', '.join(MEANINGS)} or own",
    )
    p.add_argument("--orientation", default="", help="of the images that it was trained on (default: LPS, as BraTS)")
    p.add_argument("--brain", default="", choices=("", "extracted", "head"), help="what those images show")
    p.add_argument("--configuration", default="", metavar="NAME", help="where there are several, such as 3d_fullres")
    p.add_argument("--folds", default="", metavar="N,…", help="those to take (default: all that were trained)")
    p.add_argument("--licence", default="", metavar="TEXT", help="of the weights, as its source states it")
    p.add_argument("--source", default="", metavar="TEXT", help="where it comes from")


def _wishes(arguments: argparse.Namespace) -> Wishes:
    """What was said of a model.

    Raises:
        RequestError: a label is not said as NAME=LABEL, or is none.
    """
    labels = _parts(arguments.labels)
    if any("=" not in part for part in labels):
        raise RequestError(f"--labels {arguments.labels} says no labels.", "Write NAME=LABEL,NAME=LABEL.")
    return Wishes(
        id=arguments.id,
        channels=tuple(from_name(part) or part for part in _parts(arguments.channels)),
        labels={name.strip(): label.strip() for name, _, label in (part.rpartition("=") for part in labels)},
        orientation=arguments.orientation.upper(),
        brain=arguments.brain,
        configuration=arguments.configuration,
        folds=_parts(arguments.folds),
        licence=arguments.licence,
        source=arguments.source,
    )


def _wishes_of_file(arguments: argparse.Namespace) -> Wishes:
    """What was said of a model of another program.

    Raises:
        RequestError: it was said of a checkpoint of this program, which says all of itself.
    """
    wishes, path = _wishes(arguments), Path(arguments.model)
    if wishes != Wishes() and path.is_file() and importer_of(path)[1] is None:
        raise RequestError(
            f"--{next(iter(wishes.options()))} is for models of other programs; {path} says all of itself.",
            "Leave it out.",
        )
    return wishes


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Carry out the action."""
    if arguments.action == "info":
        model = catalogue.find(arguments.model)
        card = model_card(model.description)
        console.say(card)
        console.result({**_facts(model), "card": card})
    elif arguments.action == "inspect":
        found = catalogue.inspect(arguments.model, _wishes_of_file(arguments), progress)
        console.say(found.text())
        console.result(dataclasses.asdict(found))
    elif arguments.action == "add":
        before = catalogue.installed()[0]
        _say_added(catalogue.add(arguments.model, _wishes_of_file(arguments), progress), before, console)
    elif arguments.action == "download":
        download_public(arguments, console, progress)
    elif arguments.action == "remove":
        removed = catalogue.remove(arguments.model)
        console.placed()
        console.say(f"Removed {removed}")
        console.result({"removed": str(removed)})
    elif arguments.action == "ensemble":
        make_ensemble(arguments.models, arguments.output, console)
    elif arguments.action == "export":
        export(arguments.model, arguments.format, arguments.output, console)
    elif arguments.action == "verify":
        verify(console)
    elif getattr(arguments, "available", False):
        list_public(console)
    else:
        list_models(console)
    return 0


def _facts(model: catalogue.InstalledModel) -> dict[str, Any]:
    """A model for programs that listen."""
    d = model.description
    measured = d.accuracy_with(d.modalities)
    dice = {name: value for name, value in measured.values.items() if math.isfinite(value)} if measured else {}
    names = ("id", "title", "version", "dimensions", "modalities", "optional_modalities", "weights_licence")
    kept = {"path": str(model.path), "included": model.embedded, "part_of": model.part_of}
    return {**{name: getattr(d, name) for name in names}, "dice": dice, **kept}


def list_models(console: Console) -> None:
    """A table, one line a model."""
    models, errors = catalogue.installed()
    rows = []
    for model in models.values():
        d = model.description
        dice = d.accuracy_with(d.modalities)
        figures = " ".join(f"{region} {value:.2f}" for region, value in dice.values.items()) if dice else "not measured"
        origin = f"member of {model.part_of}" if model.part_of else "included" if model.embedded else str(model.path)
        rows.append((d.id, d.title, f"{d.dimensions}D", taken(d.modalities, d.optional_modalities), figures, origin))
    console.say(text_table(("id", "title", "", "takes", "Dice", "where"), rows, left=range(6)))
    for error in errors:
        console.warn(error.sentence())
    with suppress(RequestError):  # no home: it was said above
        console.say(f"Your own models: {catalogue.models_folder()}")
    unusable = [error.sentence() for error in errors]
    console.result({"models": [_facts(model) for model in models.values()], "unusable": unusable})


def list_public(console: Console) -> None:
    """A table of public models, one line a model."""
    rows = []
    for model in public_models.available().values():
        size = f"{model.bytes / 1e6:.0f} MB" if model.bytes else "not stated"
        rows.append((model.id, model.purpose, titles(model.channels), size, model.licence[:60]))
    console.say(text_table(("id", "for", "takes", "size", "licence"), rows, left=range(5)))
    console.say("braintumorseg models download ID shows all about one, asks, and takes it over.")
    console.result({"available": [dataclasses.asdict(model) for model in public_models.available().values()]})


def download_public(arguments: argparse.Namespace, console: Console, progress: Progress) -> None:
    """Show a public model, ask, download it and take it over.

    Raises:
        RequestError: nobody can be asked, or the answer is no.
        ExecutionError: it cannot be downloaded, or is another file.
    """
    entry, wanted = public_models.find_public(arguments.model), arguments.sha256.lower()
    console.say(entry.card())
    if not (arguments.yes or wanted) and not _asked("Download it?"):
        raise RequestError(f"{entry.id} was not downloaded.", "Answer y, or give --yes.")
    if arguments.fetch_only:
        fetched = public_models.fetch_model(entry, progress)
        console.say(f"{fetched.file} has the SHA-256 {fetched.sha256}. {fetched.doubt}".rstrip())
        console.result({"file": str(fetched.file), "sha256": fetched.sha256, "doubt": fetched.doubt})
        return

    def consent(fetched: public_models.Fetched) -> bool:
        console.say(fetched.doubt)
        if wanted:
            return wanted == fetched.sha256
        return arguments.yes or _asked("Keep it and take the model over?")

    before = catalogue.installed()[0]
    _say_added(public_models.download_model(entry, progress, consent, _wishes(arguments)), before, console)


def _say_added(
    model: catalogue.InstalledModel, before: Mapping[str, catalogue.InstalledModel], console: Console
) -> None:
    console.placed()
    earlier = before.get(model.description.id)
    instead = f", in place of {earlier.description.title}" if earlier and not earlier.part_of else ""
    console.say(f"Added {model.description.id} as {model.path}{instead}")
    console.result({"id": model.description.id, "path": str(model.path)})


def _asked(question: str) -> bool:
    """The answer of who sits at the terminal.

    Raises:
        RequestError: nobody does.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise RequestError("Nobody can be asked here.", "Give --yes.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def make_ensemble(models: Sequence[str], output: Path, console: Console) -> None:
    """Average several models, each of which counts alike, in one file, whose name is the new model's id.

    Raises:
        CheckpointError: a model cannot be read, or they do not go together.
        RequestError: the name does not end as a checkpoint's, or is that of a model that is included.
        OutputError: the file is one of the models.
    """
    if output.suffix != catalogue.SUFFIX:
        raise RequestError(f"{output.name} is no name of a checkpoint.", f"Let it end in {catalogue.SUFFIX}.")
    if not is_id(output.stem):
        raise RequestError(f"{output.stem!r} is no id.", ID_RULE)
    if catalogue.is_included(output.stem):  # it could not be added
        raise RequestError(
            f"A model with the id {output.stem} is included.", "Give the file another name: it is the id."
        )
    check_outputs([output], [catalogue.find(model).path for model in models])
    loaded = [catalogue.load_model(model) for model in models]
    # A member of an ensemble has the weight that it has there.
    alike = [dataclasses.replace(m, description=dataclasses.replace(m.description, weight=1.0)) for m in loaded]
    description, weights = average_of(alike, output.stem)
    save_checkpoint(description, weights, output)
    console.placed()
    console.say(f"Wrote {output}: {description.title}. Add it to your models: braintumorseg models add {output}")
    console.result({"id": description.id, "output": str(output)})


def export(model: str, kind: str, output: Path | None, console: Console) -> None:
    """Write a model's network as another program reads it.

    Raises:
        CheckpointError: the model cannot be read, or has several networks.
        RequestError: a library is missing, or the name does not end as the format's.
        ExecutionError: it cannot be exported.
        OutputError: the file is the model.
    """
    from ..inference.network_export import FORMATS, export_network

    found = catalogue.find(model)
    output = output or Path(f"{found.description.id}{FORMATS[kind]}")
    check_outputs([output], [found.path])
    checkpoint = found.load()
    files = export_network(checkpoint, kind, output)
    console.placed()
    console.say(f"Wrote {', '.join(map(str, files))}: images (N, C, …) to logits, compared with the network here.")
    console.result({"id": found.description.id, "outputs": [str(file) for file in files]})


def verify(console: Console) -> None:
    """Load every model and build its networks; members of an ensemble lie in its file, and are read with it.

    Raises:
        ExecutionError: one is damaged.
    """
    installed, errors = catalogue.installed()
    models = [model for model in installed.values() if not model.part_of]
    sound: dict[str, str] = {}
    for model in models:
        try:
            checkpoint = model.load()
            checkpoint.check()
        except CheckpointError as error:
            errors.append(error)
        else:
            sound[model.description.id] = checkpoint.digest
            console.say(f"{model.description.id}: sound ({checkpoint.digest[:16]}…)")
    for problem in errors:
        console.warn(problem.sentence())
    if errors:
        raise ExecutionError(f"{len(errors)} of {len(models)} models are unusable.", "Install them again.")
    console.result({"sound": sound})
