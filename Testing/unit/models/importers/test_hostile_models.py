"""Models of other programs that were made to harm are refused in a sentence; nothing of them runs or is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.models.catalogue import add, models_folder
from BrainTumorSegLib.models.importers.wishes import Wishes
from Testing.hostile_models import MARK, Maker, cases
from Testing.monai_samples import AUTO_ORDER

CASES = cases()


def test_there_are_many() -> None:
    assert len(CASES) >= 60


@pytest.mark.skipif(sys.platform == "win32", reason="some of them are links and pipes")
@pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
def test_a_model_made_to_harm_is_refused(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, make: Maker
) -> None:
    mark = tmp_path / "ran"
    monkeypatch.setenv(MARK, str(mark))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "model").mkdir()
    path = make(tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RequestError) as caught:
        add(path, Wishes(channels=AUTO_ORDER))
    message = caught.value.sentence()
    assert caught.value.remedy and len(message) < 1500 and message.isprintable()
    assert not mark.exists(), "it ran"
    assert not models_folder().exists() and sorted(tmp_path.rglob("*")) == before, "it wrote"
