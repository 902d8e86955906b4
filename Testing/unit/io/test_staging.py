from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import ExecutionError, OutputError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.io.staging import Staging, atomic, discard_left, staged

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file semantics")


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "a.nii.gz", tmp_path / "new" / "deep" / "b.txt"
    with staged() as staging:
        parts = [staging.path(first), staging.path(second)]
        assert [part.name.endswith(name) for part, name in zip(parts, ("a.nii.gz", "b.txt"), strict=True)] == [True] * 2
        for part in parts:
            part.write_text(part.name)
            assert part.name.startswith(".")
        assert not first.exists() and not second.exists()
    assert entries(tmp_path) == sorted(map(os.path.normpath, ("new", "new/a.nii.gz", "new/deep", "new/deep/b.txt")))


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_nothing_is_left_after_a_failure(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(failure), staged() as staging:
        for name in ("old.txt", "x/a.txt", "x/y/b.txt", "x/y/z/c.txt"):
            staging.path(tmp_path / name).write_text("new")
        raise failure
    assert entries(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_folder_that_vanishes_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    output = tmp_path / "there" / "out.nrrd"
    output.parent.mkdir()
    with pytest.raises(ExecutionError, match="is no longer") as caught, staged() as staging:
        part = staging.path(output)
        shutil.rmtree(output.parent)
        write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), part)
    assert str(output.parent) in str(caught.value) and part.name not in str(caught.value)
    with pytest.raises(OSError, match="full") as full, staged() as staging:
        raise OSError(28, "full", str(staging.path(tmp_path / "out.txt")))
    assert full.value.filename == str(tmp_path / "out.txt")


def test_folders_that_others_filled_meanwhile_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), staged() as staging:
        staging.path(tmp_path / "x" / "a.txt")
        (tmp_path / "x" / "theirs.txt").write_text("theirs")
        raise ValueError("x")
    assert entries(tmp_path) == sorted(["x", str(Path("x", "theirs.txt"))])


def test_one_file_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with atomic(path) as part:
        part.write_text("new")
    assert path.read_text() == "new" and entries(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", [False, True])
def test_all_is_as_before_when_one_file_cannot_be_placed(tmp_path: Path, old: bool) -> None:
    first, second, third = (tmp_path / "x" / name for name in ("a.txt", "b.txt", "c.txt"))
    if old:
        first.parent.mkdir()
        first.write_text("old")
    before = entries(tmp_path)
    with pytest.raises(OutputError, match=r"b\.txt"), staged() as staging:
        for path in (first, second, third):
            staging.path(path).write_text("new")
        second.mkdir()  # comes in the way while the run lasts
    second.rmdir()
    assert entries(tmp_path) == (before if old else ["x"])  # ours was not empty when it was cleared
    if old:
        assert first.read_text() == "old"


def test_several_old_files_are_replaced(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("old")
    with staged() as staging:
        for name in ("a", "b", "c"):
            staging.path(tmp_path / name).write_text("new")
    assert entries(tmp_path) == ["a", "b", "c"]
    assert {(tmp_path / name).read_text() for name in "abc"} == {"new"}


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file") as caught, atomic(tmp_path / "file" / "a.txt"):
        pass
    assert caught.value.remedy
    with pytest.raises(OutputError, match="file"), atomic(tmp_path / "file" / "deeper" / "a.txt"):
        pass
    with pytest.raises(OutputError, match="is a folder"), atomic(tmp_path):
        pass
    assert entries(tmp_path) == ["file"]


@posix
def test_a_folder_that_is_half_made_is_removed(tmp_path: Path) -> None:
    with pytest.raises(OutputError), atomic(tmp_path / "new" / ("n" * 300) / "a.txt"):
        pass
    assert entries(tmp_path) == []


@posix
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(OutputError, match="cannot"):
            Staging().path(tmp_path / "a.txt")
    finally:
        tmp_path.chmod(0o700)


FULL_DISK = """
import resource, sys
from collections.abc import Iterator
from pathlib import Path
import numpy as np
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 30000, (40, 40, 40)).astype(np.int16)
try:
    with staged() as staging:
        staging.path(Path(sys.argv[1]) / "report.txt").write_text("fits")
        write_volume(Volume(noise, np.eye(4)), staging.path(Path(sys.argv[1]) / sys.argv[2]))
except OSError as error:
    print("refused:", type(error).__name__)
"""


@posix
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A limit on the file size makes the system refuse the write as a full disk does."""
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "out"), name], cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("refused:"), "the write seemed to succeed"
    assert entries(tmp_path) == []


def test_a_volume_is_replaced_by_one_made_from_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_volume(Volume(np.ones((2, 3, 4), np.int16), np.eye(4)), path)
    volume = read_volume(path)
    with atomic(path) as part:
        write_volume(volume.with_array(volume.array * 2), part)
    np.testing.assert_array_equal(read_volume(path).array, 2)


def test_nothing_to_place_is_nothing_done(tmp_path: Path) -> None:
    with staged([tmp_path / "input.nii.gz"]):
        pass
    assert not list(tmp_path.iterdir())


def test_what_is_discarded_for_want_of_memory_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("os.read", short)
    with pytest.raises(ZeroDivisionError), staged() as run:
        for name in ("a.txt", "b/c.txt"):
            run.path(tmp_path / "out" / name).write_text("new")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_discarded_is_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ran out where a run's arrays still took it: they are gone when its failure is told."""
    with monkeypatch.context() as short:

        def fail(*_: object) -> Iterator[Path]:
            raise MemoryError

        short.setattr(Path, "iterdir", fail)
        with pytest.raises(MemoryError), staged() as run:
            run.path(tmp_path / "out" / "b" / "c.txt").write_text("new")
            raise ZeroDivisionError
    assert (tmp_path / "out" / "b").is_dir()
    discard_left()
    assert not list(tmp_path.iterdir())
    with atomic(tmp_path / "out.txt") as part:
        part.write_text("sound")
    discard_left()
    assert (tmp_path / "out.txt").read_text() == "sound"
