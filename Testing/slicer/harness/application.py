"""``slicer.app`` and the main window, as far as a scripted module meets them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .files import IOManager
from .pythonqt import stand_in

Property, Signal = QtCore.Property, QtCore.Signal
VERSION = (5, 12, 0)
_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class SliceWidget:
    """A slice view: its nodes and logic; nothing is drawn."""

    def __init__(self, logic: Any) -> None:
        self._logic = logic

    def sliceLogic(self) -> Any:
        """The logic, which holds the nodes."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """Where the slice lies."""
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        """Which volumes it shows."""
        return self._logic.GetSliceCompositeNode()


class ThreeDView:
    """A 3D view that counts what it was asked for."""

    def __init__(self) -> None:
        self.resets = 0

    def resetFocalPoint(self) -> None:
        """Centre on what is shown."""
        self.resets += 1

    def resetCamera(self) -> None:
        """The camera to its first place."""

    def forceRender(self) -> None:
        """Draw now."""


class ThreeDWidget:
    """Holds a 3D view."""

    def __init__(self) -> None:
        self._view = ThreeDView()

    def threeDView(self) -> ThreeDView:
        """The view."""
        return self._view


class LayoutManager:
    """Three slice views and one 3D view on the real scene."""

    threeDViewCount = 1
    tableViewCount = 0
    plotViewCount = 0

    def __init__(self, application: Any) -> None:
        self.layout = 3  # vtkMRMLLayoutNode::SlicerLayoutFourUpView
        self._application, self._three_d = application, ThreeDWidget()
        self._widgets: dict[str, SliceWidget] = {}
        for name, orientation in _VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(slicer.mrmlScene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            application.GetSliceLogics().AddItem(logic)
            self._widgets[name] = SliceWidget(logic)

    def sliceViewNames(self) -> tuple[str, ...]:
        """Their layout names."""
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget:
        """One of them."""
        return self._widgets[name]

    def mrmlSliceLogics(self) -> Any:
        """A collection."""
        return self._application.GetSliceLogics()

    def threeDWidget(self, index: int) -> ThreeDWidget:
        """The 3D view."""
        if index != 0:
            raise IndexError(index)
        return self._three_d

    def setLayout(self, layout: int) -> None:
        """Another arrangement of the views."""
        self.layout = layout

    def resetSliceViews(self) -> None:
        """Fit all."""
        for widget in self._widgets.values():
            widget.sliceLogic().FitSliceToBackground()


@stand_in
class ModuleManager(QtCore.QObject):
    """Modules by name."""

    moduleAboutToBeUnloaded = Signal(str)
    cppSignals = {"moduleAboutToBeUnloaded(QString)": "moduleAboutToBeUnloaded"}

    def module(self, name: str) -> Any:
        """A module, or None."""
        return getattr(slicer.modules, name.lower(), None)


@stand_in
class ModuleSelector(QtWidgets.QWidget):
    """The list of modules in the tool bar."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.__dict__["selected"] = ""

    selectedModule = Property("QString", lambda self: self.__dict__["selected"])

    def selectModule(self, name: str) -> None:
        """Leave the module that is open and open another."""
        before = getattr(slicer.modules, self.__dict__["selected"].lower(), None)
        if before is not None and hasattr(before, "leave"):
            before.leave()
        self.__dict__["selected"] = name
        after = getattr(slicer.modules, name.lower(), None)
        if after is not None and hasattr(after, "open"):
            after.open()


@stand_in
class MainWindow(QtWidgets.QMainWindow):
    """The window that message boxes belong to."""

    def __init__(self) -> None:
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self.__dict__["selector"] = ModuleSelector(self)

    def moduleSelector(self) -> ModuleSelector:
        """The list of modules."""
        selector: ModuleSelector = self.__dict__["selector"]
        return selector


@stand_in
class Application(QtWidgets.QApplication):
    """``slicer.app``."""

    startupCompleted = Signal()
    cppSignals = {"startupCompleted()": "startupCompleted"}

    applicationName = Property("QString", lambda self: "Slicer")
    applicationVersion = Property("QString", lambda self: ".".join(map(str, VERSION)))
    majorVersion = Property("int", lambda self: VERSION[0])
    minorVersion = Property("int", lambda self: VERSION[1])
    revision = Property("QString", lambda self: "0")
    os = Property("QString", lambda self: "linux")
    arch = Property("QString", lambda self: "amd64")
    documentationBaseUrl = Property("QString", lambda self: "https://slicer.readthedocs.io/en/latest/")
    temporaryPath = Property("QString", lambda self: self.__dict__["folders"]["temporary"])
    cachePath = Property("QString", lambda self: self.__dict__["folders"]["cache"])
    slicerHome = Property("QString", lambda self: self.__dict__["folders"]["home"])

    def prepare(self, folder: Path) -> None:
        """Folders and settings that are the test's own."""
        self.__dict__["folders"] = {name: str(folder / name) for name in ("temporary", "cache", "home")}
        for name in self.__dict__["folders"].values():
            Path(name).mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = self.__dict__["folders"]["temporary"]
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(folder / "settings")
        )

    def assemble(self, application_logic: Any) -> None:
        """Managers and the main window."""
        self.__dict__.update(
            logic=application_logic,
            files=IOManager(),
            layouts=LayoutManager(application_logic),
            manager=ModuleManager(),
            window=MainWindow(),
        )

    def testingEnabled(self) -> bool:
        """False: message boxes shall come, the bench takes them."""
        return False

    def mrmlScene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        """The logic that all modules share."""
        return self.__dict__["logic"]

    def coreIOManager(self) -> IOManager:
        """Files."""
        manager: IOManager = self.__dict__["files"]
        return manager

    def ioManager(self) -> IOManager:
        """The same."""
        return self.coreIOManager()

    def layoutManager(self) -> LayoutManager:
        """Views."""
        manager: LayoutManager = self.__dict__["layouts"]
        return manager

    def moduleManager(self) -> ModuleManager:
        """Modules."""
        manager: ModuleManager = self.__dict__["manager"]
        return manager

    def userSettings(self) -> QtCore.QSettings:
        """What is remembered."""
        return QtCore.QSettings()

    settings = userSettings

    def translate(self, context: str, text: str, *_rest: Any) -> str:
        """English."""
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        """Its page in the manual."""
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def errorLogModel(self) -> Any:
        """There is no error log."""
        return None
