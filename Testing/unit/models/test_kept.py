"""A model that is kept from one run to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.models import kept
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import save_checkpoint
from BrainTumorSegLib.models.ensemble import average_of
from Testing.end_to_end.making import make_model


@pytest.fixture(autouse=True)
def keeping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kept, "_shelf", kept._Shelf())
    kept.keep_models()
    yield


def test_one_of_the_same_file_is_the_same(tmp_path: Path) -> None:
    first, second = (make_model(tmp_path / f"{name}.safetensors") for name in "ab")
    assert kept.load_kept(first) is kept.load_kept(str(first))
    before = kept.load_kept(first)
    assert kept.load_kept(second).description.id == "b"
    assert kept.load_kept(first) is not before, "room for one"
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="digest"):
        kept.load_kept(first)
    first.unlink()
    with pytest.raises(CheckpointError, match="no model"):
        kept.load_kept(first)


def test_nothing_is_kept_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_shelf", kept._Shelf())
    file = make_model(tmp_path / "a.safetensors")
    assert kept.load_kept(file) is not kept.load_kept(file)


def test_a_network_that_was_converted_leaves_the_next_one_as_it_was(tmp_path: Path) -> None:
    file, images = make_model(tmp_path / "a.safetensors"), torch.rand(1, 4, 16, 16, 16)
    expected = load_model(file).build()(images)
    checkpoint = kept.load_kept(file)
    first, second = checkpoint.build(), checkpoint.build()
    assert torch.equal(first(images), expected)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert pairs and all(a.data_ptr() == b.data_ptr() for a, b in pairs), "the weights lie in memory once"
    first.to(torch.float16)
    for network in (second, checkpoint.build()):
        assert torch.equal(network(images), expected)
        assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_members_of_an_ensemble_keep_their_networks(tmp_path: Path) -> None:
    models = [
        load_model(make_model(tmp_path / f"{name}.safetensors", dimensions=d)) for name, d in (("a", 2), ("b", 3))
    ]
    file = save_checkpoint(*average_of(models, "both"), tmp_path / "both.safetensors")
    checkpoint = kept.load_kept(file)
    assert [member.description.id for member in checkpoint.members] == ["a", "b"]
    for first, second in zip(checkpoint.members, kept.load_kept(file).members, strict=True):
        assert first is second
        a, b = (next(member.build().parameters()) for member in (first, second))
        assert a.data_ptr() == b.data_ptr()


def test_what_is_made_of_a_kept_checkpoint_is_made_once(tmp_path: Path) -> None:
    file, made = make_model(tmp_path / "a.safetensors"), []
    for load in (kept.load_kept, kept.load_kept, load_model, load_model):
        kept.once(load(file), "a compiled network", lambda: made.append(1))
    assert len(made) == 3
