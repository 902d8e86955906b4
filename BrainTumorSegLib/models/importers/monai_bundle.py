"""MONAI bundles: ``configs/metadata.json``, ``configs/inference.json`` or ``.yaml`` and ``models/model.pt``.

Their configuration is read as data: references to other entries are followed, expressions (``$…``) never run. What of
the transforms, the network and the windows cannot be said here is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..description import Description, OutputSpec, PreprocessingSpec, TilingSpec, TrainingRecord
from . import Examined
from .foreign_files import LARGEST_JSON, Fields, names_in, unpack
from .monai_parts import network_of, refused, write_checked
from .torch_file import read_torch_file, state_dict
from .wishes import Wishes, outputs_for

KIND = "MONAI bundle"
_WANTED = re.compile(r"(^|/)(configs/(metadata\.json|inference\.(json|ya?ml))|models/model\.pt)$")
_CONFIGURATIONS = ("inference.json", "inference.yaml", "inference.yml")
# Transforms that move no value, or that this program does anyway.
_HARMLESS = {"LoadImage", "EnsureChannelFirst", "AsChannelFirst", "AddChannel", "EnsureType", "CastToType", "ToTensor"}
_HARMLESS |= {"ToDevice", "Identity", "Compose", "SaveImage", "Invert", "CopyItems", "DeleteItems", "SelectItems"}


def recognises(path: Path) -> bool:
    """Whether a folder or an archive holds a bundle's metadata."""
    if path.is_dir():
        return _root(path) is not None
    if path.suffix.lower() != ".zip" or not path.is_file():
        return False
    return any(name.endswith("configs/metadata.json") for name in names_in(path))


def examine(path: Path, folder: Path, wishes: Wishes) -> Examined:
    """What the model says of itself; see :class:`.Importer`."""
    model = _read(path, folder, wishes)
    return Examined(model.description, (model.weights,))


def convert(path: Path, folder: Path, wishes: Wishes, progress: Progress) -> Path:
    """Write the model as a checkpoint file into an empty folder.

    Raises:
        CheckpointError: something of it is not known here, missing or hostile; names the first.
        RequestError: what was said of it does not fit it, or more has to be said.
    """
    model = _read(path, folder, wishes)
    state = state_dict(_inner_state(read_torch_file(model.weights)), str(model.weights))
    return write_checked(model.description, state, model.counts, folder, progress.part(0.5, 1.0))


@dataclass(frozen=True)
class _Model:
    """A model's description, the file of its weights, and how many channels and outputs its network has."""

    description: Description
    weights: Path
    counts: tuple[int, int]


def _read(path: Path, folder: Path, wishes: Wishes) -> _Model:
    if not path.is_dir():
        inside = unpack(path, folder, _WANTED)
        return _read(inside, folder, replace(wishes, source=wishes.source or path.name))
    root = _root(path)
    if root is None:
        raise CheckpointError(f"{path} holds no bundle.", "Give the folder that holds configs and models.")
    metadata = Fields.of(root / "configs" / "metadata.json")
    config = _configuration(root / "configs")
    weights = root / "models" / "model.pt"
    if not weights.is_file():
        raise CheckpointError(
            f"{root} has no models/model.pt; a model.ts is a program, which is not run here.",
            "Download the whole bundle, or save the network's state dict as models/model.pt.",
        )
    definition = config.inner("network_def" if "network_def" in config else "network")
    network, dimensions, channels, outputs = network_of(definition)
    description = _description(root, metadata, config, wishes, channels, outputs)
    return _Model(replace(description, network=network, dimensions=dimensions), weights, (channels, outputs))


def _root(path: Path) -> Path | None:
    """The folder with ``configs``, the given one or one within."""
    try:
        inner = sorted(each for each in path.iterdir() if each.is_dir() and not each.is_symlink())
        places = [path, *inner[:1000]]
        return next((place for place in places if (place / "configs" / "metadata.json").is_file()), None)
    except OSError:
        return None


