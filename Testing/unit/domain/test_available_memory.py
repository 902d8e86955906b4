"""What the system's files say that a process may still take."""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from BrainTumorSegLib.domain import available_memory as module
from BrainTumorSegLib.domain.available_memory import available_memory

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if sys.platform == "win32" and "tmp_path" in request.fixturenames:
        pytest.skip("Windows is asked, not read")
    monkeypatch.setattr(module, "address_limit", lambda: None)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def machine(available: int, swap: int = 0) -> dict[str, str]:
    """Of so many MiB."""
    lines = ["MemTotal: 16000000 kB", f"MemAvailable: {available * 1024} kB", f"SwapFree: {swap * 1024} kB", "Odd:"]
    return {"proc/meminfo": "\n".join(lines)}


def group(folder: str, limit: str, used: int, files: int = 0, *, version: int = 2) -> dict[str, str]:
    """A control group whose processes use so many MiB, of which so many are files."""
    if version == 1:
        facts = f"inactive_file 7\ntotal_inactive_file {files * MIB}\ntotal_active_file 0\n"
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    else:
        facts = f"anon 5\ninactive_file {files * MIB}\nactive_file 0\n"
        names = ("memory.max", "memory.current")
    written = dict(zip(names, (f"{limit}\n", f"{used * MIB}\n"), strict=True))
    return {f"{folder}/{name}": text for name, text in {**written, "memory.stat": facts}.items()}


def test_a_machine_without_limits(tmp_path: Path) -> None:
    assert available_memory(write(tmp_path, machine(3000))) == 3000 * MIB
    assert available_memory(write(tmp_path, machine(3000, swap=500))) == 3500 * MIB


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB", "MemAvailable: many kB", "MemAvailable:"])
def test_nothing_is_known_where_nothing_tells(tmp_path: Path, text: str) -> None:
    assert available_memory(tmp_path) is None
    assert available_memory(write(tmp_path, {"proc/meminfo": text})) is None


@pytest.mark.parametrize(
    ("limit", "used", "files", "expected"),
    [
        (str(1000 * MIB), 400, 0, 600),
        (str(1000 * MIB), 400, 150, 750),  # files make room
        (str(1000 * MIB), 1100, 0, 0),
        (str(9000 * MIB), 400, 0, 3000),  # the machine has less
        ("max", 400, 0, 3000),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_of_the_container(
    tmp_path: Path, limit: str, used: int, files: int, expected: int, version: int
) -> None:
    top = "sys/fs/cgroup/memory" if version == 1 else "sys/fs/cgroup"
    line = "5:cpu:/a\n4:memory:/a/b" if version == 1 else "0::/a/b"
    limit = str((1 << 63) - 4096) if (version, limit) == (1, "max") else limit
    known = {**machine(3000), "proc/self/cgroup": f"{line}\n1:name=systemd:/\n"}
    # Its own group, one above it, or, in a container, that at the top.
    for number, place in enumerate((f"{top}/a/b", f"{top}/a", top)):
        root = write(tmp_path / str(number), {**known, **group(place, limit, used, files, version=version)})
        assert available_memory(root) == expected * MIB


def test_the_least_of_nested_groups(tmp_path: Path) -> None:
    inner, outer = (group(f"sys/fs/cgroup/{at}", str(most * MIB), 10) for at, most in (("a/b", 800), ("a", 500)))
    root = write(tmp_path, {**machine(3000), "proc/self/cgroup": "0::/a/b\n", **inner, **outer})
    assert available_memory(root) == 490 * MIB


def test_a_limit_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    root = write(tmp_path, {**machine(3000), "proc/self/statm": "1000 200 100 1 0 300 0\n"})
    taken = 1000 * resource.getpagesize()
    for limit, expected in ((taken + 100 * MIB, 100 * MIB), (taken - 1, 0), (1 << 60, 3000 * MIB)):
        monkeypatch.setattr(module, "address_limit", lambda limit=limit: limit)
        assert available_memory(root) == expected


@pytest.mark.parametrize(("succeeds", "expected"), [(1, 5 * MIB), (0, None)])
def test_windows_is_asked(monkeypatch: pytest.MonkeyPatch, succeeds: int, expected: int | None) -> None:
    def answer(status: Any) -> int:
        size, *_ = struct.unpack_from("<I", status._obj)
        assert size == 64
        # As its documentation has it: length, load, then of physical memory, page file and addresses all and what is
        # available, and of extended addresses what is.
        values = (64, 50, 32 * MIB, 3 * MIB, 64 * MIB, 5 * MIB, 1 << 47, 1 << 46, 0)
        struct.pack_into("<2I7Q", status._obj, 0, *values)
        return succeeds

    library = SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=answer))
    monkeypatch.setattr(ctypes, "windll", library, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert available_memory() == expected


def test_this_machine_can_be_asked() -> None:
    found = available_memory()
    assert found is not None or sys.platform not in ("linux", "win32")
    assert found is None or 0 < found < 1 << 50
