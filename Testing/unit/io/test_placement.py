"""All files of a run or none, whatever happens at whichever line, and what killed runs leave is cleared up."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from BrainTumorSegLib.domain.errors import OutputError
from BrainTumorSegLib.domain.interruption import may_interrupt
from BrainTumorSegLib.io import placement, run_mark, staging
from BrainTumorSegLib.io.run_mark import RunMark
from BrainTumorSegLib.io.staging import atomic, staged

# In two folders; the second and third are there from before.
NAMES = ("one.txt", "two.txt", "maps/three.txt", "maps/four.txt")
BEFORE = {"two.txt": "old", "maps/three.txt": "old", "other.txt": "theirs"}
AFTER = {**dict.fromkeys(NAMES, "new"), "other.txt": "theirs"}
ROOT = Path(__file__).parents[3]
# Where what is collected as garbage is disturbed, Python says so and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def prepare(folder: Path) -> Path:
    (folder / "maps").mkdir(parents=True)
    for name, text in BEFORE.items():
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_all(folder: Path, disturb: Callable[[], None] = lambda: None) -> None:
    with staged() as run:
        for name in NAMES:
            run.path(folder / name).write_text("new")
        disturb()


@pytest.fixture
def trace() -> Iterator[None]:
    before = sys.gettrace()
    yield
    sys.settrace(before)


class Disturber:
    """Does something at one line of what puts files in place, and counts the lines."""

    FILES = tuple(str(module.__file__) for module in (staging, placement, run_mark))

    def __init__(self, line: int, deed: Callable[[], None]) -> None:
        self.line, self.deed, self.seen = line, deed, 0

    def start(self) -> None:
        """In the frames that run already, too."""
        sys.settrace(self)
        frame = sys._getframe().f_back
        while frame is not None:
            if frame.f_code.co_filename in self.FILES:
                frame.f_trace = self
            frame = frame.f_back

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Disturber | None:
        if frame.f_code.co_filename not in self.FILES:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.line:
                sys.settrace(None)
                self.deed()
        return self


def interrupt() -> None:
    raise KeyboardInterrupt


def at_each_line(
    folder: Path, deed: Callable[[], None], run: Callable[[Path, Disturber], None]
) -> list[dict[str, str]]:
    """What lies in the folder after each try, the next run's clearing up included."""
    found, line = [], 1
    while True:
        place = prepare(folder / str(line))
        disturber = Disturber(line, deed)
        try:
            run(place, disturber)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if disturber.seen < line:
            return found
        for used in (place, place / "maps"):
            placement.clear_up(used)
        found.append(content(place))
        line += 1


def test_an_interrupt_at_each_line_of_the_commit(tmp_path: Path, trace: None) -> None:
    found = at_each_line(tmp_path, interrupt, lambda place, disturber: write_all(place, disturber.start))
    assert len(found) > 60 and all(seen in (BEFORE, AFTER) for seen in found)
    assert BEFORE in found and AFTER in found


def test_an_interrupt_at_each_line_of_staging(tmp_path: Path, trace: None) -> None:
    def run(place: Path, disturber: Disturber) -> None:
        disturber.start()
        write_all(place, lambda: sys.settrace(None))

    found = at_each_line(tmp_path, interrupt, run)
    assert len(found) > 60 and all(seen in (BEFORE, AFTER) for seen in found)


def test_a_signal_at_each_line_of_the_commit_waits_for_its_end(tmp_path: Path, trace: None) -> None:
    held = []
    at_each_line(
        tmp_path, lambda: held.append(not may_interrupt()), lambda place, disturber: write_all(place, disturber.start)
    )
    assert held.count(False) < 12  # before and behind it
    assert may_interrupt()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_process_killed_at_any_line_of_the_commit(tmp_path: Path) -> None:
    """Every line in a child that this test forks: nothing of it survives but what the disk holds."""
    line, found = 1, []
    while True:
        place = prepare(tmp_path / str(line))
        child = os.fork()
        if not child:
            disturber = Disturber(line, lambda: os.kill(os.getpid(), signal.SIGKILL))
            write_all(place, disturber.start)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        with pytest.raises(RuntimeError), staged() as run:  # the next run into one of the folders
            run.path(place / ("maps/three.txt" if line % 2 else "one.txt"))
            raise RuntimeError
        for used in (place, place / "maps"):
            placement.clear_up(used)
        found.append(content(place))
        line += 1
    assert line > 60 and [seen for seen in found if seen not in (BEFORE, AFTER)] == []
    assert BEFORE in found and AFTER in found


