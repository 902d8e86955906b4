"""A model's network as other programs read it gives what it gives here."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import CheckpointError, ExecutionError, RequestError
from BrainTumorSegLib.inference import network_export
from BrainTumorSegLib.inference.network_export import FORMATS, export_network
from BrainTumorSegLib.models.catalogue import add, load_model
from BrainTumorSegLib.models.importers.wishes import Wishes
from Testing.nnunet_samples import write_model


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_is_written_gives_the_same(tmp_path: Path, kind: str, dimensions: int) -> None:
    if kind != "torchscript" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO reads what was written")
    if kind == "onnx" and importlib.util.find_spec("onnx") is None:
        pytest.skip("PyTorch writes ONNX with the package onnx alone")
    write_model(tmp_path, dimensions)
    add(tmp_path, Wishes(id="tiny"))
    checkpoint = load_model("tiny")
    output = tmp_path / "out" / f"tiny{FORMATS[kind]}"
    files = export_network(checkpoint, kind, output)
    assert output in files and all(file.is_file() for file in files)
    assert sorted(output.parent.iterdir()) == sorted(files), "nothing else is written"
    described = json.loads(output.with_suffix(".json").read_text("utf-8"))["description"]
    assert described["modalities"] == ["t1", "t1ce", "t2", "flair"] and described["tiling"]["windows"] == "nnunet"
    images = np.random.default_rng(1).normal(size=(1, 4, 16, 24, 32)[: 2 + dimensions]).astype(np.float32)
    with torch.inference_mode():
        wanted = checkpoint.build()(torch.from_numpy(images)).numpy()
    if kind == "torchscript":
        found = torch.jit.load(str(output))(torch.from_numpy(images)).detach().numpy()
    else:
        found = network_export._read_by_openvino(output)(images)
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())


def test_what_comes_out_differently_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path)
    add(tmp_path, Wishes(id="tiny"))
    before = network_export._torchscript
    monkeypatch.setitem(
        network_export._WRITERS, "torchscript", lambda *given: lambda tile: before(*given)(tile) + np.float32(1)
    )
    with pytest.raises(ExecutionError, match="something else"):
        export_network(load_model("tiny"), "torchscript", tmp_path / "out.ts")
    assert not list(tmp_path.glob("out*"))


def test_a_size_that_became_part_of_the_network_is_noticed_in_2d(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed(torch.nn.Module):
        """Gives something else of images of another width, which tracing does not see."""

        def __init__(self, network: torch.nn.Module, width: int) -> None:
            super().__init__()
            self.network, self.width = network, width

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images) + float(images.shape[-1] != self.width)

    write_model(tmp_path, 2)
    add(tmp_path, Wishes(id="tiny"))
    checkpoint = load_model("tiny")
    fixed = Fixed(checkpoint.build(), checkpoint.description.network.trial_size)
    monkeypatch.setattr(type(checkpoint), "build", lambda self: fixed)
    with pytest.raises(ExecutionError, match="something else"):
        export_network(checkpoint, "torchscript", tmp_path / "out.ts")


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path, folds=2)
    add(tmp_path, Wishes(id="two"))
    with pytest.raises(CheckpointError, match="2 networks") as caught:
        export_network(load_model("two"), "torchscript", tmp_path / "two.ts")
    assert "two-fold_0" in caught.value.remedy
    with pytest.raises(RequestError, match="no name of a"):
        export_network(load_model("two").members[0], "torchscript", tmp_path / "two.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match="onnx is not installed"):
        export_network(load_model("two").members[0], "onnx", tmp_path / "two.onnx")


def test_the_command(
    tmp_path: Path,
    tiny_checkpoint: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_checkpoint(id="mine")
    assert cli.main(["models", "export", str(model), "--format", "torchscript"]) == 0
    assert (
        "mine.ts" in capsys.readouterr().out and (tmp_path / "mine.ts").is_file() and (tmp_path / "mine.json").is_file()
    )
    assert cli.main(["models", "export", str(model), "--format", "torchscript"]) == 0, "over its own earlier export"


@pytest.mark.parametrize(("kind", "beside"), [("torchscript", "mine.json"), ("openvino", "mine.bin")])
def test_what_lies_beside_the_file_stays(
    tmp_path: Path, tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str, beside: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_checkpoint(id="mine")
    (tmp_path / beside).write_text('{"schema": 2, "case": "of a result"}', "utf-8")
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert cli.main(["models", "export", str(model), "--format", kind]) == 2
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before
