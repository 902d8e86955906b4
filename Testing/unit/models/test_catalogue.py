from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.io.user_folder import user_folder
from BrainTumorSegLib.models import catalogue, importers
from BrainTumorSegLib.models.catalogue import add, find, installed, load_model, models_folder, remove
from Testing.samples import write_oracle

WriteCheckpoint = Callable[..., Path]


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model that is included, so that these tests do not depend on which ones do."""
    folder = tmp_path / "embedded"
    folder.mkdir()
    write_oracle(folder / "along.safetensors", id="along")
    monkeypatch.setattr(catalogue, "EMBEDDED", folder)
    return folder


def test_the_user_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_folder() == home and models_folder() == home / "models"
    monkeypatch.delenv("BRAINTUMORSEG_HOME")
    assert user_folder() == Path.home() / ".braintumorseg"


def test_adding_listing_and_removing(tiny_checkpoint: WriteCheckpoint) -> None:
    source = tiny_checkpoint(id="mine")
    added = add(source)
    assert added.path == models_folder() / "mine.safetensors" and not added.embedded
    assert added.path.read_bytes() == source.read_bytes()
    models, errors = installed()
    assert list(models) == ["along", "mine"] and not errors
    assert models["along"].embedded and not models["mine"].embedded
    assert models["mine"].description.title == "Tiny 3D U-Net"
    assert load_model("mine").description.id == "mine"
    assert remove("mine") == added.path
    assert list(installed()[0]) == ["along"] and not added.path.exists()


def test_a_model_by_id_or_by_path(tiny_checkpoint: WriteCheckpoint) -> None:
    source = tiny_checkpoint()
    assert find("along").path.name == "along.safetensors"
    assert find(source).path == find(str(source)).path == source
    for unknown in ("nobody", "nobody.safetensors"):
        with pytest.raises(CheckpointError, match="nobody") as caught:
            load_model(unknown)
        assert "along" in caught.value.remedy


def test_a_damaged_file_is_reported_and_hides_no_other(home: Path, tiny_checkpoint: WriteCheckpoint) -> None:
    add(tiny_checkpoint(id="mine"))
    (models_folder() / "broken.safetensors").write_bytes(b"broken")
    (models_folder() / ".123-0.part-x.safetensors").write_bytes(b"half")  # being written
    (models_folder() / "notes.txt").write_text("x")
    models, errors = installed()
    assert list(models) == ["along", "mine"]
    assert len(errors) == 1 and "broken.safetensors" in str(errors[0])


def test_a_damaged_model_named_by_its_id_is_called_that_and_can_be_removed(tiny_checkpoint: WriteCheckpoint) -> None:
    file = add(tiny_checkpoint(id="mine")).path
    file.write_bytes(file.read_bytes()[:-100])
    for ask in (find, load_model):
        with pytest.raises(CheckpointError, match=r"mine\.safetensors is damaged") as caught:
            ask("mine")
        assert "again" in caught.value.remedy
    assert remove("mine") == file and not file.exists()
    with pytest.raises(CheckpointError, match="no model 'mine'"):
        find("mine")


def test_a_file_that_is_named_after_another_model(tiny_checkpoint: WriteCheckpoint) -> None:
    add(tiny_checkpoint(id="mine")).path.rename(models_folder() / "yours.safetensors")
    with pytest.raises(CheckpointError, match=r"yours\.safetensors holds the model mine"):
        find("yours")
    for outside in ("../models/mine", "/etc/passwd", "", ".", "a\0b", "x" * 5000):
        with pytest.raises(CheckpointError):
            find(outside)
        with pytest.raises(CheckpointError):
            remove(outside)
    (models_folder() / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError):
        remove("folder")
    assert (models_folder() / "folder.safetensors").is_dir()


def test_damaged_models_are_not_added(tiny_checkpoint: WriteCheckpoint) -> None:
    path = tiny_checkpoint(id="mine")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        add(path)
    assert not models_folder().exists()


def test_models_that_come_along_stay(tiny_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(CheckpointError, match="along"):
        add(tiny_checkpoint(id="along"))
    with pytest.raises(CheckpointError, match="along"):
        remove("along")
    with pytest.raises(CheckpointError, match="nobody"):
        remove("nobody")
    assert list(installed()[0]) == ["along"]


def test_adding_again_replaces(tiny_checkpoint: WriteCheckpoint) -> None:
    add(tiny_checkpoint(id="mine", name="a.safetensors"))
    add(tiny_checkpoint(id="mine", name="b.safetensors", version="2.0"))
    assert installed()[0]["mine"].description.version == "2.0"


def test_adding_replaces_the_model_of_that_id_whatever_its_file_is_called(tiny_checkpoint: WriteCheckpoint) -> None:
    add(tiny_checkpoint(id="mine")).path.rename(models_folder() / "yours.safetensors")
    assert add(tiny_checkpoint(id="mine", version="2.0")).path.name == "yours.safetensors"
    assert installed()[0]["mine"].description.version == "2.0", "the old one would hide the new one"
    with pytest.raises(CheckpointError, match="holds the model mine"):
        add(tiny_checkpoint(id="yours"))
    assert installed()[0]["mine"].path.name == "yours.safetensors"


def test_that_a_model_was_replaced_is_said(
    tiny_checkpoint: WriteCheckpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for title in ("First", "Second"):
        assert cli.main(["models", "add", str(tiny_checkpoint(id="mine", title=title))]) == 0
        said.append(capsys.readouterr().out)
    assert "First" not in said[0] and "First" in said[1]


def test_an_importer_is_a_file_and_its_name(
    tmp_path: Path, tiny_checkpoint: WriteCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of another program, which holds our own kind of file under another name."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "weights.bin").write_bytes(tiny_checkpoint(id="foreign").read_bytes())
    with pytest.raises(CheckpointError, match="bundle"):
        add(bundle)
    (tmp_path / "bundles.py").write_text(
        "import shutil\n"
        "def recognises(path):\n    return (path / 'weights.bin').is_file()\n"
        "def convert(path, folder, wishes, progress):\n"
        "    return shutil.copyfile(path / 'weights.bin', folder / 'model.safetensors')\n"
    )
    monkeypatch.setattr(importers, "__path__", [*importers.__path__, str(tmp_path)])
    monkeypatch.setattr(importers, "IMPORTERS", ("bundles",))
    assert add(bundle).path == models_folder() / "foreign.safetensors"
    assert load_model("foreign").description.title == "Tiny 3D U-Net"
    assert add(tiny_checkpoint(id="mine")).path.name == "mine.safetensors"
