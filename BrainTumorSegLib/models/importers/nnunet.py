"""nnU-Net v2: the results folder of a training, or the archive of ``nnUNetv2_export_model_to_zip``.

The folder of a model holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``. Folds become the
members of an ensemble whose logits are averaged, as ``nnUNetv2_predict`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..checkpoint_file import save_checkpoint
from ..description import ENSEMBLE, Description, NetworkSpec, OutputSpec, TrainingRecord
from . import Examined
from .foreign_files import Fields, names_in, unpack
from .nnunet_plans import Configuration, labels_of
from .nnunet_reference import reference_of
from .self_check import check_written
from .torch_file import read_torch_file, state_dict
from .wishes import MEANINGS, OWN, Question, Wishes, outputs_for

if TYPE_CHECKING:
    import torch

KIND = "nnU-Net v2"
PLANS, DATASET = "plans.json", "dataset.json"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_WANTED = re.compile(r"(^|/)(plans\.json|dataset\.json|fold_(\d+|all)/checkpoint_(final|best)\.pth)$")
_DEEPEST, _MOST_FOLDERS = 3, 2000
_AGAIN = "Export it again: nnUNetv2_export_model_to_zip."


def recognises(path: Path) -> bool:
    """Whether a folder or an archive holds plans of nnU-Net v2 with a data set beside them."""
    if path.is_dir():
        return bool(_model_folders(path))
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    names = set(names_in(path))
    return any(name.endswith(PLANS) and name[: -len(PLANS)] + DATASET in names for name in names)


def examine(path: Path, folder: Path, wishes: Wishes) -> Examined:
    """What the model says of itself; see :class:`.Importer`."""
    model = _read(path, folder, wishes)
    return Examined(model.description, tuple(model.weights.values()))


def convert(path: Path, folder: Path, wishes: Wishes, progress: Progress) -> Path:
    """Write the model as a checkpoint file into an empty folder.

    Raises:
        CheckpointError: something of it is not known here, missing or hostile; names the first.
        RequestError: what was said of it does not fit it, or more has to be said.
    """
    model = _read(path, folder, wishes)
    description = model.description
    states, originals = [], []
    for number, (name, file) in enumerate(model.weights.items()):
        progress.report("import", 0.5 * number / len(model.weights), f"Reading {name}")
        values = model.first if file == model.first_file else Fields(read_torch_file(file), name)
        whole = state_dict(values.values.get("network_weights"), str(file))
        states.append(_renamed(whole))
        originals.append(reference_of(whole, description.network, description.dimensions))
    written = folder / f"{description.id}.safetensors"
    _write(description, list(model.weights), states, written)
    check_written(written, originals, progress.part(0.5, 1.0))
    return written


@dataclass(frozen=True)
class _Model:
    """A model's description, the file of every fold, and what the first one holds."""

    description: Description
    weights: Mapping[str, Path]
    first: Fields

    @property
    def first_file(self) -> Path:
        return next(iter(self.weights.values()))


def _read(path: Path, folder: Path, wishes: Wishes) -> _Model:
    if not path.is_dir():
        inside = unpack(path, folder, _WANTED)
        return _read(inside, folder, replace(wishes, source=wishes.source or path.name))
    named = {_called(folder, path): folder for folder in _model_folders(path)}
    model = wishes.one_of(named, path, "3d_fullres")
    plans, dataset = Fields.of(model / PLANS), Fields.of(model / DATASET)
    weights = {fold.name: _weights(fold) for fold in _folds(model, wishes)}
    first = Fields(read_torch_file(next(iter(weights.values()))), str(next(iter(weights.values()))))
    configuration = Configuration.of(plans, first.inner("init_args").text("configuration"))
    return _Model(_description(model, plans, dataset, configuration, first, wishes), weights, first)


