"""Puts the parts together: after :func:`start`, ``import qt, ctk, slicer`` work as in the application."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

# Names a folder with Slicer's own Python files (Base/Python of its sources) to use instead of the stand-ins.
VARIABLE = "BRAINTUMORSEG_SLICER_PYTHON"
_PYTHON_PARTS = ("ScriptedLoadableModule", "parameterNodeWrapper", "packaging", "i18n")


def start(folder: Path, file: Path | None = None) -> SimpleNamespace:
    """Once per process; ``folder`` takes temporary files and settings, ``file`` is the module's. To be held."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    import slicer
    import slicer.util

    from . import application, ctk_module, dialogs, qt_module, scene

    sys.modules["qt"] = qt_module.build()
    sys.modules["ctk"] = ctk_module.build()
    from . import module, mrml_widgets, neighbours

    mrml_widgets.install()
    slicer.qSlicerScriptedLoadableModuleWidget = module.WidgetShell
    slicer.qSlicerScriptedLoadableModule = module.ScriptedModule
    held = scene.build_scene()
    sys.modules["slicer.modules"] = slicer.modules
    held.app = slicer.app = application.Application(["Slicer"])
    held.app.prepare(folder)
    held.app.assemble(held.application)
    sys.modules["SampleData"] = neighbours.install()
    dialogs.DESK.catch_uncaught()
    dialogs.DESK.catch_qt()
    _add_python_parts()
    held.module = module.discover(file or module.FILE)
    return held


def _add_python_parts() -> None:
    """Slicer's Python files that slicer-core lacks: its own where they are at hand, else the stand-ins."""
    import slicer

    own = os.environ.get(VARIABLE)
    if own:
        slicer.__path__.insert(0, str(Path(own) / "slicer"))
        for name in _PYTHON_PARTS:
            setattr(slicer, name, importlib.import_module(f"slicer.{name}"))
        return
    from . import packages, parameters, scripted

    parts = {
        "slicer.ScriptedLoadableModule": scripted.build(),
        "slicer.parameterNodeWrapper": parameters.build(),
        **packages.build(),
    }
    for name, part in parts.items():
        part.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = part
        setattr(slicer, name.split(".")[1], part)
