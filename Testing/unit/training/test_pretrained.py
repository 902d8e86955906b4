"""An encoder's weights from a file: taken over, fitted to other channels, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, read_description
from BrainTumorSegLib.networks import create_network
from Testing.image_data import write_lgg
from Testing.unit.training.test_slice_fold import RECIPE
from Training.pretrained import load_encoder
from Training.train import main


def network(channels: int = 3, encoder: str = "resnet10", seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    arguments = {"encoder": encoder, "decoder": [16, 8, 8, 8, 8]}
    return create_network("flexible_unet", dimensions=2, in_channels=channels, out_channels=1, arguments=arguments)


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    encoder = network.encoder
    assert isinstance(encoder, torch.nn.Module)
    return {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_encoder_takes_over_the_weights_of_a_classifier(tmp_path: Path, suffix: str) -> None:
    source, taught = network(seed=1), network(seed=2)
    weights = {f"module.{name}": tensor for name, tensor in state_of(source).items()}
    weights["module.fc.weight"] = torch.ones(7, 3)
    file = tmp_path / f"encoder{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": weights}, file)
    else:
        save_file(weights, file)
    decoder = taught.segmentation_head[0].weight.clone()  # type: ignore[index, union-attr]
    assert "fc.weight" in load_encoder(taught, file)
    wanted, found = state_of(source), state_of(taught)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert torch.equal(taught.segmentation_head[0].weight, decoder)  # type: ignore[index, union-attr]


def test_grey_images_are_seen_as_grey_photographs(tmp_path: Path) -> None:
    """One channel, or four: the encoder answers as to a photograph whose three channels are that image."""
    source = network(seed=1).eval()
    file = tmp_path / "encoder.safetensors"
    save_file(state_of(source), file)
    image = torch.randn(1, 1, 64, 64)
    wanted = source.encoder(image.repeat(1, 3, 1, 1))[0]  # type: ignore[operator]
    for channels in (1, 6):
        taught = network(channels, seed=2).eval()
        load_encoder(taught, file)
        found = taught.encoder(image.repeat(1, channels, 1, 1))[0]  # type: ignore[operator]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file(state_of(network(encoder="resnet18")), file)
    with pytest.raises(CheckpointError, match="another encoder"):
        load_encoder(network(encoder="resnet34"), file)
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(RequestError, match="no weights that can be read"):
        load_encoder(network(), tmp_path / "text.pth")
    with pytest.raises(RequestError, match="no encoder"):
        load_encoder(create_network("unet", dimensions=2, in_channels=1, out_channels=1), file)


def test_a_run_begins_from_the_file_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lgg(tmp_path / "data", ("A", "B", "C"), slices=4)
    (tmp_path / "data" / "split.json").write_text(json.dumps({"train": ["A", "B"], "validation": ["C"]}))
    recipe, file, run = tmp_path / "recipe.toml", tmp_path / "encoder.safetensors", tmp_path / "run"
    over_encoder = '"flexible_unet", arguments = { encoder = "resnet10", decoder = [16, 8, 8, 8, 8] }'
    text = RECIPE.replace('"unet", arguments = { width = 8, levels = 1 }', over_encoder)
    recipe.write_text(text.replace("patch = [16, 16]", "patch = [32, 32]").replace("2.0, 2.0", "8.0, 8.0"))
    save_file(state_of(network(seed=1)) | {"fc.weight": torch.ones(7, 3)}, file)
    places = ["--data", str(tmp_path / "data"), "--cache", str(tmp_path / "cache"), "-o", str(run), "--measure=none"]
    assert main([str(recipe), *places, "--device=cpu", "--encoder-weights", str(file)]) == 0
    assert f"begins from {file}, without fc.weight." in capsys.readouterr().out
    recorded = read_description(run / "leaky.safetensors").training.recipe
    assert recorded["encoder_weights"] == file.name  # where it lay is nobody's business
    made, places[5] = run / "leaky.safetensors", str(tmp_path / "whole")
    assert main([str(recipe), *places, "--device=cpu", "--steps=1", "--init", str(made)]) == 0
    begun = load_checkpoint(tmp_path / "whole" / made.name)
    assert begun.description.training.recipe["init"] == made.name
    before, after = (model.weights["segmentation_head.0.weight"].float() for model in (load_checkpoint(made), begun))
    assert torch.allclose(after, before, atol=0.02) and not torch.equal(after, before)  # one step of 1e-2 away
    assert main([str(recipe), *places, "--device=cpu", "--init", str(made), "--encoder-weights", str(file)]) == 2
    assert "exclude each other" in capsys.readouterr().err
    save_file(state_of(network(encoder="resnet18")), file)
    places[5] = str(tmp_path / "other")
    recipe.write_text(recipe.read_text().replace("resnet10", "resnet34"))
    assert main([str(recipe), *places, "--device=cpu", "--encoder-weights", str(file)]) == 2
    assert "another encoder" in capsys.readouterr().err
