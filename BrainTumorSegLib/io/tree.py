"""Folders and files below a folder, also behind links."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path


def folders_below(root: Path, passed_over: Collection[Path] = ()) -> Iterator[tuple[Path, Iterator[Path]]]:
    """A folder and those below it, each with its files, in the order of their names.

    Links to folders are followed, and each folder comes once, so that links in a loop come to an end; so do those to a
    folder that holds the root. What is hidden (its name begins with a dot), what is no regular file, and folders that
    may not be read are left out.

    Args:
        root: where to begin.
        passed_over: folders that are not looked into, by whatever way they are reached; the root is, if it is one.
    """
    real = Path(os.path.realpath(root))
    seen = {os.path.realpath(each) for each in passed_over} | {str(each) for each in (real, *real.parents)}
    for name, inner, files in os.walk(root, followlinks=True):
        folder, kept = Path(name), []
        for each in sorted(inner):
            place = os.path.realpath(folder / each)
            if each[0] != "." and place not in seen:
                seen.add(place)
                kept.append(each)
        inner[:] = kept
        yield folder, _shown(folder, files)


def _shown(folder: Path, names: list[str]) -> Iterator[Path]:
    return (path for path in (folder / name for name in sorted(names) if name[0] != ".") if path.is_file())


def files_below(root: Path) -> Iterator[Path]:
    """The files of :func:`folders_below`."""
    return (file for _, files in folders_below(root) for file in files)
