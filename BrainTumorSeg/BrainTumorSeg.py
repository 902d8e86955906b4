"""BrainTumorSeg in 3D Slicer: choose the sequences, click Segment, get ET, TC and WT."""

import importlib.util
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# The extension installs BrainTumorSegLib beside this file; in a clone it is this folder's sibling.
_CLONE = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("BrainTumorSegLib") is None and (_CLONE / "BrainTumorSegLib").is_dir():
    sys.path.append(str(_CLONE))

from BrainTumorSegPanel.engine import EngineRun  # noqa: E402

from BrainTumorSegLib.catalogue import DEFAULT_MODEL  # noqa: E402
from BrainTumorSegLib.errors import BrainTumorSegError, ExecutionError  # noqa: E402
from BrainTumorSegLib.labels import REGIONS, read_labels, to_regions  # noqa: E402
from BrainTumorSegLib.modalities import MODALITIES, TITLES, reference_of  # noqa: E402

REQUIREMENTS = Path(__file__).parent / "Resources" / "requirements.txt"
POLL_MILLISECONDS = 100


class BrainTumorSeg(ScriptedLoadableModule):
    """What the application knows of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Brain Tumor Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The BrainTumorSeg contributors"]
        parent.helpText = _(
            "Segments enhancing tumour (ET), tumour core (TC) and whole tumour (WT) from skull-stripped T1, T1ce, T2 "
            "and FLAIR images. For research, not for clinical use."
        )
        parent.acknowledgementText = _("Networks by MONAI; regions and conventions by the BraTS challenges.")


@parameterNodeWrapper
class BrainTumorSegParameterNode:
    """The inputs, kept in the scene."""

    t1: slicer.vtkMRMLScalarVolumeNode
    t1ce: slicer.vtkMRMLScalarVolumeNode
    t2: slicer.vtkMRMLScalarVolumeNode
    flair: slicer.vtkMRMLScalarVolumeNode


class BrainTumorSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: BrainTumorSegLogic | None = None
        self._parameterNode: Any = None
        self._connections: Any = None
        self._run: SegmentationRun | None = None

    def setup(self) -> None:
        """Build the panel; called when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/BrainTumorSeg.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = BrainTumorSegLogic()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.ui.segmentButton.connect("clicked(bool)", self._onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self._onCancel)
        for modality in MODALITIES:
            self._selector(modality).connect("currentNodeChanged(vtkMRMLNode*)", self._checkCanSegment)
        self._setParameterNode(self.logic.getParameterNode())

    def cleanup(self) -> None:
        """Called when the panel goes away."""
        self._timer.stop()
        if self._run:
            self._run.cancel()
        self._setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the module is opened."""
        if self.logic and self._parameterNode is None:
            self._setParameterNode(self.logic.getParameterNode())

    def exit(self) -> None:
        """Called each time another module is opened."""
        self._setParameterNode(None)

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        if self._run:
            self._run.cancel()
        self._setParameterNode(None)

    def _onSceneEndClose(self, caller: Any, event: Any) -> None:
        if self.logic and self.parent.isEntered:
            self._setParameterNode(self.logic.getParameterNode())

    def _setParameterNode(self, node: Any) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._connections)
        self._parameterNode = node
        if node is not None:
            self._connections = node.connectGui(self.ui)
            self._checkCanSegment()

    def _selector(self, modality: str) -> Any:
        return getattr(self.ui, f"{modality}Selector")

    def _volumes(self) -> dict[str, Any]:
        nodes = {modality: self._selector(modality).currentNode() for modality in MODALITIES}
        return {modality: node for modality, node in nodes.items() if node is not None}

    def _checkCanSegment(self, *_arguments: Any) -> None:
        missing = [TITLES[modality] for modality in MODALITIES if modality not in self._volumes()]
        reason = ""
        if self._run:
            reason = _("A segmentation is running.")
        elif missing:
            reason = _("Choose {names}.").format(names=", ".join(missing))
        self.ui.segmentButton.enabled = not reason
        self.ui.segmentButton.toolTip = reason or _("Segment the tumour.")
        self.ui.cancelButton.enabled = self._run is not None

    def _onSegment(self, _checked: bool = False) -> None:
        assert self.logic is not None
        with slicer.util.tryWithErrorDisplay(_("The segmentation could not be started."), waitCursor=True):
            self.logic.ensureDependencies()
            self._run = self.logic.segment(**self._volumes(), device=self.ui.deviceSelector.currentText, wait=False)
            self._timer.start()
        self._checkCanSegment()

    def _onCancel(self, _checked: bool = False) -> None:
        if self._run:
            self._run.cancel()

    def _poll(self) -> None:
        """Show how far the run is, and load its result when it is done."""
        run = self._run
        if run is None:
            return
        self.ui.progressBar.value = round(100 * run.progress)
        self.ui.statusLabel.text = run.message
        if run.state == "running":
            return
        self._timer.stop()
        self._run = None
        self._checkCanSegment()
        self.ui.progressBar.value = 0
        self.ui.statusLabel.text = _("Cancelled.") if run.state == "cancelled" else ""
        error = run.error
        if run.state == "failed" and error:
            run.close()
            slicer.util.errorDisplay(error.sentence(), detailedText="\n".join(run.log))
        elif run.state == "done":
            with slicer.util.tryWithErrorDisplay(_("The result could not be loaded."), waitCursor=True):
                run.result()
                self.ui.statusLabel.text = _summary(run.measurements)
        else:
            run.close()


def _summary(measurements: dict[str, Any]) -> str:
    return ", ".join(f"{region} {values['volume_ml']:.1f} mL" for region, values in measurements.items())


class SegmentationRun:
    """A run of the engine on nodes of the scene."""

    def __init__(self, volumes: dict[str, Any], model: str, device: str, segmentation: Any) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="BrainTumorSeg-"))
        self._reference = volumes[reference_of(volumes)]
        self._segmentation = segmentation
        self._output = self._folder / "segmentation.nrrd"
        self.measurements: dict[str, Any] = {}
        arguments = ["segment", "-o", str(self._output), "--model", model, "--device", device]
        try:
            for modality, node in volumes.items():
                file = self._folder / f"{modality}.nrrd"
                # In world coordinates, so that a volume under a transform is segmented where it is shown.
                if not slicer.util.exportNode(node, str(file), {"useCompression": 0}, world=True):
                    raise ExecutionError(f"{node.GetName()} could not be written to {file}.", "Is the disk full?")
                arguments += [f"--{modality}", str(file)]
            self._engine = EngineRun(arguments, self._folder / "cancel")
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> str:
        """``running``, ``done``, ``cancelled`` or ``failed``."""
        return self._engine.state

    @property
    def progress(self) -> float:
        """0 to 1."""
        return self._engine.progress

    @property
    def message(self) -> str:
        """What it is doing."""
        return self._engine.message

    @property
    def log(self) -> list[str]:
        """The engine's last lines."""
        return list(self._engine.log)

    @property
    def error(self) -> BrainTumorSegError | None:
        """Why it did not end well."""
        return self._engine.error

    def cancel(self) -> None:
        """Ask it to end; the scene stays as it was."""
        if self._folder.is_dir():
            self._engine.cancel()

    def result(self) -> Any:
        """Load the result of a run that is done, once; the segmentation node.

        Raises:
            BrainTumorSegError: the run failed or was cancelled.
        """
        try:
            answer = self._engine.answer()
            self.measurements = answer["measurements"]
            self._segmentation = self._load(tuple(self.measurements))
        finally:
            if self.state != "running":
                self.close()
        return self._segmentation

    def _load(self, regions: tuple[str, ...]) -> Any:
        """A segment a region, on the grid of the label map."""
        if not slicer.mrmlScene.IsNodePresent(self._reference):
            raise ExecutionError("The image was removed while it was segmented.", "Load it again.")
        labels = slicer.util.loadLabelVolume(str(self._output), {"show": False})
        try:
            node = self._segmentation or _newSegmentation(self._reference)
            masks = to_regions(read_labels(slicer.util.arrayFromVolume(labels), "brats2023"))
            segments = node.GetSegmentation()
            for name in regions:
                segments.RemoveSegment(name)
                colour = [part / 255 for part in REGIONS[name].colour]
                segments.AddEmptySegment(name, name, colour)
                mask = masks[name].astype("uint8")
                slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, name, labels)
                segments.GetSegment(name).SetTag("Description", REGIONS[name].title)
        finally:
            slicer.mrmlScene.RemoveNode(labels)
        return node

    def close(self) -> None:
        """Remove the temporary files."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _newSegmentation(reference: Any) -> Any:
    name = slicer.mrmlScene.GenerateUniqueName(f"{reference.GetName()} tumour")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    return node


class BrainTumorSegLogic(ScriptedLoadableModuleLogic):
    """Segmentation of nodes, without any widget."""

    def getParameterNode(self) -> Any:
        """The wrapped parameter node of the scene."""
        wrap: Any = BrainTumorSegParameterNode
        return wrap(super().getParameterNode())

    def ensureDependencies(self) -> None:
        """Install what is missing, after asking: torch through the PyTorch extension, the rest through pip.

        Raises:
            ExecutionError: the PyTorch extension is missing, or the user declined.
        """
        if importlib.util.find_spec("torch") is None:
            try:
                import PyTorchUtils
            except ImportError as error:
                raise ExecutionError(
                    "PyTorch is missing.", "Install the extension PyTorch in the Extensions Manager."
                ) from error
            if (
                PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=">=2.8")
                is None
            ):
                raise ExecutionError("PyTorch was not installed.", "Click Segment again to install it.")
        import slicer.packaging

        slicer.packaging.pip_ensure(slicer.packaging.load_requirements(REQUIREMENTS), requester="BrainTumorSeg")

    def segment(
        self,
        t1: Any = None,
        t1ce: Any = None,
        t2: Any = None,
        flair: Any = None,
        model: str = DEFAULT_MODEL,
        device: str = "auto",
        outputSegmentation: Any = None,
        wait: bool = True,
    ) -> Any:
        """Segment volume nodes.

        Args:
            t1: volume node, as the other three; any subset that the model takes.
            t1ce: T1 with contrast agent.
            t2: T2.
            flair: FLAIR.
            model: id or file.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            outputSegmentation: its segments ET, TC and WT are replaced; a new node without it.
            wait: return when it is done, else at once.

        Returns:
            The segmentation node, or with ``wait=False`` a :class:`SegmentationRun`.

        Raises:
            BrainTumorSegError: with a remedy.
        """
        given = {"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair}
        volumes = {modality: node for modality, node in given.items() if node is not None}
        if not volumes:
            raise ExecutionError("No volume was given.", "Give some of t1, t1ce, t2, flair.")
        run = SegmentationRun(volumes, str(model), device, outputSegmentation)
        if not wait:
            return run
        while run.state == "running":
            slicer.app.processEvents()
            time.sleep(POLL_MILLISECONDS / 1000)
        return run.result()


class BrainTumorSegTest(ScriptedLoadableModuleTest):
    """Runs inside the application: Reload and Test, or ctest."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_missingModalityIsRefused()

    def test_missingModalityIsRefused(self) -> None:
        """What is missing is named, and the scene stays as it was."""
        import numpy as np

        volume = slicer.util.addVolumeFromArray(np.ones((8, 8, 8), np.float32))
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(BrainTumorSegError) as caught:
            BrainTumorSegLogic().segment(t1=volume)
        self.assertIn("FLAIR", str(caught.exception))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
