"""Public models: what the list says, and their way from a server on this machine to the user's own models."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import CancelledError, CheckpointError, ExecutionError, RequestError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.models import public_models
from BrainTumorSegLib.models.catalogue import installed, models_folder
from BrainTumorSegLib.models.importers.wishes import Wishes
from BrainTumorSegLib.models.public_models import (
    LIST,
    VARIABLE,
    Fetched,
    available,
    download_model,
    find_public,
    pinned,
)
from Testing.model_server import Served, serving
from Testing.nnunet_samples import write_model


@pytest.fixture
def served() -> Iterator[Served]:
    """A server that can begin in the middle."""
    with serving() as state:
        yield state


@pytest.fixture
def listed(tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a list of one nnU-Net model, ``tiny``, on the server."""
    write_model(tmp_path / "made")
    served.content = Path(shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path / "made")).read_bytes()

    def write(**changes: Any) -> None:
        monkeypatch.setattr(public_models, "LIST", served.write_list(tmp_path / "list.json", **changes))

    write()
    return write


def never(fetched: Fetched) -> bool:
    raise AssertionError(fetched)


def test_the_list_is_as_its_schema_says() -> None:
    """By hand, for want of a library: every field is there, of its type and pattern, and nothing else."""
    schema = json.loads(LIST.with_name("public_models.schema.json").read_text("utf-8"))
    values = json.loads(LIST.read_text("utf-8"))
    rules = schema["properties"]["models"]["items"]
    types = {"string": str, "integer": int, "array": list, "object": dict}
    assert values["schema"] == schema["properties"]["schema"]["const"]
    for entry in values["models"]:
        assert sorted(entry) == sorted(rules["required"]) == sorted(rules["properties"])
        for name, rule in rules["properties"].items():
            value = entry[name]
            assert isinstance(value, types[rule.get("type", "string")]), name
            assert not rule.get("pattern") or re.search(rule["pattern"], str(value)), (entry["id"], name)
            assert not rule.get("enum") or value in rule["enum"], (entry["id"], name)
            assert not rule.get("minLength") or value, (entry["id"], name)
        assert set(entry["channels"]) <= set(rules["properties"]["channels"]["items"]["enum"])
        assert set(entry["labels"].values()) <= set(rules["properties"]["labels"]["additionalProperties"]["enum"])
    names = list(available())
    assert len(names) == len(set(names)) == len(values["models"]) >= 6
    assert {"monai-brats-mri", "auto3dseg-brats-men", "auto3dseg-brats-ped"} <= set(names)


def test_every_public_model_has_an_importer_and_a_card() -> None:
    from BrainTumorSegLib.models.importers import IMPORTERS

    for model in available().values():
        assert model.importer in IMPORTERS and model.wishes().channels == model.channels
        assert model.url in model.card() and model.licence in model.card() and "SHA-256" in model.card()
    with pytest.raises(CheckpointError, match="no public model 'nobody'"):
        find_public("nobody")


def test_a_model_is_downloaded_checked_and_added(served: Served, listed: Callable[..., None]) -> None:
    heard: list[float] = []
    progress = Progress(lambda stage, fraction, message: heard.append(fraction) if stage == "download" else None)
    added = download_model(find_public("tiny"), progress, never)
    assert added.description.id == "tiny" and "tiny" in installed()[0]
    assert added.description.weights_licence == "CC-BY-4.0"
    assert added.description.training.recipe["source"] == f"{served.address}/tiny.zip"
    assert heard and heard[-1] == 0.8, "then it is taken over"
    assert not [path for path in models_folder().parent.rglob("*") if path.suffix == ".zip"]


