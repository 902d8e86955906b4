"""MONAI Auto3DSeg, and MONAIAuto3DSeg of 3D Slicer: ``model.pt`` with its configuration, or an archive that holds it.

After the script that both run (``auto3dseg_segresnet_inference``): crop with a margin of 10 voxels, resample, z-score
of what is not 0, windows with Gaussian weights that overlap by five eighths.
"""

from __future__ import annotations

import csv
import itertools
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..description import Description, OutputSpec, PreprocessingSpec, TilingSpec, TrainingRecord
from . import Examined, monai_bundle
from .foreign_files import Fields, names_in, unpack
from .monai_parts import network_of, refused, write_checked
from .torch_file import read_torch_file, state_dict
from .wishes import Wishes, outputs_for

KIND = "MONAI Auto3DSeg"
# Where it may lie in a folder: there is no search of whole disks.
_PLACES = ("model.pt", "*/model.pt", "*/*/model.pt")
_MOST = 64
_WANTED = re.compile(r"(^|/)(model\.pt|labels\.csv)$")
_NORMALISATIONS = {
    "meanstd": "zscore_unclipped",
    "mri": "zscore_unclipped",
    "meanstdtanh": "zscore_tanh",
    "none": "none",
}
_MARGIN, _OVERLAP = 10, 0.625
# Outputs of the BraTS models, where they do not say it.
_BRATS = ("whole tumor", "tumor core", "enhancing tumor")


