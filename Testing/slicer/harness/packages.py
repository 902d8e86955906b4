"""Stand-ins for ``slicer.packaging``, which asks and remembers but installs nothing, and ``slicer.i18n``."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
from packaging.requirements import Requirement

# Each call of pip_ensure, with what was missing and would have been installed.
installed: list[dict[str, Any]] = []


def load_requirements(path: str | Path) -> list[Requirement]:
    """The lines of a requirements file that are neither comments nor options."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def pip_check(req: Any) -> bool:
    """Whether all is there that this system needs: a requirement whose marker is of another one counts as met."""
    return not _missing(req)


def _missing(requirements: Any) -> list[str]:
    listed = requirements if isinstance(requirements, list) else [requirements]
    missing = []
    for item in listed:
        requirement = Requirement(item) if isinstance(item, str) else item
        # The system is named, since packaging asks for it once a process, and a test plays another one.
        if requirement.marker and not requirement.marker.evaluate({"sys_platform": sys.platform}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(str(requirement))
            continue
        if version not in requirement.specifier:
            missing.append(str(requirement))
    return missing


def pip_ensure(
    requirements: Any,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Ask, and remember what would be installed.

    Raises:
        RuntimeError: the user declined.
    """
    missing = _missing(requirements)
    if not missing:
        return
    if prompt_install and not slicer.util.confirmOkCancelDisplay(
        f"{len(missing)} Python packages need to be installed.", requester, detailedText="\n".join(missing)
    ):
        raise RuntimeError("User declined package installation")
    text = Path(constraints).read_text(encoding="utf-8") if constraints is not None else ""
    installed.append({"missing": missing, "constraints": text, "requester": requester})


def tr(text: str) -> str:
    """English."""
    if not isinstance(text, str):
        raise TypeError(f"only a str can be translated: {text!r}")
    return text


def translate(context: str, text: str) -> str:
    """English."""
    return tr(text)


def build() -> dict[str, ModuleType]:
    """Collect the modules."""
    packaging, i18n = ModuleType("slicer.packaging"), ModuleType("slicer.i18n")
    packaging.__dict__.update(load_requirements=load_requirements, pip_check=pip_check, pip_ensure=pip_ensure)
    i18n.__dict__.update(tr=tr, translate=translate)
    return {"slicer.packaging": packaging, "slicer.i18n": i18n}
