"""The Slicer extension, configured, built and installed with a stub of Slicer's CMake package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.offline import python_path

from .tree import ROOT, WEIGHTS, sources

STUB = Path(__file__).parent / "slicer_stub"
MODULES = Path("lib/Slicer-5.12/qt-scripted-modules")


def run_cmake(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    cmake = pytest.importorskip("cmake", reason="needs PyPI's cmake: pip install -e .[test]")
    program = Path(cmake.CMAKE_BIN_DIR) / ("cmake.exe" if os.name == "nt" else "cmake")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300, check=False)


def generator() -> list[str]:
    if os.name == "nt":
        return []  # Visual Studio is CMake's own choice
    missing = [name for name in ("make", "cc", "c++") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} on the path")
    return ["-G", "Unix Makefiles"]


def configure(source: Path, build: Path) -> subprocess.CompletedProcess[str]:
    return run_cmake("-S", source, "-B", build, f"-DSlicer_DIR={STUB}", *generator())


def install(source: Path, work: Path) -> set[str]:
    """Installed files, relative to Slicer's folder of scripted modules."""
    for done in (
        configure(source, work / "build"),
        run_cmake("--build", work / "build", "--config", "Release"),
        run_cmake("--install", work / "build", "--prefix", work / "installed", "--config", "Release"),
    ):
        assert done.returncode == 0, done.stdout + done.stderr
    folder = work / "installed" / MODULES
    outside = [path for path in (work / "installed").rglob("*") if path.is_file() and folder not in path.parents]
    assert not outside, f"installed where Slicer does not look: {outside}"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def in_slicer(source: str) -> str:
    """Where Slicer has a file of the tree: the module's own folder becomes the folder of modules."""
    return source.removeprefix("BrainTumorSeg/")


def advice(files: set[str], action: str) -> str:
    lines = []
    for file in sorted(files):
        package, _, name = file.partition("/")
        group = "MODULE_PYTHON_SCRIPTS" if file.endswith(".py") else "MODULE_PYTHON_RESOURCES"
        lines.append(f"{action} {package}/CMakeLists.txt, {group}:   {name}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def listed() -> set[str]:
    """Files that the two CMakeLists.txt name."""
    found = set()
    for package in ("BrainTumorSeg", "BrainTumorSegLib"):
        for line in (ROOT / package / "CMakeLists.txt").read_text(encoding="utf-8").splitlines():
            if line.startswith("  ") and "." in line and "$" not in line:
                found.add(f"{package}/{line.strip()}")
    return found


def test_every_file_is_listed(listed: set[str]) -> None:
    missing = sources() - listed
    assert not missing, f"not installed:\n{advice(missing, 'add to')}"


def test_nothing_else_is_listed(listed: set[str]) -> None:
    extra = listed - sources()
    assert not extra, f"listed, but not there:\n{advice(extra, 'remove from')}"


def test_installs_what_is_in_the_tree(tmp_path: Path) -> None:
    absent = [name for name in WEIGHTS if not (ROOT / name).is_file()]
    assert not absent, f"the weights are missing: {absent}"
    installed = install(ROOT, tmp_path)
    assert installed == {in_slicer(name) for name in sources()}
    for name in sources():
        there = tmp_path / "installed" / MODULES / in_slicer(name)
        assert there.read_bytes() == (ROOT / name).read_bytes(), name


def test_installed_engine_runs_from_slicers_folder(tmp_path: Path) -> None:
    """As in Slicer: the folder of modules is on the path, the clone is not."""
    install(ROOT, tmp_path)
    folder = tmp_path / "installed" / MODULES
    program = (
        "import BrainTumorSegLib, BrainTumorSegLib.runner as e; print(BrainTumorSegLib.__file__); print(e.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    files = [Path(line) for line in done.stdout.split()]
    assert files == [folder / "BrainTumorSegLib/__init__.py", folder / "BrainTumorSegLib/runner.py"]


def test_a_file_that_is_not_there_ends_configuration(tmp_path: Path) -> None:
    """The stub is as strict as the macro it stands for."""
    (tmp_path / "Some").mkdir()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(Some)\n"
        "find_package(Slicer REQUIRED)\ninclude(${Slicer_USE_FILE})\nadd_subdirectory(Some)\n"
    )
    (tmp_path / "Some" / "CMakeLists.txt").write_text("slicerMacroBuildScriptedModule(NAME Some SCRIPTS gone.py)\n")
    done = configure(tmp_path, tmp_path / "build")
    assert done.returncode != 0
    assert "gone.py" in done.stderr


def test_subfolder_and_flat_layout(tmp_path: Path) -> None:
    """WITH_SUBDIR keeps the folder's name; without it the files lie among the modules."""
    for name, option in (("Module", ""), ("Library", "WITH_SUBDIR")):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / f"{name}.py").touch()
        (tmp_path / name / "CMakeLists.txt").write_text(
            f"slicerMacroBuildScriptedModule(NAME {name} SCRIPTS part/{name} {option})\n"
        )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(Some)\n"
        "find_package(Slicer REQUIRED)\ninclude(${Slicer_USE_FILE})\n"
        "add_subdirectory(Library)\nadd_subdirectory(Module)\n"
    )
    assert install(tmp_path, tmp_path / "work") == {"part/Module.py", "Library/part/Library.py"}
