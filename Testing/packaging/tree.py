"""What of the source tree belongs into a package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("BrainTumorSeg", "BrainTumorSegLib")
# The weights that are included. They are large, and a tree without them still builds: so they are named.
WEIGHTS = (
    "BrainTumorSegLib/models/checkpoints/brats-ensemble.safetensors",
    "BrainTumorSegLib/models/checkpoints/lgg-unet.safetensors",
    "BrainTumorSegLib/preprocessing/brain_extraction/brain-unet.safetensors",
)
_NO_PART = {"CMakeLists.txt"}  # of the build
_SUFFIXES = {".py", ".ui", ".png", ".txt", ".json", ".html", ".css", ".js", ".safetensors", ".gz", ".ts", ".qm"}


def is_part(path: Path) -> bool:
    """Whether a file of the two folders is to be packed."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return path.suffix in _SUFFIXES and path.name not in _NO_PART and not hidden


def sources() -> set[str]:
    """Files of the two folders that are to be packed, relative to the root, and the weights in any case."""
    files = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.as_posix() for path in files if is_part(path)} | set(WEIGHTS)


def clean_copy(destination: Path) -> Path:
    """A copy of what a package is built from, as a fresh clone has it: no caches, no build folders."""
    import shutil

    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.part-*")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, destination / package, ignore=ignore)
    for name in ("CMakeLists.txt", "LICENSE.txt", "README.md", "pyproject.toml"):
        shutil.copy2(ROOT / name, destination / name)
    return destination
