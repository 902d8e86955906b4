from __future__ import annotations

import pytest

from BrainTumorSegLib.domain.errors import CancelledError
from BrainTumorSegLib.domain.progress import Progress


def test_the_fraction_never_falls_and_ends_at_one() -> None:
    reported: list[tuple[str, float, str]] = []
    progress = Progress(lambda stage, fraction, message: reported.append((stage, fraction, message)))
    progress.report("a", 0.5, "half")
    progress.report("b", 0.2)
    progress.report("c", 1.7)
    assert reported == [("a", 0.5, "half"), ("b", 0.5, ""), ("c", 1.0, "")]


def test_cancelling_ends_the_run_at_the_next_report() -> None:
    reported: list[str] = []
    progress = Progress(lambda stage, *_: reported.append(stage))
    progress.report("a", 0.1)
    progress.cancelled.set()
    with pytest.raises(CancelledError):
        progress.report("b", 0.2)
    assert reported == ["a"]


def test_nobody_need_listen() -> None:
    progress = Progress()
    progress.report("a", 0.5)
    progress.cancelled.set()
    with pytest.raises(CancelledError):
        progress.report("a", 0.6)


def test_a_part_is_a_share_of_the_whole() -> None:
    reported: list[tuple[str, float]] = []
    progress = Progress(lambda stage, fraction, _: reported.append((stage, round(fraction, 6))))
    middle = progress.part(0.2, 0.6)
    middle.report("a", 0.5)
    middle.part(0.5, 1.0).report("b", 0.5)
    progress.report("c", 0.9)
    assert reported == [("a", 0.4), ("b", 0.5), ("c", 0.9)]
    with pytest.raises(ValueError, match="part"):
        progress.part(0.6, 0.2)


def test_a_part_is_cancelled_with_the_whole() -> None:
    progress = Progress()
    part = progress.part(0.0, 0.5).part(0.0, 0.5)
    progress.cancelled.set()
    with pytest.raises(CancelledError):
        part.report("a", 0.1)
