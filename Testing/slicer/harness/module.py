"""The scripted module as the application holds it: ``slicer.modules.braintumorseg``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtWidgets

from .mrml_widgets import qMRMLWidget
from .pythonqt import stand_in

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "BrainTumorSeg" / "BrainTumorSeg.py"


class ScriptedModule:
    """``qSlicerScriptedLoadableModule``: what the module's own class fills in."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = str(path), path.stem
        self.title, self.helpText, self.acknowledgementText = "", "", ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.associatedNodeTypes: list[str] = []
        self.icon: Any = None
        self.hidden = self.widgetRepresentationCreationEnabled = False
        self._shell: WidgetShell | None = None

    def widgetRepresentation(self) -> WidgetShell:
        """The panel; made at the first call."""
        if self._shell is None:
            self._shell = WidgetShell()
            self._shell.begin(self)
        return self._shell

    def open(self) -> None:
        """The user comes to the module."""
        self.widgetRepresentation().enter()

    def leave(self) -> None:
        """The user goes to another module."""
        if self._shell is not None:
            self._shell.exit()

    def close(self) -> None:
        """The application ends."""
        if self._shell is not None:
            slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
            self._shell.hide()
            self._shell.deleteLater()
            self._shell = None


@stand_in
class WidgetShell(qMRMLWidget):
    """``qSlicerScriptedLoadableModuleWidget``: holds the module's Python widget."""

    def begin(self, module: ScriptedModule) -> None:
        """Make the Python widget."""
        self.__dict__.update(module=module, entered=False)
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def reload(self) -> None:
        """A Python widget of the class as it is now."""
        name = self.__dict__["module"].name
        widget = getattr(sys.modules[name], f"{name}Widget")(self)
        self.__dict__["widget"] = widget
        setattr(slicer.modules, f"{name}Widget", widget)
        widget.setup()
        if self.__dict__["entered"]:
            widget.enter()

    def self(self) -> Any:
        """The Python widget."""
        return self.__dict__["widget"]

    @property
    def isEntered(self) -> bool:
        """Whether the user is in the module."""
        return bool(self.__dict__["entered"])

    def enter(self) -> None:
        """The user comes."""
        self.__dict__["entered"] = True
        self.show()
        self.__dict__["widget"].enter()

    def exit(self) -> None:
        """The user goes."""
        self.__dict__["entered"] = False
        self.__dict__["widget"].exit()
        self.hide()


def discover(file: Path = FILE) -> ScriptedModule:
    """Import the module's file as the application does: only its own folder comes to the path."""
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    python = importlib.import_module(file.stem)
    module = ScriptedModule(file)
    instance = getattr(python, file.stem)(module)
    setattr(slicer.modules, file.stem.lower(), module)
    setattr(slicer.modules, f"{file.stem}Instance", instance)
    slicer.app.startupCompleted.emit()
    return module
