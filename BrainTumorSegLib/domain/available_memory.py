"""How much memory this process may still take before it fails, or before the system ends it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .shortage import address_limit

# Where a hierarchy of control groups lies, by the controllers that /proc/self/cgroup names ('' in version 2): folder,
# and what its files are called that hold the limit and the use.
_HIERARCHIES = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}
# Files that the system keeps in memory count as used, and make room when it is needed.
_FILES = ("active_file", "inactive_file")


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take: of the machine, its container, and its own limit (``ulimit -v``).

    Args:
        root: where the system's files lie.

    Returns:
        None where nothing tells, as on macOS, which makes room on its disk.
    """
    if sys.platform == "win32":
        return _on_windows()
    return min((*_of_the_machine(root), *_of_its_groups(root), *_of_addresses(root)), default=None)


def _of_the_machine(root: Path) -> Iterator[int]:
    found: dict[str, int] = {}
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        with suppress(ValueError, IndexError):
            found[name] = int(value.split()[0]) * 1024
    if "MemAvailable" in found:
        # What others have and do not use moves to the disk, which takes time, but costs no accuracy.
        yield found["MemAvailable"] + found.get("SwapFree", 0)


def _of_its_groups(root: Path) -> Iterator[int]:
    """What each of the control groups that the process is in has left; a group's limit is its children's, too."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            if controller in _HIERARCHIES:
                folder, limit, use = _HIERARCHIES[controller]
                # In a container the path may be the one outside; its own files lie at the top then.
                inside = Path(path.lstrip("/"))
                for group in (inside, *inside.parents):
                    yield from _of_a_group(root / folder / group, limit, use)


def _of_a_group(folder: Path, limit: str, use: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # 'max' is no number
        most, used = (int((folder / name).read_text()) for name in (limit, use))
        facts = dict(line.partition(" ")[::2] for line in _lines(folder / "memory.stat"))
        # Version 1 counts those of the groups below under names of their own.
        files = sum(int(facts.get(f"total_{name}", facts.get(name, 0))) for name in _FILES)
        yield max(most - max(used - files, 0), 0)


def _of_addresses(root: Path) -> Iterator[int]:
    limit = address_limit()
    if limit is not None:
        import resource

        with suppress(ValueError, IndexError):
            taken = int(_lines(root / "proc/self/statm")[0].split()[0]) * resource.getpagesize()
            yield max(limit - taken, 0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", "replace").splitlines()
    except OSError:  # another system, or one that hides it
        return []


class _Status(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("all_physical", "physical", "all_committed", "committed")),
        *((name, ctypes.c_uint64) for name in ("all_addresses", "addresses", "extended")),
    )


def _on_windows() -> int | None:
    status = _Status(length=ctypes.sizeof(_Status))
    library = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(min(status.committed, status.addresses))