def test_a_connection_that_breaks_off_goes_on_where_it_was(served: Served, listed: Callable[..., None]) -> None:
    served.breaks = [len(served.content) // 2, 1000]
    download_model(find_public("tiny"), Progress(), never)
    half = len(served.content) // 2
    assert [wanted for _, wanted in served.asked] == [None, f"bytes={half}-", f"bytes={half + 1000}-"]


def test_a_cancelled_download_goes_on_another_time(served: Served, listed: Callable[..., None]) -> None:
    def end(stage: str, fraction: float, message: str) -> None:
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        download_model(find_public("tiny"), Progress(end), never)
    assert not models_folder().exists(), "nothing half is among the models"
    download_model(find_public("tiny"), Progress(), never)
    assert served.asked[1][1] == f"bytes={len(served.content)}-"


def test_a_file_that_changed_meanwhile_comes_whole(served: Served, listed: Callable[..., None]) -> None:
    served.breaks = [500, 0, 0, 0]
    with pytest.raises(ExecutionError, match="broke off"):
        download_model(find_public("tiny"), Progress(), never)
    served.etag, served.breaks = '"2"', []
    assert download_model(find_public("tiny"), Progress(), never).description.id == "tiny"


def test_another_file_is_refused_and_removed(served: Served, listed: Callable[..., None], home: Path) -> None:
    listed(sha256="0" * 64)
    with pytest.raises(ExecutionError, match="not the file that was stated"):
        download_model(find_public("tiny"), Progress(), never)
    listed(sha1="0" * 40)
    with pytest.raises(ExecutionError, match="not the file"):
        download_model(find_public("tiny"), Progress(), never)
    assert not models_folder().exists() and not list((home / "cache" / "downloads").iterdir())


def test_what_nobody_states_is_pinned_by_consent(served: Served, listed: Callable[..., None]) -> None:
    listed(sha256="", sha1="", bytes=0)
    digest = hashlib.sha256(served.content).hexdigest()
    with pytest.raises(RequestError, match="was not taken over"):
        download_model(find_public("tiny"), Progress(), lambda fetched: False)
    assert not pinned() and not models_folder().exists()
    shown: list[Fetched] = []
    download_model(find_public("tiny"), Progress(), lambda fetched: not shown.append(fetched))  # type: ignore[func-returns-value]
    assert digest == shown[0].sha256 and digest in shown[0].doubt and pinned() == {"tiny": digest}
    assert digest in find_public("tiny").card()
    download_model(find_public("tiny"), Progress(), never)  # not asked again
    served.content += b"more"
    with pytest.raises(ExecutionError, match="that was there before"):
        download_model(find_public("tiny"), Progress(), never)


def test_a_server_that_says_no_and_a_file_without_end(
    served: Served, listed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_models, "LARGEST", 1000)
    with pytest.raises(ExecutionError, match="larger than"):
        download_model(find_public("tiny"), Progress(), never)
    listed(url=f"{served.address.rpartition(':')[0]}:1/tiny.zip")
    with pytest.raises(ExecutionError, match="cannot be downloaded"):
        download_model(find_public("tiny"), Progress(), never)


def test_the_proxy_of_the_environment_is_used(
    served: Served, listed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", served.address)
    monkeypatch.setenv("no_proxy", "")
    listed(url="http://models.invalid/tiny.zip")
    assert download_model(find_public("tiny"), Progress(), never).description.id == "tiny"
    assert served.asked[0][0] == "http://models.invalid/tiny.zip"


def test_the_commands(served: Served, listed: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--available"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert cli.main(["models", "download", "tiny"]) == 2, "nobody sits at a terminal here"
    said = capsys.readouterr()
    assert "CC-BY-4.0" in said.out and "--yes" in said.err and not served.asked
    assert cli.main(["models", "download", "tiny", "--yes"]) == 0
    assert "Added tiny" in capsys.readouterr().out


def test_fetched_alone_shown_and_then_taken_over(
    served: Served, listed: Callable[..., None], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the panel does: what is there is not downloaded again, and only the digest that was agreed to is taken."""
    listed(sha256="", sha1="", bytes=0)
    digest = hashlib.sha256(served.content).hexdigest()
    assert cli.main(["models", "--progress", "json", "download", "tiny", "--yes", "--fetch-only"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]
    assert said["sha256"] == digest and digest in said["doubt"] and Path(said["file"]).is_file()
    assert not pinned() and not models_folder().exists()
    assert cli.main(["models", "download", "tiny", "--sha256", digest, "--id", "mine"]) == 0
    assert pinned() == {"tiny": digest} and "mine" in installed()[0] and len(served.asked) == 1
    assert not list((home / "cache" / "downloads").iterdir())
    listed(id="other", sha256="", sha1="", bytes=0)
    assert cli.main(["models", "download", "other", "--sha256", "0" * 64]) == 2
    assert "other" not in pinned() and not list((home / "cache" / "downloads").iterdir())


def test_what_was_downloaded_stays_while_something_is_to_be_said(
    tmp_path: Path, served: Served, listed: Callable[..., None]
) -> None:
    write_model(tmp_path / "unnamed", channels={str(number): f"channel {number}" for number in range(4)})
    served.content = Path(shutil.make_archive(str(tmp_path / "u"), "zip", tmp_path / "unnamed")).read_bytes()
    listed(channels=[], sha256=hashlib.sha256(served.content).hexdigest(), sha1="", bytes=0)
    with pytest.raises(RequestError, match="which sequences") as caught:
        download_model(find_public("tiny"), Progress(), never)
    assert caught.value.option == "channels" and find_public("tiny").file.is_file()
    said = Wishes(channels=("t1", "t1ce", "t2", "flair"))
    assert download_model(find_public("tiny"), Progress(), never, said).description.modalities == said.channels
    assert len(served.asked) == 1 and not find_public("tiny").file.exists()


def test_another_list(tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(served.write_list(tmp_path / "own.json", id="ours")))
    assert list(available()) == ["ours"]
    for text in ("[]", "{", '{"schema": 1}', '{"schema": 1, "models": [{"id": "a"}]}', '{"schema": 2, "models": []}'):
        (tmp_path / "own.json").write_text(text)
        with pytest.raises(RequestError, match=r"own\.json"):
            available()
