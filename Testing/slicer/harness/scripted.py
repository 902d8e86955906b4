"""Stand-in for ``slicer.ScriptedLoadableModule``: the base classes of a module's four."""

from __future__ import annotations

import importlib
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer


class ScriptedLoadableModule:
    """What the application knows of a module."""

    def __init__(self, parent: Any) -> None:
        self.parent, self.moduleName = parent, type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        parent.helpText = parent.acknowledgementText = ""

    def resourcePath(self, filename: str) -> str:
        """A file under ``Resources``."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        """A paragraph with a link to the manual."""
        return f'<p><a href="{slicer.app.moduleDocumentationUrl(self.moduleName)}">documentation</a></p>'

    def runTest(self, msec: int = 100, **options: Any) -> None:
        """Run the module's self-test."""
        module = importlib.import_module(type(self).__module__)
        test = getattr(module, f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """A module's panel."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            raise NotImplementedError("the bench always gives a parent")
        self.parent, self.layout = parent, parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        """A file under ``Resources``."""
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """Called once, when the panel is first shown."""

    def cleanup(self) -> None:
        """Called when the panel goes away."""

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()

    def onReload(self) -> None:
        """What the developer's button Reload does."""
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """Work without widgets; keeps one parameter node in the scene."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The scene's parameter node of this module; made where there is none."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.mrmlScene.AddNode(self.createParameterNode())
        node.SetAttribute("ModuleName", self.moduleName)  # closing the scene takes it away
        return node

    def createParameterNode(self) -> Any:
        """A parameter node that is not in the scene yet."""
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's self-test, made without a method's name as the application does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Show what is tested now."""
        slicer.util.delayDisplay(message, 0)

    def runTest(self) -> None:
        """To be overridden."""
        raise NotImplementedError


def build() -> ModuleType:
    """Collect the module."""
    module = ModuleType("slicer.ScriptedLoadableModule")
    names = ["ScriptedLoadableModule"]
    names += [f"ScriptedLoadableModule{part}" for part in ("Widget", "Logic", "Test")]
    module.__dict__.update({name: globals()[name] for name in names}, __all__=names)
    return module
