"""The rules of the house: which room may know which, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("BrainTumorSeg", "BrainTumorSegLib", "Training", "Testing", "docs")
LONGEST = 450

APPLICATION = {"qt", "ctk", "slicer", "vtk", "PythonQt"}
MODULE = {"BrainTumorSeg", "BrainTumorSegPanel"}
TRAINERS = {"lightning", "pytorch_lightning", "tensorboard"}
# Room -> packages that it must not import, anywhere in it.
FORBIDDEN = {
    "BrainTumorSegLib": APPLICATION | MODULE | TRAINERS | {"Training", "Testing"},
    "Training": APPLICATION | MODULE | {"Testing"},
    "BrainTumorSeg": TRAINERS | {"Training", "Testing"},
}
# The one file of the engine that turns nodes of the application into cases and back.
ALLOWED = {"BrainTumorSegLib/mrml.py": {"slicer", "vtk"}}

TOP_LEVEL = {
    "BrainTumorSeg", "BrainTumorSegLib", "Training", "Testing", "docs",
    "BrainTumorSeg.json", "BrainTumorSeg.png", "CHANGELOG.md", "CMakeLists.txt", "CONTRIBUTING.md", "LICENSE.txt",
    "README.md", "constraints.txt", "pyproject.toml",
}  # fmt: skip
HEAVY = {"torch", "monai", "SimpleITK", "nibabel", "matplotlib", "scipy", "lightning"}


def python_files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and first name of every absolute import, at any depth; those for type checkers count too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def violations(source: str, forbidden: set[str]) -> list[tuple[int, str]]:
    return [(line, name) for line, name in imports(source) if name in forbidden]


def bare_excepts(source: str) -> list[int]:
    nodes = ast.walk(ast.parse(source))
    return [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is None]


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_imports_point_one_way(room: str) -> None:
    files = python_files(room)
    assert files, f"{room} holds no code"
    found = []
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        forbidden = FORBIDDEN[room] - ALLOWED.get(name, set())
        found += [f"{name}:{line} imports {other}" for line, other in violations(file.read_text("utf-8"), forbidden)]
    assert not found, "\n".join(found)


def test_the_rules_see_imports_at_any_depth() -> None:
    lines = ["import os", "def f():", "    import slicer.util as u", "from .slicer import x", "from vtk.util import y"]
    source = "\n".join([*lines, "import a, qt"])
    assert sorted(violations(source, APPLICATION)) == [(3, "slicer"), (5, "vtk"), (6, "qt")]
    assert bare_excepts("try:\n    pass\nexcept:\n    pass\ntry:\n    pass\nexcept ValueError:\n    pass\n") == [3]


def test_no_bare_except() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in python_files(*ROOMS)
        for line in bare_excepts(file.read_text("utf-8"))
    ]
    assert not found, found


def test_files_stay_short() -> None:
    lengths = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8").count("\n") for file in python_files(*ROOMS)}
    long = {name: lines for name, lines in lengths.items() if lines > LONGEST}
    assert not long, f"split these: {long}"


@pytest.mark.parametrize(
    "statement",
    [
        "import BrainTumorSegLib",
        # What the Slicer module imports while the application starts, when torch may not be installed yet.
        "import BrainTumorSegPanel.engine",
        "import BrainTumorSegLib.catalogue, BrainTumorSegLib.labels, BrainTumorSegLib.modalities",
    ],
)
def test_importing_is_light(statement: str) -> None:
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    path = [str(ROOT), str(ROOT / "BrainTumorSeg")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {program}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "BrainTumorSegLib" in loaded
    assert not loaded & HEAVY


def test_public_names_are_all_there() -> None:
    import BrainTumorSegLib

    assert {"Case", "Segmentation", "segment", "evaluate", "load_model"} <= set(BrainTumorSegLib.__all__)
    for name in BrainTumorSegLib.__all__:
        assert getattr(BrainTumorSegLib, name).__module__.startswith("BrainTumorSegLib.")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        BrainTumorSegLib.nonsense  # noqa: B018


def tracked_and_new() -> set[str]:
    """Top-level names that git tracks or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git clone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name.split("/")[0] for name in listing.split("\0") if name and (ROOT / name).exists()}


def test_top_level_is_as_agreed() -> None:
    found = {name for name in tracked_and_new() if not name.startswith(".")}
    assert found == TOP_LEVEL, f"missing {sorted(TOP_LEVEL - found)}, unexpected {sorted(found - TOP_LEVEL)}"
