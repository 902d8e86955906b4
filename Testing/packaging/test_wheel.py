"""The wheel: built without internet, compared with the tree, installed into an empty environment and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from BrainTumorSegLib.cohort.dask import EXTRA
from BrainTumorSegLib.preprocessing.brain_extraction.hd_bet import HdBet
from Testing.offline import python_path

from .tree import ROOT, WEIGHTS, clean_copy, sources


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    values: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a clean copy: an old build folder in the tree could hide what is missing."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    clean_copy(source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (file,) = (work / "dist").glob("*.whl")
    return file


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_holds_what_is_in_the_tree_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in names_in(wheel) if ".dist-info/" not in name}
    missing, extra = sources() - packed, packed - sources()
    assert not missing, f"add to packages or package-data in pyproject.toml: {sorted(missing)}"
    assert not extra, f"does not belong into the wheel: {sorted(extra)}"


def test_holds_the_weights_byte_for_byte(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in WEIGHTS:
            assert archive.read(name) == (ROOT / name).read_bytes(), name


def test_holds_neither_training_nor_tests(wheel: Path) -> None:
    assert {name.split("/")[0] for name in names_in(wheel) if ".dist-info" not in name} == {
        "BrainTumorSeg",
        "BrainTumorSegLib",
    }


def test_metadata(wheel: Path) -> None:
    import BrainTumorSegLib

    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = archive.read(f"{folder}/METADATA").decode()
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        licence = archive.read(f"{folder}/licenses/LICENSE.txt").decode()
    assert f"\nVersion: {BrainTumorSegLib.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: Apache-2.0 AND CC-BY-NC-SA-4.0\n" in metadata
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) == {
        "train", "test", "docs", "brain", "cluster", "cpu", "dicom", "encoders", "slicer",
    }  # fmt: skip
    assert "braintumorseg = BrainTumorSegLib.cli:main" in commands
    assert "Apache License" in licence and "checkpoints/lgg-unet.safetensors" in licence


def folder_of(environment: Path, kind: str) -> Path:
    """Folder ``purelib`` or ``scripts`` of a virtual environment."""
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    base = str(environment)
    return Path(sysconfig.get_path(kind, scheme, vars={"base": base, "platbase": base, "installed_base": base}))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel alone; what it depends on is lent from the one that runs the tests.

    A folder named in a ``.pth`` file comes last on the path and its own ``.pth`` files are not read, so an
    editable install of the clone is not seen there.
    """
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    python = folder_of(environment, "scripts") / Path(sys.executable).name
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (folder_of(environment, "purelib") / "lent.pth").write_text("\n".join(sorted(lent)) + "\n", encoding="utf-8")
    return environment


def run_there(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    environment |= {"PYTHONPATH": python_path(), "BRAINTUMORSEG_HOME": str(cwd / "home"), "MPLBACKEND": "Agg"}
    program, *arguments = command
    return subprocess.run(
        [str(folder_of(installed, "scripts") / program), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_installed_package_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    program = "import BrainTumorSegLib as b, sys; print(b.__file__); sys.exit('Training' in sys.modules)"
    done = run_there(installed, tmp_path, Path(sys.executable).name, "-c", program)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_clone_is_out_of_sight_there(installed: Path, tmp_path: Path) -> None:
    done = run_there(installed, tmp_path, Path(sys.executable).name, "-c", "import Training")
    assert done.returncode != 0
    assert "No module named 'Training'" in done.stderr


@pytest.mark.slow
def test_demo_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    done = run_there(installed, tmp_path, "braintumorseg", "demo", "-o", "out", "--device", "cpu", "--progress", "json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])["result"]
    assert result["measurements"]["WT"]["volume_ml"] > 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"segmentation.nii.gz", "report.html", "montage.png"} <= written


def requirements(lines: list[str]) -> dict[str, str]:
    """Name → version part."""
    found = (re.fullmatch(r"([\w.-]+)(\[.+\])?(.*)", line.split("#")[0].strip()) for line in lines)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[3] for match in found if match}


def test_slicer_installs_what_it_does_not_have(settings: dict[str, object]) -> None:
    """The module's requirements are the core ones, without what Slicer and its PyTorch extension bring, and what makes
    CPUs fast, but on a Mac, which computes on its GPU."""
    project = settings["project"]
    assert isinstance(project, dict)
    core = requirements(project["dependencies"])
    file = ROOT / "BrainTumorSeg/Resources/requirements.txt"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    brought = {"torch", "numpy", "scipy", "simpleitk"}
    needed = {name: version for name, version in core.items() if name not in brought}
    fast = requirements(project["optional-dependencies"]["cpu"])
    assert requirements(lines) == needed | {n: f'{v}; sys_platform != "darwin"' for n, v in fast.items()}


def test_constraints_pin_all_that_is_needed(settings: dict[str, object]) -> None:
    """Every direct dependency of the package and of its tests, to one public version."""
    project = settings["project"]
    assert isinstance(project, dict)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = requirements([line for line in lines if not line.startswith("#")])
    loose = {name: version for name, version in pins.items() if not re.fullmatch(r"==[\d.]+(post\d+)?", version)}
    assert not loose, "pin to a version that every platform has (no +cpu)"
    extras = project["optional-dependencies"]
    wanted = requirements([*project["dependencies"], *extras["train"], *extras["test"]])
    assert set(wanted) - {"braintumorseg"} <= set(pins)


def test_messages_name_what_an_extra_brings(settings: dict[str, object]) -> None:
    """No index has this package, so a message names the packages themselves, with the bounds of the extra."""
    project = settings["project"]
    assert isinstance(project, dict)
    for extra, message in (("cluster", EXTRA), ("brain", HdBet.remedy)):
        needed = " ".join(f'"{need}"' for need in project["optional-dependencies"][extra])
        assert f"[{extra}]: python -m pip install {needed}" in message
