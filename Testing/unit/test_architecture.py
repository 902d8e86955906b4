"""The rules of the house: which room may know which, by layer, and how large a file may be."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "BrainTumorSegLib"
ROOMS = ("BrainTumorSeg", ENGINE, "Training", "Testing", "docs")
LONGEST = 450

# The rooms of the engine from the ground up: a room knows its own layer and those below it.
LAYERS = (
    {"domain"},
    {"io", "networks", "phantom"},
    {"models", "preprocessing", "quality"},
    {"inference", "longitudinal", "evaluation", "report"},
    {"engine_process", "engine_run", "cohort"},
    {"commands", "api", "runner", "worker", "cli"},
)
LAYER_OF = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}

APPLICATION = {"qt", "ctk", "slicer", "vtk", "PythonQt"}
MODULE = {"BrainTumorSeg", "BrainTumorSegPanel"}
TRAINERS = {"lightning", "pytorch_lightning", "tensorboard"}
# Room -> packages that it must not import, anywhere in it.
FORBIDDEN = {
    ENGINE: APPLICATION | MODULE | TRAINERS | {"Training", "Testing"},
    "Training": APPLICATION | MODULE | {"Testing"},
    "BrainTumorSeg": TRAINERS | {"Training", "Testing"},
}
# The one folder of the engine that turns nodes of the application into cases and back.
SCENE = f"{ENGINE}/io/mrml/"
# The ground floor needs these alone, beside Python itself.
DOMAIN_NEEDS = {"numpy", "scipy", *sys.stdlib_module_names}
HEAVY = {"torch", "monai", "SimpleITK", "nibabel", "matplotlib", "scipy", "lightning"}


def python_files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def imports(source: str, package: tuple[str, ...] = ()) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and dotted path of every import, at any depth; those for type checkers count too.

    ``package`` is that of the file, for its relative imports. ``from a import b`` gives ``a.b``: b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            named = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((node.lineno, (*named, alias.name)) for alias in node.names)


def violations(source: str, forbidden: set[str]) -> list[tuple[int, str]]:
    return sorted({(line, path[0]) for line, path in imports(source, ("here",)) if path[0] in forbidden})


def known_rooms(source: str, package: tuple[str, ...]) -> set[str]:
    """Rooms of the engine that a file in this package of it imports from."""
    paths = [path for _, path in imports(source, package) if len(path) > 1 and path[0] == ENGINE]
    return {path[1] for path in paths} & set(LAYER_OF)


def bare_excepts(source: str) -> list[int]:
    nodes = ast.walk(ast.parse(source))
    return [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is None]


def engine_imports() -> dict[str, dict[str, set[str]]]:
    """Room -> file -> rooms that it imports from, its own left out."""
    found: dict[str, dict[str, set[str]]] = {}
    for file in python_files(ENGINE):
        parts = file.relative_to(ROOT).with_suffix("").parts
        room = parts[1]
        if room != "__init__":
            name = file.relative_to(ROOT).as_posix()
            found.setdefault(room, {})[name] = known_rooms(file.read_text("utf-8"), parts[:-1]) - {room}
    return found


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_imports_point_one_way(room: str) -> None:
    files = python_files(room)
    assert files, f"{room} holds no code"
    found = []
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        forbidden = FORBIDDEN[room] - ({"slicer", "vtk"} if name.startswith(SCENE) else set())
        found += [f"{name}:{line} imports {other}" for line, other in violations(file.read_text("utf-8"), forbidden)]
    assert not found, "\n".join(found)


def test_every_room_knows_its_own_layer_and_those_below() -> None:
    found = engine_imports()
    assert set(found) <= set(LAYER_OF), f"rooms without a layer: {set(found) - set(LAYER_OF)}"
    wrong = [
        f"{name} imports from {other}"
        for room, files in found.items()
        for name, others in files.items()
        for other in others
        if LAYER_OF[other] > LAYER_OF[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_do_not_know_each_other_both_ways() -> None:
    graph = {room: set().union(*files.values()) for room, files in engine_imports().items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())  # a cycle is an error


def test_the_domain_needs_numpy_and_scipy_alone() -> None:
    found = [
        f"{file.relative_to(ROOT).as_posix()}:{line} imports {path[0]}"
        for file in python_files(f"{ENGINE}/domain")
        for line, path in imports(file.read_text("utf-8"), (ENGINE, "domain"))
        if path[0] not in DOMAIN_NEEDS and path[:2] != (ENGINE, "domain")
    ]
    assert not found, "\n".join(found)


def test_the_rules_see_imports_at_any_depth() -> None:
    lines = ["import os", "def f():", "    import slicer.util as u", "from .slicer import x", "from vtk.util import y"]
    source = "\n".join([*lines, "import a, qt"])
    assert violations(source, APPLICATION) == [(3, "slicer"), (5, "vtk"), (6, "qt")]
    assert bare_excepts("try:\n    pass\nexcept:\n    pass\ntry:\n    pass\nexcept ValueError:\n    pass\n") == [3]
    inside = "from ..domain import grid\nfrom ... import report\nfrom . import x\nimport BrainTumorSegLib.quality.y"
    assert known_rooms(inside, (ENGINE, "io")) == {"domain", "io", "quality"}
    assert known_rooms("from ...evaluation.metrics import dice", (ENGINE, "report", "figures")) == {"evaluation"}


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
        "import BrainTumorSegLib.runner",
        "import BrainTumorSegLib.domain.labels, BrainTumorSegLib.domain.modalities, BrainTumorSegLib.domain.grid",
        "import BrainTumorSegLib.domain.result_record, BrainTumorSegLib.models.catalogue",
        "import BrainTumorSegLib.io.case_folder, BrainTumorSegLib.io.sample_patient, BrainTumorSegLib.io.registry",
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
    assert ENGINE in loaded
    assert not loaded & HEAVY


def test_public_names_are_all_there() -> None:
    import BrainTumorSegLib

    for name in BrainTumorSegLib.__all__:
        assert getattr(BrainTumorSegLib, name).__module__.startswith("BrainTumorSegLib.")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        BrainTumorSegLib.nonsense  # noqa: B018
