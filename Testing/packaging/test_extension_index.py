"""What the Extensions Index checks of an extension, as far as that needs no network."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from .tree import ROOT, WEIGHTS

MIB = 1024**2
KEYS = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
# Ways to fetch or to run something while CMake configures.
_ACTIVE = re.compile(r"DOWNLOAD|UPLOAD|ExternalProject|FetchContent|execute_process|\bpip\b|GLOB", re.IGNORECASE)


@pytest.fixture(scope="module")
def entry() -> dict[str, object]:
    values: dict[str, object] = json.loads((ROOT / "BrainTumorSeg.json").read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module")
def cmake() -> str:
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def repository(cmake: str) -> str:
    """The one variable that says where the project lives."""
    found = re.findall(r'set\(BrainTumorSeg_REPOSITORY "([^"]+)"\)', cmake)
    assert len(found) == 1
    return str(found[0])


def addresses(cmake: str, name: str) -> list[str]:
    """Found as the Index finds them: in the text, where a variable would stay a variable."""
    found = re.search(rf'set\s*\({name}\s*"([^"]+)"\s*\)', cmake)
    assert found, f"no {name}"
    return found[1].split()


def test_entry_has_the_keys_of_the_schema(entry: dict[str, object]) -> None:
    assert set(entry) == KEYS
    assert str(entry["$schema"]).split("#")[0].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json")
    assert entry["category"] == "Segmentation"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert entry["build_subdirectory"] == "."
    assert entry["tier"] in range(1, 6)


def test_entry_names_a_repository_that_the_index_takes(entry: dict[str, object]) -> None:
    address = urlsplit(str(entry["scm_url"]))
    assert address.scheme in ("git", "https")
    assert "slicer" in Path(address.path).stem.lower()


def test_every_address_is_that_of_the_one_variable(entry: dict[str, object], cmake: str, repository: str) -> None:
    raw = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")
    assert entry["scm_url"] == f"{repository}.git", f'BrainTumorSeg.json: "scm_url": "{repository}.git"'
    for name in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        for address in addresses(cmake, name):
            assert address.startswith(f"{raw}/{entry['scm_revision']}/"), f"{name} must begin with {raw}/"


def test_first_project_is_the_extension(cmake: str) -> None:
    """The Index takes the first match, were it in a comment."""
    assert re.findall(r"project\s*\(\s*([^\s)]+)", cmake, re.IGNORECASE)[0].strip("\"'") == "BrainTumorSeg"
    assert (ROOT / "BrainTumorSeg.json").stem == "BrainTumorSeg"


def test_metadata_is_complete(cmake: str) -> None:
    for name in ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf"set\(EXTENSION_{name} \"[^\"]+\"\)", cmake), name


def test_images_exist_in_the_tree(cmake: str, entry: dict[str, object], repository: str) -> None:
    for name in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        for address in addresses(cmake, name):
            assert address.lower().endswith((".png", ".jpg", ".jpeg"))
            file = ROOT / address.split(f"/{entry['scm_revision']}/", 1)[1]
            assert file.is_file(), f"{name} shows {file.relative_to(ROOT)}, which is not there"
            with Image.open(file) as image:
                image.verify()


@pytest.mark.parametrize("file", ["BrainTumorSeg.png", "BrainTumorSeg/Resources/Icons/BrainTumorSeg.png"])
def test_icon_is_a_picture_of_128_pixels(file: str) -> None:
    with Image.open(ROOT / file) as icon:
        assert icon.size == (128, 128)
        assert icon.mode == "RGBA"
        colours = icon.convert("RGBA").getcolors(128 * 128)
    assert colours is not None
    assert len(colours) > 10


def test_licence_is_apache_2_in_a_file_of_the_right_name() -> None:
    text = (ROOT / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_nothing_is_fetched_while_configuring() -> None:
    for file in (ROOT / "CMakeLists.txt", *ROOT.glob("BrainTumorSeg*/CMakeLists.txt")):
        lines = (line.split("#")[0] for line in file.read_text(encoding="utf-8").splitlines())
        found = [line.strip() for line in lines if _ACTIVE.search(line)]
        assert not found, f"{file.relative_to(ROOT)}: {found}"


def test_weights_are_small() -> None:
    for name in WEIGHTS:
        size = (ROOT / name).stat().st_size
        assert size <= 10 * MIB, f"{name} has {size / MIB:.1f} MiB"


def test_checkout_and_history_stay_small() -> None:
    """The Index's limit is 100 MiB for both together; every old version of a weights file counts."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git clone")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listing.split("\0") if name]
    checkout = sum(file.stat().st_size for file in tracked if file.is_file())
    counted = subprocess.run(
        ["git", "count-objects", "-v"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    kibibytes = dict(line.split(": ") for line in counted.splitlines())
    history = 1024 * (int(kibibytes["size"]) + int(kibibytes["size-pack"]))
    assert checkout + history <= 100 * MIB, f"checkout {checkout / MIB:.0f} MiB, history {history / MIB:.0f} MiB"