@pytest.mark.skipif(sys.platform == "win32", reason="Windows flushes no folders")
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]])
def test_the_disk_holds_each_file_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    flushed: list[tuple[int, bool]] = []
    place, flush = prepare(tmp_path / "out"), os.fsync

    def seen(descriptor: int) -> None:
        flush(descriptor)
        facts = os.fstat(descriptor)
        flushed.append((facts.st_ino, all(content(place).get(name) == "new" for name in names)))

    monkeypatch.setattr(os, "fsync", seen)
    with staged() as run:
        for name in names:
            run.path(place / name).write_text("new")
    for name in names:
        assert ((place / name).stat().st_ino, False) in flushed
        assert ((place / name).parent.stat().st_ino, True) in flushed


def test_a_disk_that_cannot_hold_a_file_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = prepare(tmp_path / "out")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OutputError, match=r"one\.txt cannot be written"):
        write_all(place)
    assert content(place) == BEFORE


@pytest.mark.skipif(sys.platform == "win32", reason="Windows flushes no folders")
def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind an only file's renaming that is no failure: what was there is gone. Several files can be put back."""
    flush = os.fsync

    def broken(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    place = prepare(tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be written"):
        write_all(place)
    assert content(place) == BEFORE
    with atomic(place / "two.txt") as part:
        part.write_text("new")
    assert content(place) == {**BEFORE, "two.txt": "new"}


def test_a_mark_that_cannot_be_flushed_when_all_is_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, flush = prepare(tmp_path / "out"), os.fsync

    def broken(descriptor: int) -> None:
        flush(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and not os.fstat(descriptor).st_size:  # an emptied mark
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    write_all(place)
    assert content(place) == AFTER


def test_a_disk_that_knows_no_flush_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unknown)
    place = prepare(tmp_path / "out")
    write_all(place)
    assert content(place) == AFTER


def test_what_a_living_run_writes_stays(tmp_path: Path) -> None:
    with staged() as run:
        part = run.path(tmp_path / "a.txt")
        part.write_text("new")
        with atomic(tmp_path / "b.txt") as other:
            other.write_text("new")
        assert part.read_text() == "new"
    assert content(tmp_path) == {"a.txt": "new", "b.txt": "new"}


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from BrainTumorSegLib.io.staging import staged\n"
        "with staged() as run:\n"
        "    run.path(pathlib.Path(sys.argv[1]) / 'a.txt').write_text('new')\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        placement.clear_up(tmp_path)
        assert "new" in content(tmp_path).values()
        process.communicate()
    assert content(tmp_path) == {"a.txt": "new"}


def test_a_record_of_strangers_moves_nothing(tmp_path: Path) -> None:
    """A folder that came from elsewhere may hold anything, a mark too."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    mark = RunMark.make(theirs)
    token = mark.path.stem
    (theirs / f"{token}-0.part-x").write_text("x")
    for moves in (
        [[f"{token}-1.part-x", "../mine/thesis.txt", False, "13-0"]],
        [[f"../mine/{token}-1.part-x", "x", True, ""]],
        [["thesis.txt", "x", True, ""]],
        [10**400],
        "[" * 100_000,
    ):
        marks = [str(mark.path), str(tmp_path / "mine" / mark.path.name)]
        mark.write(moves.encode() if isinstance(moves, str) else json.dumps([marks, moves]).encode())
        placement._undo([mark])
    mark.close()
    placement.clear_up(theirs)
    assert content(tmp_path) == {str(Path("mine", "thesis.txt")): "years of work"}


def test_a_folder_that_was_moved_after_the_run_was_killed(tmp_path: Path) -> None:
    """An only folder tells all by itself; of several, nobody knows where the others are, and nothing is lost."""
    for name, mark_paths in (("one", 1), ("several", 2)):
        (tmp_path / name).mkdir()
        mark = RunMark.make(tmp_path / name)
        token = mark.path.stem
        moves = [[f"{token}-0.part-a.txt", "a.txt", True, "3-0"]]
        marks = [f"/before/{mark.path.name}", "/before/other/.bts-00000000-1-00000000.run"][:mark_paths]
        mark.write(json.dumps([marks, moves]).encode())
        mark.close()
        (tmp_path / name / f"{token}-0.part-a.txt.old").write_text("old")
        (tmp_path / name / "a.txt").write_text("new")
        placement.clear_up(tmp_path / name)
    assert content(tmp_path / "one") == {"a.txt": "old"}
    assert {"old", "new"} <= set(content(tmp_path / "several").values())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX names")
def test_the_longest_name_there_can_be(tmp_path: Path) -> None:
    name = "n" * 248 + ".nii.gz"
    with atomic(tmp_path / name) as part:
        assert part.name.endswith(".nii.gz")
        part.write_text("new")
    assert content(tmp_path) == {name: "new"}
