"""A model's network for other programs, as ONNX, OpenVINO or TorchScript, checked against what runs here."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.errors import CheckpointError, ExecutionError, RequestError
from ..domain.shortage import is_shortage
from ..io.outputs import check_derived
from ..io.run_folder import run_folder
from ..io.staging import staged
from ..models.checkpoint_file import Checkpoint
from ..models.description import Description
from .backends.conversions import TOLERANCE, converted, trial_tiles
from .backends.openvino_runtime import compiled, core, logits, openvino

if TYPE_CHECKING:
    from torch import nn

Run = Callable[[np.ndarray], np.ndarray]
# Format -> suffix of its file.
FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".ts"}
_OPSET = 17
# What the JSON file beside it holds.
_DESCRIPTION, _OUTPUT = "description", "output"


def export_network(checkpoint: Checkpoint, kind: str, output: Path) -> list[Path]:
    """Write a model's network, images ``(N, C, …)`` to logits, and beside it what the model says of itself.

    Args:
        checkpoint: of one network.
        kind: one of :data:`FORMATS`.
        output: the file; its suffix is that of the format.

    Returns:
        The files, all of which are written, or none.

    Raises:
        CheckpointError: it has several members, or its weights do not fit it.
        RequestError: another suffix, or a library that is not installed.
        OutputError: what would lie beside the file is there already, and is of something else.
        ExecutionError: it cannot be exported, or gives something else than here.
    """
    d = checkpoint.description
    if d.members:
        names = ", ".join(member.id for member in d.members)
        raise CheckpointError(f"{d.id} has {len(d.members)} networks.", f"Export its members, one by one: {names}.")
    if output.suffix != FORMATS[kind]:
        raise RequestError(f"{output.name} is no name of a {kind} file.", f"Let it end in {FORMATS[kind]}.")
    described = output.with_suffix(".json")
    for beside in (described, *([output.with_suffix(".bin")] if kind == "openvino" else [])):
        check_derived(beside, described, (_DESCRIPTION, _OUTPUT))
    network = checkpoint.build()
    with run_folder() as folder:
        file = folder / output.name
        try:
            run = _WRITERS[kind](network, d, file)
        except (RuntimeError, TypeError, ValueError) as error:
            if is_shortage(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ExecutionError(
                f"{d.id} cannot be exported as {kind} ({reason}).", "Choose another format."
            ) from error
        _check(network, d, run, kind)
        text = json.dumps({_DESCRIPTION: dataclasses.asdict(d), _OUTPUT: "logits"}, indent=1)
        file.with_suffix(".json").write_text(text, "utf-8")
        files = [output.with_name(made.name) for made in sorted(folder.iterdir())]
        with staged([checkpoint.path] if checkpoint.path else []) as staging:
            parts = [staging.path(each) for each in files]
            for made, part in zip(sorted(folder.iterdir()), parts, strict=True):
                shutil.copyfile(made, part)
    return files


def _torchscript(network: nn.Module, d: Description, file: Path) -> Run:
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.from_numpy(trial_tiles(d)[0]), check_trace=False).save(str(file))
        written = torch.jit.load(str(file))  # our own file

    def run(tile: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(written(torch.from_numpy(tile)).numpy())

    return run


def _openvino(network: nn.Module, d: Description, file: Path) -> Run:
    model = converted(network, trial_tiles(d)[0])
    openvino().save_model(model, file, compress_to_fp16=False)
    return _read_by_openvino(file)


def _onnx(network: nn.Module, d: Description, file: Path) -> Run:
    import torch

    if importlib.util.find_spec("onnx") is None:
        raise RequestError("The package onnx is not installed.", "pip install onnx, or choose another format.")
    axes = {0: "batch"} | {axis + 2: name for axis, name in enumerate("zyx"[-d.dimensions :])}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(trial_tiles(d)[0]),),
            str(file),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": axes, "logits": axes},
            opset_version=_OPSET,
            dynamo=False,
        )
    return _read_by_openvino(file)


def _read_by_openvino(file: Path) -> Run:
    request = compiled(core().read_model(file), "fp32")
    return lambda tile: logits(request, tile)


_WRITERS: dict[str, Callable[[Any, Description, Path], Run]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "torchscript": _torchscript,
}


def _check(network: nn.Module, d: Description, run: Run, kind: str) -> None:
    """Compare on another shape than that of the conversion, which must not have become a part of the network.

    Raises:
        ExecutionError: it gives something else.
    """
    import torch

    _, tile = trial_tiles(d)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(tile)).float().numpy()
    found = run(tile)
    apart = float(np.abs(found - wanted).max() / np.abs(wanted).max()) if found.shape == wanted.shape else np.inf
    if not apart <= TOLERANCE:
        raise ExecutionError(
            f"{d.id} as {kind} gives something else than here (off by {apart:.2g} of the largest logit).",
            "Choose another format.",
        )
