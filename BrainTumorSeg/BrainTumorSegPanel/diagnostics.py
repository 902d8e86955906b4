"""The panel's log, what to send with a report of a problem, and the removal of what was downloaded."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

import BrainTumorSegLib
from BrainTumorSegLib.engine_process import processes
from BrainTumorSegLib.io.user_folder import user_folder
from BrainTumorSegLib.models import catalogue

from .widgets import errors_shown

_PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "nibabel", "safetensors", "openvino")
# Folders of the user's folder that are made again when they are needed; the models are not among them.
_CACHES = ("cache", "samples")


def diagnostics(log: str) -> str:
    """Versions, models and the log: what a report of a problem needs. No name of a patient is added."""
    application = getattr(slicer.app, "applicationVersion", "?")
    lines = [
        f"BrainTumorSeg {BrainTumorSegLib.__version__}",
        f"3D Slicer {application}, Python {platform.python_version()} ({sys.executable})",
        f"{platform.platform()}, {platform.machine()}",
        *(f"{name} {_version(name)}" for name in _PACKAGES),
    ]
    models, errors = catalogue.installed()
    lines += [f"model {name} {model.description.version}" for name, model in models.items()]
    lines += [error.sentence() for error in errors]
    return "\n".join([*lines, "", log])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def clear_caches(sample_files: tuple[str, ...]) -> int:
    """Delete downloaded samples and caches, and end the engine that waits for a run; the user's models stay.

    Returns:
        Bytes that were freed on the disk.
    """
    processes.end_idle()
    targets = [user_folder() / name for name in _CACHES]
    cache = slicer.mrmlScene.GetCacheManager()
    downloads = cache.GetRemoteCacheDirectory() if cache is not None else None
    if downloads:
        targets += [Path(downloads) / name for name in sample_files]
    freed = 0
    for target in targets:
        if target.is_dir() and not target.is_symlink():
            freed += sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
            shutil.rmtree(target)
        elif target.is_file():
            freed += target.stat().st_size
            target.unlink()
    return freed


class LogPart:
    """What the engine said in this session."""

    def __init__(self, ui: Any, sample_files: tuple[str, ...]) -> None:
        self._ui, self._sample_files = ui, sample_files
        ui.copyDiagnosticsButton.connect("clicked()", self._on_copy)
        ui.clearCachesButton.connect("clicked()", self._on_clear)

    def add(self, line: str) -> None:
        """Append a line with the time."""
        self._ui.logText.appendPlainText(f"{time.strftime('%H:%M:%S')} {line}")

    def _on_copy(self) -> None:
        with errors_shown():
            slicer.app.clipboard().setText(diagnostics(self._ui.logText.plainText))

    def _on_clear(self) -> None:
        question = _("Delete downloaded sample images and the engine's caches? Your models and results stay.")
        if slicer.util.confirmOkCancelDisplay(question):
            with errors_shown():
                freed = clear_caches(self._sample_files)
                self.add(_("Freed {size:.1f} MB.").format(size=freed / 1e6))