def _inner_state(values: Any) -> Any:
    """The state dict, which may lie in a table."""
    for key in ("model", "state_dict", "network"):
        if isinstance(values, dict) and isinstance(values.get(key), dict):
            return values[key]
    return values


def _configuration(folder: Path) -> Fields:
    file = next((folder / name for name in _CONFIGURATIONS if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{folder} holds no inference.json or inference.yaml.", "Download the whole bundle.")
    config = Fields.of(file) if file.suffix == ".json" else Fields(_yaml(file), str(file))
    return Fields(_resolved(config.values, config, 0), config.where)


def _yaml(file: Path) -> Any:
    """The values of a YAML file without references within it, which can grow without end."""
    try:
        import yaml
    except ImportError as error:
        raise CheckpointError(f"{file} is YAML, and PyYAML is not installed.", "pip install pyyaml") from error

    try:
        if file.stat().st_size > LARGEST_JSON >> 4:
            raise CheckpointError(f"{file} is larger than a configuration is.", "Download the bundle again.")
        text = file.read_text("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise CheckpointError(f"{file} refers to its own parts.", "Write them out.")
        return yaml.safe_load(text)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read ({str(error).splitlines()[0][:160]}).", "Mend it.") from error


def _resolved(value: Any, config: Fields, depth: int) -> Any:
    """A value with references (``@name``) to other entries followed; expressions stay as texts."""
    if depth > 20:
        raise CheckpointError(f"{config.where} is nested too deeply, or refers to itself.", "Download it again.")
    if isinstance(value, dict):
        return {str(key): _resolved(item, config, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, config, depth + 1) for item in value]
    if isinstance(value, str) and re.fullmatch(r"@\w+", value) and value[1:] in config.values:
        found = config.values[value[1:]]
        return value if isinstance(found, dict) else _resolved(found, config, depth + 1)
    return value


def _transforms(config: Fields, key: str) -> Iterator[tuple[str, Fields]]:
    """Name (without the ``d`` of dictionaries) and arguments of the transforms of a pipeline that do something."""
    pipeline = config.values.get(key)
    if pipeline is None:
        return
    found = pipeline.get("transforms") if isinstance(pipeline, dict) else None
    if not isinstance(found, list) or len(found) > 64:
        raise config.wrong(key, "a list of transforms")
    for item in found:
        step = Fields(item, f"{config.where} ({key})")
        name = step.text("_target_").rpartition(".")[2]
        name = re.sub(r"(Dict|D|d)$", "", name)
        if step.values.get("_disabled_") is not True and name not in _HARMLESS:
            yield name, step


def _preprocessing(config: Fields, wishes: Wishes) -> PreprocessingSpec:
    orientation, spacing, margin, normalisation = "", [0.0] * 3, -1, "none"
    done: list[str] = []
    for name, step in _transforms(config, "preprocessing"):
        if name in done:
            raise refused(step.where, f"has {name} twice")
        done.append(name)
        if name == "Orientation":
            orientation = step.text("axcodes")
        elif name == "Spacing":
            spacing = step.numbers("pixdim")
            mode = step.values.get("mode", "bilinear")
            if any(each != "bilinear" for each in (mode if isinstance(mode, list) else [mode])):
                raise refused(step.where, f"resamples by {str(mode)[:60]!r}")
        elif name == "CropForeground":
            margin = int(step.number("margin", 0))
        elif name == "NormalizeIntensity":
            if not (step.flag("nonzero", False) and step.flag("channel_wise", False)):
                raise refused(step.where, "normalises over the background, or all channels as one")
            if step.values.get("subtrahend") is not None or step.values.get("divisor") is not None:
                raise refused(step.where, "normalises by numbers of its own")
            normalisation = "zscore_unclipped"
        else:
            raise refused(step.where, f"has the transform {name[:80]!r}")
    orientation = orientation or wishes.axes()
    if len(spacing) != 3 or margin < -1 or len(orientation) != 3:
        raise refused(config.where, "has a spacing, a margin or axes")
    return PreprocessingSpec(
        orientation=orientation[::-1],  # MONAI's arrays have x first
        spacing=(spacing[0], spacing[1], spacing[2]),
        normalisation=normalisation,
        brain=wishes.brain or "extracted",
        margin=margin,
    )


def _tiling(config: Fields) -> TilingSpec:
    inferer = config.inner("inferer")
    kind = inferer.text("_target_").rpartition(".")[2]
    if kind not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        raise refused(inferer.where, f"has the inferer {kind[:80]!r}")
    mode, padding = inferer.text("mode", "constant"), inferer.text("padding_mode", "constant")
    if mode not in ("constant", "gaussian") or padding != "constant" or inferer.number("sigma_scale", 0.125) != 0.125:
        raise refused(inferer.where, f"blends windows by {mode!r}, pads by {padding!r} or has another sigma_scale")
    overlap = inferer.number("overlap", 0.25)
    return TilingSpec(tuple(inferer.counts("roi_size")), overlap, windows="monai", blending=mode)


def _activation(config: Fields) -> str:
    """What makes probabilities of logits.

    Raises:
        CheckpointError: none is named, or the result is changed by something else.
    """
    found = ""
    for name, step in _transforms(config, "postprocessing"):
        if name == "Activations":
            found = "sigmoid" if step.flag("sigmoid", False) else "softmax" if step.flag("softmax", False) else ""
        elif name == "AsDiscrete":
            threshold = step.values.get("threshold")
            if step.values.get("argmax"):
                found = found or "softmax"
            elif threshold not in (None, 0.5, True):
                raise refused(step.where, f"has a threshold of {str(threshold)[:20]}")
        elif name == "Lambda" and found == "sigmoid":
            continue  # makes one label map of regions, which is done by their names here
        else:
            raise refused(step.where, f"has the transform {name[:80]!r}")
    if not found:
        raise refused(config.where, "has no activation in its postprocessing")
    return found


def _channels(metadata: Fields, side: str, name: str, count: int) -> list[str]:
    """Names of the channels of the network's input or output."""
    table = metadata.inner("network_data_format").inner(side).inner(name)
    names = table.inner("channel_def").values if "channel_def" in table else {}
    found = [str(names.get(str(number), f"channel {number}"))[:200] for number in range(count)]
    return [name if name.isprintable() else "?" for name in found]


def _description(
    root: Path, metadata: Fields, config: Fields, wishes: Wishes, channels: int, outputs: int
) -> Description:
    activation = _activation(config)
    first = 1 if activation == "softmax" else 0
    numbered = list(enumerate(_channels(metadata, "outputs", "pred", outputs)))[first:]
    meanings = wishes.meanings([(name, str(number)) for number, name in numbered], metadata.where)
    found = outputs_for([name for _, name in numbered], [[n] for n in range(1, len(meanings) + 1)], meanings)
    if first:
        found.insert(0, OutputSpec("background", ()))
    name = metadata.text("name", root.name)
    return Description(
        id=wishes.id or re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip("-._")[:100] or "bundle",
        title=f"MONAI bundle {name}"[:200],
        version=metadata.text("version", "1.0")[:40],
        dimensions=3,
        network=network_of(config.inner("network_def" if "network_def" in config else "network"))[0],
        modalities=wishes.modalities(_channels(metadata, "inputs", "image", channels), metadata.where),
        outputs=tuple(found),
        preprocessing=_preprocessing(config, wishes),
        tiling=_tiling(config),
        training=TrainingRecord(
            data=" ".join(filter(None, [metadata.text("description", ""), metadata.text("data_source", "")]))[:1000],
            recipe={"program": "MONAI bundle", "authors": metadata.text("authors", "")[:200]}
            | ({"source": wishes.source} if wishes.source else {}),
        ),
        weights_licence=wishes.licence,
        intended_use=metadata.text("intended_use", "For research, not for clinical use.") or "For research.",
        storage="fp32",
        activation=activation,
    )
