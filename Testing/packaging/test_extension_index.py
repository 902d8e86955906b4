"""What the Extensions Index checks of an extension, as far as that needs no network."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from .tree import ROOT, WEIGHTS

MIB = 1024**2
KEYS = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
# Ways to fetch or to run something while CMake configures.
# The same in Python, and what starts a program.
_REACHING = {
    "urlopen", "urlretrieve", "downloadFile", "downloadSample", "downloadSamples", "pip_install", "pip_ensure",
    "pip_uninstall", "installTorch", "system", "popen", "Popen", "check_call", "check_output", "run",
}  # fmt: skip
_NETWORK = {"urllib.request", "http", "http.client", "requests", "socket", "ftplib", "smtplib", "aiohttp", "httpx"}
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
    assert str(entry["$schema"]).split("#")[0].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json")
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


def test_description_names_the_licence_that_differs(cmake: str) -> None:
    """Most of what is included may be used by anybody; of the weights that may not one learns before installing."""
    (description,) = re.findall(r'set\(EXTENSION_DESCRIPTION "([^"]+)"\)', cmake)
    assert "lgg-unet" in description and "CC BY-NC-SA 4.0" in description
    assert "not for clinical use" in description


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
    """The Index allows a shallow clone 100 MiB; old versions of weights count in a full one alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git clone")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listing.split("\0") if name]
    checkout = sum(file.stat().st_size for file in tracked if file.is_file())
    # Not the folder .git: there an object may lie twice, packed and loose, which no clone repeats.
    sizes = []
    for objects in ("HEAD^{tree}", "HEAD"):
        command = ["git", "rev-list", "--objects", "--disk-usage", objects]
        sizes.append(int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout))
    newest, history = sizes
    assert checkout + newest <= 80 * MIB, f"checkout {checkout / MIB:.0f} MiB, its objects {newest / MIB:.0f} MiB"
    assert history <= 200 * MIB, f"history {history / MIB:.0f} MiB"


def module_files() -> list[Path]:
    return sorted((ROOT / "BrainTumorSeg").rglob("*.py"))


def at_file_scope(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the file is imported: all but the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from at_file_scope(node)


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def reaching_out(source: str) -> list[str]:
    """Calls at file scope that download, install or start something."""
    nodes = at_file_scope(ast.parse(source))
    return [called(node) for node in nodes if isinstance(node, ast.Call) and called(node) in _REACHING]


def network_imports(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [name for name in names if name in _NETWORK]
    return found


def test_importing_the_module_reaches_for_nothing() -> None:
    """Nothing is downloaded, uploaded, installed or started when Slicer starts."""
    found = {file.name: reaching_out(file.read_text("utf-8")) for file in module_files()}
    assert len(found) > 1
    assert not {name: calls for name, calls in found.items() if calls}


def test_the_module_itself_does_not_use_the_network() -> None:
    """Samples and packages come through Slicer's own ways, after a click."""
    found = {file.name: network_imports(file.read_text("utf-8")) for file in module_files()}
    assert not {name: modules for name, modules in found.items() if modules}


def test_the_checks_see_what_they_look_for() -> None:
    lines = [
        "import subprocess, socket",
        "class A:",
        "    x = slicer.util.pip_install('y')",
        "def f(): subprocess.Popen(1)",
    ]
    source = "\n".join([*lines, "if True:", "    urlopen('z')", "from urllib import request"])
    assert reaching_out(source) == ["pip_install", "urlopen"]
    assert network_imports(source) == ["socket", "urllib.request"]


def test_no_program_is_part_of_the_repository() -> None:
    """The Index takes sources; weights are data."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git clone")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    suffixes = {".exe", ".dll", ".so", ".dylib", ".pyd", ".whl", ".jar", ".zip", ".pkl", ".pt", ".pth"}
    assert not [name for name in listing.splitlines() if Path(name).suffix in suffixes]


def test_names_are_as_the_index_wants_them(entry: dict[str, object]) -> None:
    """ "Slicer" belongs to the repository's name, not to the extension's; no blanks, not version numbers."""
    name = Path(urlsplit(str(entry["scm_url"])).path).stem
    assert name.startswith("Slicer")
    assert name.removeprefix("Slicer").isalnum()
    assert "slicer" not in "BrainTumorSeg".lower()


def test_cmake_versions(cmake: str) -> None:
    found = re.search(r"cmake_minimum_required\(VERSION (\d+)\.(\d+)", cmake)
    assert found, "no cmake_minimum_required"
    assert (3, 16) <= (int(found[1]), int(found[2])) <= (3, 28), "what Slicer's own build has"


def test_readme_says_what_a_visitor_looks_for() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for word in ("not for clinical use", "## Licence", "Apache-2.0", "Slicer", "Brain Tumour Segmentation"):
        assert word in text, word
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures
    assert not [name for name in pictures if not (ROOT / name).is_file()]


def test_links_of_the_documents_lead_somewhere() -> None:
    broken = []
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8")):
            if "://" not in target and not (file.parent / target).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert not broken


def test_a_screenshot_shows_the_module(cmake: str) -> None:
    """At least one that is large enough for a page, and light enough to load."""
    for address in addresses(cmake, "EXTENSION_SCREENSHOTURLS"):
        file = ROOT / "docs" / "images" / address.rpartition("/")[2]
        assert file.stat().st_size <= 2 * MIB
        with Image.open(file) as image:
            assert image.width >= 600