def _write(
    description: Description, folds: Sequence[str], states: Sequence[Mapping[str, torch.Tensor]], file: Path
) -> None:
    if len(states) == 1:
        save_checkpoint(description, states[0], file)
        return
    members = tuple(replace(description, id=f"{description.id}-{fold}", tiling=description.tiling) for fold in folds)
    whole = replace(
        description,
        network=NetworkSpec(ENSEMBLE),
        outputs=tuple(output for output in description.outputs if output.labels),
        activation="sigmoid",
        pooling="geometric",
        members=members,
    )
    together = {f"{number}.{name}": tensor for number, state in enumerate(states) for name, tensor in state.items()}
    save_checkpoint(whole, together, file)


def _model_folders(path: Path) -> list[Path]:
    """Folders with plans and a data set, at or below a folder; of a whole disk only a part is looked at."""
    found, level, seen = [], [path], 0
    for _ in range(_DEEPEST + 1):
        inner: list[Path] = []
        for folder in level:
            seen += 1
            with suppress(OSError):
                if (folder / PLANS).is_file() and (folder / DATASET).is_file():
                    found.append(folder)
                elif seen < _MOST_FOLDERS:
                    inner += sorted(each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
        level = inner[:_MOST_FOLDERS]
    return found


def _called(folder: Path, source: Path) -> str:
    return folder.name if folder == source else folder.relative_to(source).as_posix()


def _folds(model: Path, wishes: Wishes) -> list[Path]:
    """The folders of the folds that are wanted."""
    found = {path.name.removeprefix("fold_"): path for path in sorted(model.glob("fold_*")) if path.is_dir()}
    trained = {name: path for name, path in found.items() if any((path / each).is_file() for each in _CHECKPOINTS)}
    usual = [name for name in trained if name != "all" or len(trained) == 1]  # as nnU-Net does
    wanted = wishes.folds or tuple(usual)
    missing = [fold for fold in wanted if fold not in trained]
    if missing or not wanted:
        raise CheckpointError(
            f"{model} has no trained fold {', '.join(missing) or 'at all'}.",
            f"There are {', '.join(trained) or 'none'}; name them with --folds, or finish the training.",
            option="folds" if trained else "",
        )
    if len(trained) > 1:
        wishes.ask(Question("folds", choices=tuple(trained), known=wanted, needed=True, several=True))
    return [trained[fold] for fold in wanted]


def _weights(fold: Path) -> Path:
    return next(fold / name for name in _CHECKPOINTS if (fold / name).is_file())


def _description(
    model: Path, plans: Fields, dataset: Fields, configuration: Configuration, first: Fields, wishes: Wishes
) -> Description:
    channels = dataset.inner("channel_names" if "channel_names" in dataset else "modality").values
    if list(channels) != [str(number) for number in range(len(channels))]:
        raise dataset.wrong("channel_names", "names for channels 0, 1, …")
    modalities = wishes.modalities([str(name) for name in channels.values()], dataset.where)
    outputs, activation = _outputs(dataset, wishes)
    name = plans.text("dataset_name", model.parent.name)
    trainer = first.text("trainer_name", "nnUNetTrainer")
    return Description(
        id=wishes.id or re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{configuration.name}").strip("-._")[:100] or "nnunet",
        title=f"nnU-Net {configuration.name} of {name}"[:200],
        version="1.0",
        dimensions=configuration.dimensions,
        network=configuration.network(),
        modalities=modalities,
        outputs=outputs,
        preprocessing=configuration.preprocessing(wishes),
        tiling=configuration.tiling(first.values.get("inference_allowed_mirroring_axes")),
        training=TrainingRecord(
            data=" ".join(filter(None, [name, dataset.text("description", ""), dataset.text("reference", "")]))[:1000],
            recipe={"program": "nnU-Net v2", "trainer": trainer, "plans": plans.text("plans_name", "")}
            | ({"source": wishes.source} if wishes.source else {}),
        ),
        data_licence=dataset.text("licence", dataset.text("license", "")),
        weights_licence=wishes.licence,
        storage="fp32",
        activation=activation,
    )


def _outputs(dataset: Fields, wishes: Wishes) -> tuple[tuple[OutputSpec, ...], str]:
    """Output channels, and what makes probabilities of them."""
    labels, order = labels_of(dataset)
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        found = {name: (value if isinstance(value, list) else [value]) for name, value in labels.items()}
        if len(order) != len(found):
            raise dataset.wrong("regions_class_order", f"{len(found)} labels")
        said = [(name, "+".join(map(str, value))) for name, value in found.items()]
        means = dict(zip(found, wishes.meanings(said, dataset.where), strict=True))
        _check_order(found, means, dataset, wishes)
        outputs = tuple(outputs_for(list(found), list(found.values()), list(means.values())))
        _check_painting(outputs, list(found.values()), order, dataset, wishes)
        return outputs, "sigmoid"
    numbered = {value[0] if isinstance(value, list) else value: name for name, value in labels.items()}
    if sorted(numbered) != list(range(1, len(labels) + 1)):
        raise dataset.wrong("labels", "labels 1, 2, …")
    names, numbers = [numbered[number] for number in sorted(numbered)], [[number] for number in sorted(numbered)]
    meanings = wishes.meanings([(numbered[n], str(n)) for n in sorted(numbered)], dataset.where)
    outputs = tuple(outputs_for(names, numbers, meanings))
    if len({label for output in outputs for label in output.labels}) < sum(len(o.labels) for o in outputs):
        wishes.doubt(
            CheckpointError(
                f"{dataset.where} has two labels of one meaning.",
                "Say what they are: --labels NAME=ET.",
                option="labels",
            )
        )
        outputs = tuple(outputs_for([f"label {n}" for n in sorted(numbered)], numbers, [OWN] * len(numbered)))
    return (OutputSpec("background", ()), *outputs), "softmax"


def _check_order(found: Mapping[str, list[int]], means: Mapping[str, str], dataset: Fields, wishes: Wishes) -> None:
    """Regions lie within each other as those that they are taken for, and are painted from the outside in.

    Raises:
        CheckpointError: they do not.
    """
    found = {name: numbers for name, numbers in found.items() if means[name] != OWN}
    for name, numbers in found.items():
        for other, others in found.items():
            if set(MEANINGS[means[name]]) < set(MEANINGS[means[other]]) and not set(numbers) <= set(others):
                wishes.doubt(
                    CheckpointError(
                        f"{dataset.where}: {name[:80]!r} does not lie within {other[:80]!r}.",
                        "Say what they are: --labels NAME=TC.",
                        option="labels",
                    )
                )
                return
    painted = [set(MEANINGS[means[name]]) for name in found]
    if any(set(later) > set(earlier) for i, earlier in enumerate(painted) for later in painted[i + 1 :]):
        raise CheckpointError(
            f"{dataset.where} has its regions in an order in which outer ones hide inner ones.", _AGAIN
        )


def _check_painting(
    outputs: Sequence[OutputSpec], numbers: Sequence[list[int]], order: Sequence[int], dataset: Fields, wishes: Wishes
) -> None:
    """Regions of the model's own are painted over each other as nnU-Net paints them.

    Raises:
        CheckpointError: they are not.
    """
    own = [i for i, output in enumerate(outputs) if output.is_own]
    for i in own:
        inner = set().union(*(numbers[j] for j in own if set(numbers[j]) < set(numbers[i])))
        late = [j for j in own if j < i and set(numbers[j]) < set(numbers[i])]
        if set(numbers[i]) - inner != {order[i]} or late:
            text = f"{dataset.where} paints its regions in an order that is not known here."
            wishes.doubt(CheckpointError(text, _AGAIN, option="labels"))
            return


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Each tensor once, by the names of :mod:`...networks.nnunet`, without the outputs of deep supervision."""
    heads = [int(m[1]) for name in state if (m := re.fullmatch(r"decoder\.seg_layers\.(\d+)\.weight", name))]
    if not heads:
        raise CheckpointError("The weights are those of no network of nnU-Net v2: they have no output.", _AGAIN)
    last = f"decoder.seg_layers.{max(heads)}."
    found = {}
    for name, tensor in state.items():
        if name.startswith("decoder.encoder.") or ".all_modules." in name:
            continue
        if name.startswith("decoder.seg_layers."):
            if name.startswith(last):
                found[f"decoder.seg_layers.0.{name.removeprefix(last)}"] = tensor
            continue
        found[name] = tensor
    return found
