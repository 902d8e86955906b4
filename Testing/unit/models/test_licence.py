"""Licences that are accepted once a model and version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from BrainTumorSegLib.models.checkpoint_file import read_description
from BrainTumorSegLib.models.description import Description
from BrainTumorSegLib.models.licence import FREE_LICENCE, accept_licence, pending_licence

WriteCheckpoint = Callable[..., Path]
LICENCE = "CC BY-NC-SA 4.0"


@pytest.fixture
def described(tiny_checkpoint: WriteCheckpoint) -> Callable[..., Description]:
    """The description of a model with these terms."""

    def describe(licence: str, **changes: str) -> Description:
        return read_description(tiny_checkpoint(weights_licence=licence, **changes))

    return describe


def test_terms_stay_open_until_accepted(described: Callable[..., Description]) -> None:
    model = described(LICENCE)
    assert pending_licence(model) == LICENCE
    accept_licence(model)
    assert pending_licence(model) == ""
    assert pending_licence(described(LICENCE, version="2")) == LICENCE, "another version is another model"
    assert pending_licence(described("CC BY-NC-ND 4.0")) == "CC BY-NC-ND 4.0", "the terms have changed"


@pytest.mark.parametrize("licence", ["", FREE_LICENCE])
def test_free_weights_ask_nothing(described: Callable[..., Description], licence: str) -> None:
    assert pending_licence(described(licence)) == ""


@pytest.mark.parametrize("content", ["no json", "[1]"])
def test_a_damaged_record_has_accepted_nothing(home: Path, described: Callable[..., Description], content: str) -> None:
    model = described(LICENCE)
    (home / "accepted-terms.json").write_text(content)
    assert pending_licence(model) == LICENCE
    accept_licence(model)
    assert pending_licence(model) == ""


def test_what_cannot_be_remembered_is_asked_again(
    tmp_path: Path, described: Callable[..., Description], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "file"))
    model = described(LICENCE)
    accept_licence(model)
    assert pending_licence(model) == LICENCE
