"""First-run set-up: torch through the PyTorch extension, the rest through Slicer's own pip. Nothing at import."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import CancelledError, ExecutionError
from BrainTumorSegLib.engine_process import processes
from BrainTumorSegLib.io.run_folder import run_folder

REQUIREMENTS = Path(__file__).parents[1] / "Resources" / "requirements.txt"
TORCH = ">=2.8"  # MONAI's own lower bound
DOWNLOAD_MEGABYTES = 100  # all of requirements.txt with what it needs, as wheels
_NEEDED = ("torch", "monai", "nibabel", "safetensors")
# Runs are faster with it, and go on without; who declines is not asked again in this session.
_OPTIONAL = ("openvino",)
_declined: set[str] = set()
# Never replaced in Slicer's Python, whether they are loaded yet or not.
_SLICERS_OWN = ("numpy", "scipy", "SimpleITK", "torch")


def _offline() -> str:
    return _("Connect this computer to the internet once, or install the packages from files: see the tutorial.")


def unfit() -> str:
    """Why this Slicer cannot be used, and what to do; empty if it can."""
    try:
        importlib.import_module("slicer.packaging")
    except ImportError:
        return _("This needs 3D Slicer 5.12 or newer: install it from https://download.slicer.org.")
    # PyTorch ended its builds for these at 2.2. Under Rosetta a program sees the same machine.
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return _(
            "There is no PyTorch {bound} for Slicer's build for Intel Macs. On a Mac with an Apple processor "
            "install Slicer's build for it (arm64) in place of this one, which runs under Rosetta; on an Intel Mac "
            "segment on another computer, and load the result here."
        ).format(bound=TORCH)
    return ""


def to_install() -> str:
    """What Apply will ask to install first, in words; empty where nothing is missing."""
    if unfit():
        return ""
    names = [] if importlib.util.find_spec("torch") is not None else ["PyTorch"]
    names += [need.name for need in _missing() if need.name not in _declined]
    if not names:
        return ""
    return _("Packages are missing ({packages}): Apply asks before it installs them.").format(packages=", ".join(names))


def ensure() -> None:
    """Install what is missing, after asking.

    Raises:
        CancelledError: the user declined.
        ExecutionError: Slicer cannot be used, or something could not be installed.
    """
    reason = unfit()
    if reason:
        raise ExecutionError(reason)
    _ensure_torch()
    _ensure_packages()


def check() -> None:
    """Refuse a run that could not even begin, without installing anything.

    Raises:
        ExecutionError: a package is not there.
    """
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ExecutionError(
                _("The package {name} is not installed.").format(name=name),
                _("Click Apply in the panel, or call BrainTumorSegLogic().ensureDependencies()."),
            )


def _ensure_torch() -> None:
    if importlib.util.find_spec("torch") is not None:
        version = importlib.metadata.version("torch")
        from packaging.specifiers import SpecifierSet

        if not SpecifierSet(TORCH).contains(version, prereleases=True):
            raise ExecutionError(
                _("PyTorch {version} is too old; {bound} is needed.").format(version=version, bound=TORCH),
                _("Uninstall it in the module PyTorch Utils, restart Slicer, and click Apply again."),
            )
        return
    try:
        import PyTorchUtils
    except ImportError as error:
        raise ExecutionError(
            _("PyTorch is missing."), _("Install the extension PyTorch in the Extensions Manager and restart Slicer.")
        ) from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH)
    except (RuntimeError, ValueError, OSError, subprocess.CalledProcessError) as error:
        raise ExecutionError(_("PyTorch could not be installed ({error}).").format(error=error), _offline()) from error
    if torch is None:
        raise CancelledError(_("PyTorch was not installed."), _("Click Apply to be asked again."))


def _missing() -> list[Any]:
    packaging = importlib.import_module("slicer.packaging")
    return [needed for needed in packaging.load_requirements(REQUIREMENTS) if not packaging.pip_check(needed)]


def _ensure_packages() -> None:
    missing = [need for need in _missing() if need.name not in _declined]
    if not missing:
        return
    packaging = importlib.import_module("slicer.packaging")
    question = _(
        "{packages} will be downloaded (about {size} MB) and installed into Slicer's Python. "
        "Packages that Slicer uses stay as they are."
    ).format(packages=", ".join(need.name for need in missing), size=DOWNLOAD_MEGABYTES)
    if not slicer.util.confirmOkCancelDisplay(question, _("Brain Tumour Segmentation")):
        if {need.name for need in missing} <= set(_OPTIONAL):
            _declined.update(need.name for need in missing)
            return
        raise CancelledError(_("The packages were not installed."), _("Click Apply to be asked again."))
    processes.end_idle()  # it has the old ones loaded, and Windows replaces no library that is in use
    with run_folder() as folder:
        constraints = folder / "constraints.txt"
        lines = constraint_lines(need.name for need in missing)
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            packaging.pip_ensure(
                missing, constraints=constraints, prompt_install=False, requester=_("Brain Tumour Segmentation")
            )
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            raise ExecutionError(
                _("The packages could not be installed ({error}).").format(error=error), _offline()
            ) from error
    importlib.invalidate_caches()
    still = [need.name for need in _missing() if need.name not in _OPTIONAL]
    if still:
        raise ExecutionError(
            _("{packages} could not be installed.").format(packages=", ".join(still)), _("See Slicer's log.")
        )


def constraint_lines(wanted: Iterable[str]) -> list[str]:
    """``name==version`` of every package that is loaded now, so that pip keeps its hands off them.

    Args:
        wanted: packages that are to be installed or renewed, and so are not held.
    """
    free = {_plain(name) for name in wanted}
    loaded = {name.partition(".")[0] for name in sys.modules}
    held = {
        distribution
        for module, distributions in importlib.metadata.packages_distributions().items()
        if module in loaded
        for distribution in distributions
    }
    lines = {}
    for name in sorted({*held, *_SLICERS_OWN}):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if _plain(name) not in free:
            lines[_plain(name)] = f"{name}=={version}"
    return list(lines.values())


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