def recognises(path: Path) -> bool:
    """Whether it is such a ``model.pt``, a folder that holds one, or an archive that does, and no bundle."""
    if path.is_dir():
        return bool(_models(path)) and not monai_bundle.recognises(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        names = names_in(path)
        has_bundle = any(name.endswith("metadata.json") for name in names)
        return any(Path(name).name == "model.pt" for name in names) and not has_bundle
    return path.suffix.lower() in (".pt", ".pth") and path.is_file() and zipfile.is_zipfile(path)


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
    state = state_dict(model.state, str(model.weights))
    return write_checked(model.description, state, model.counts, folder, progress.part(0.5, 1.0))


@dataclass(frozen=True)
class _Model:
    """A model's description, the file of its weights and they, and how many channels and outputs its network has."""

    description: Description
    weights: Path
    state: Any
    counts: tuple[int, int]


def _read(path: Path, folder: Path, wishes: Wishes) -> _Model:
    if path.suffix.lower() == ".zip":
        inside = unpack(path, folder, _WANTED)
        # An archive of a folder holds that folder.
        while len(found := [*inside.iterdir()]) == 1 and found[0].is_dir():
            inside = found[0]
        given = replace(wishes, id=wishes.id or path.stem, source=wishes.source or path.name)
        return _read(inside, folder, given)
    named = {file.relative_to(path).as_posix(): file for file in sorted(_models(path))} if path.is_dir() else {}
    file = wishes.one_of(named, path, "segresnet_0") if named else path
    values = Fields(read_torch_file(file), str(file))
    if "config" not in values or "state_dict" not in values:
        raise CheckpointError(
            f"{file} holds no configuration beside its weights, so it is not of Auto3DSeg's SegResNet.",
            "Give the folder of its bundle, or of its training.",
        )
    config = values.inner("config")
    network, dimensions, channels, outputs = network_of(config.inner("network"))
    description = replace(_description(file, config, wishes, channels, outputs), network=network, dimensions=dimensions)
    return _Model(description, file, values.values["state_dict"], (channels, outputs))


def _models(folder: Path) -> list[Path]:
    try:
        found = (file for name in _PLACES for file in folder.glob(name) if file.is_file())
        return list(itertools.islice(found, _MOST))
    except OSError:
        return []


def _description(file: Path, config: Fields, wishes: Wishes, channels: int, outputs: int) -> Description:
    mode = config.text("normalize_mode")
    if mode not in _NORMALISATIONS or config.values.get("extra_modalities"):
        raise refused(config.where, f"normalises by {mode[:80]!r}, or each channel in its own way")
    sigmoid = config.flag("sigmoid", False)
    roi = config.counts("roi_size")
    if len(roi) != 3:
        raise config.wrong("roi_size", "three numbers")
    spacing = config.numbers("resample_resolution") if "resample_resolution" in config else [0.0] * 3
    if len(spacing) != 3:
        raise config.wrong("resample_resolution", "three numbers")
    # MONAI's arrays have x first.
    orientation = "RAS" if config.flag("orientation_ras", False) else wishes.axes()
    folder = file.absolute().parent
    name = wishes.id or (folder.parent if folder.name == "model" else folder).name  # a training has segresnet_0/model
    return Description(
        id=re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "auto3dseg",
        title=f"Auto3DSeg SegResNet {name}"[:200],
        version="1.0",
        dimensions=3,
        network=network_of(config.inner("network"))[0],
        modalities=wishes.modalities([f"channel {n}" for n in range(channels)], str(file)),
        outputs=_outputs(file, config, wishes, outputs, sigmoid),
        preprocessing=PreprocessingSpec(
            orientation=orientation[::-1],
            spacing=(spacing[0], spacing[1], spacing[2]),
            normalisation=_NORMALISATIONS[mode],
            brain=wishes.brain or "extracted",
            margin=_MARGIN if config.flag("crop_foreground", True) else -1,
        ),
        tiling=TilingSpec(tuple(roi), _OVERLAP, windows="monai"),
        training=TrainingRecord(
            data=str(config.values.get("name") or "")[:200],
            recipe={"program": "MONAI Auto3DSeg"} | ({"source": wishes.source} if wishes.source else {}),
        ),
        weights_licence=wishes.licence,
        storage="fp32",
        activation="sigmoid" if sigmoid else "softmax",
    )


def _outputs(file: Path, config: Fields, wishes: Wishes, count: int, sigmoid: bool) -> tuple[OutputSpec, ...]:
    """What the outputs stand for: as the configuration names them, the table beside it, or BraTS has them."""
    names = _names(file, config, count if sigmoid else count - 1)
    meanings = wishes.meanings([(name, str(number)) for number, name in enumerate(names, 1)], str(file))
    found = tuple(outputs_for(names, [[number] for number in range(1, len(names) + 1)], meanings))
    return found if sigmoid else (OutputSpec("background", ()), *found)


def _names(file: Path, config: Fields, count: int) -> list[str]:
    """Those of the outputs but the background; numbers, where as many are named nowhere."""
    said = config.values.get("class_names")
    if isinstance(said, list):  # as in the input of a training, or as a training passes them on
        said = [name.get("name") if isinstance(name, dict) else name for name in said]
    if isinstance(said, list) and all(isinstance(name, str) and name.isprintable() for name in said):
        named = [name for name in said if name.lower() != "background"]
        if len(named) == count:
            return named
    if config.flag("sigmoid", False) and count == 3 and "brats" in str(config.values.get("bundle_root", "")).lower():
        return list(_BRATS)
    table = file.with_name("labels.csv")  # of classes: it has no word on regions
    if not config.flag("sigmoid", False) and table.is_file() and table.stat().st_size < 1 << 20:
        found = _label_table(table)
        if len(found) == count:
            return found
    return [f"label {number}" for number in range(1, count + 1)]


def _label_table(table: Path) -> list[str]:
    """Names by label value of MONAIAuto3DSeg's ``labels.csv``."""
    try:
        rows: list[dict[str, Any]] = list(csv.DictReader(table.read_text("utf-8-sig").splitlines()))
        return [str(row["Name"]) for row in sorted(rows, key=lambda row: int(row["LabelValue"])) if row["Name"]]
    except (KeyError, TypeError, ValueError, csv.Error, UnicodeDecodeError):
        return []
