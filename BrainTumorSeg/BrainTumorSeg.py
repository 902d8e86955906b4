"""BrainTumorSeg in 3D Slicer: choose the sequences, click Apply, get ET, TC and WT."""

import importlib.util
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 - 3D Slicer up to 5.8, which cannot import what follows
    # In English: what translates may be missing as well.
    needed = "Brain Tumour Segmentation needs 3D Slicer 5.12 or newer: install it from https://download.slicer.org."
    raise RuntimeError(needed)

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# The extension installs BrainTumorSegLib beside this file; in a clone it is this folder's sibling.
_CLONE = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("BrainTumorSegLib") is None and (_CLONE / "BrainTumorSegLib").is_dir():
    sys.path.append(str(_CLONE))

from BrainTumorSegPanel import sample, setup, sources  # noqa: E402
from BrainTumorSegPanel.alignment import AlignmentPart  # noqa: E402
from BrainTumorSegPanel.change import ChangeRun, Examination, days_between  # noqa: E402
from BrainTumorSegPanel.cohort import CohortPart  # noqa: E402
from BrainTumorSegPanel.comparison import ComparisonPart, compare_nodes  # noqa: E402
from BrainTumorSegPanel.content import Content, Wish  # noqa: E402
from BrainTumorSegPanel.diagnostics import LogPart  # noqa: E402
from BrainTumorSegPanel.folder import FolderRun  # noqa: E402
from BrainTumorSegPanel.follow_up import FollowUpPart  # noqa: E402
from BrainTumorSegPanel.inputs import InputsPart, VolumeWatch  # noqa: E402
from BrainTumorSegPanel.model_work import ModelWork  # noqa: E402
from BrainTumorSegPanel.models import ModelsPart  # noqa: E402
from BrainTumorSegPanel.preprocessing import BrainExtraction, Preprocessing  # noqa: E402
from BrainTumorSegPanel.results import ResultsPart  # noqa: E402
from BrainTumorSegPanel.run import SegmentationRun  # noqa: E402
from BrainTumorSegPanel.segmenting import SegmentPart  # noqa: E402
from BrainTumorSegPanel.segments import sizes_of  # noqa: E402
from BrainTumorSegPanel.selftest import BrainTumorSegTest as BrainTumorSegTest  # noqa: E402
from BrainTumorSegPanel.turns import Turns  # noqa: E402
from BrainTumorSegPanel.views import NewResult  # noqa: E402

from BrainTumorSegLib.domain.errors import RequestError  # noqa: E402
from BrainTumorSegLib.domain.options import DEFAULT_MODEL, RunOptions  # noqa: E402
from BrainTumorSegLib.engine_process import processes  # noqa: E402
from BrainTumorSegLib.io import mrml  # noqa: E402
from BrainTumorSegLib.io.run_folder import sweep  # noqa: E402
from BrainTumorSegLib.io.sample_patient import SAMPLE_FILES  # noqa: E402

TERMINOLOGY_FILE = Path(__file__).parent / "Resources" / "BrainTumor.term.json"


class BrainTumorSeg(ScriptedLoadableModule):
    """What the application knows of the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Brain Tumour Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Terminologies"]
        parent.contributors = ["The BrainTumorSeg contributors"]
        parent.helpText = _(
            "Segments enhancing tumour (ET), tumour core (TC) and whole tumour (WT) from T1, T1ce, T2 and FLAIR images "
            "as they come from the scanner, and measures them. Load the images, click <b>Assign automatically</b>, "
            "then <b>Apply</b>. The tutorial is in the extension's documentation (docs/getting-started/slicer.md)."
            "<br>"
            "<b>For research, not for clinical use.</b>"
        )
        parent.acknowledgementText = _(
            "Networks by MONAI; regions and conventions by the BraTS challenges (Menze et al. 2015, Bakas et al. 2017, "
            "Baid et al. 2021). The sample patient is a part of BraTS 2023."
        )
        slicer.app.connect("startupCompleted()", sample.register_sample_data)
        slicer.app.connect("startupCompleted()", sweep)  # what runs left whose application crashed


@parameterNodeWrapper
class BrainTumorSegParameterNode:
    """The choices that are kept in the scene; model and device are remembered in the settings."""

    t1: slicer.vtkMRMLScalarVolumeNode
    t1ce: slicer.vtkMRMLScalarVolumeNode
    t2: slicer.vtkMRMLScalarVolumeNode
    flair: slicer.vtkMRMLScalarVolumeNode
    outputSegmentation: slicer.vtkMRMLSegmentationNode
    result: slicer.vtkMRMLSegmentationNode
    content: Content = Content.REGIONS
    probabilities: bool = False
    brain: bool = False
    registered: bool = False
    surfaces: bool = False
    tta: bool = False
    preprocessing: Preprocessing = Preprocessing.AUTOMATIC
    brainExtraction: BrainExtraction = BrainExtraction.AUTOMATIC
    brainMask: slicer.vtkMRMLLabelMapVolumeNode


class BrainTumorSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: its parts, and the run that is under way."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: BrainTumorSegLogic | None = None
        self._parameterNode: Any = None
        self._connections: Any = None
        self._watch = VolumeWatch(self._onVolumesChanged)
        self._newResult = NewResult()

    def setup(self) -> None:
        """Build the panel; called when the module is first opened."""
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/BrainTumorSeg.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = BrainTumorSegLogic()
        self.log = LogPart(self.ui, tuple(SAMPLE_FILES))
        work = ModelWork(self.ui, turns := Turns(), self.log.add)
        self.models = ModelsPart(self.ui, self._refresh, self.logic.ensureDependencies, work)
        self.inputs = InputsPart(self.ui, lambda: self._parameterNode, self.models, self.log.add)
        self._ofResult: list[Any] = []  # parts that compare the result that is shown
        self.results = ResultsPart(self.ui, self._onResults, self._isOpen)
        shown = self._shownResult, self._isOpen
        self.followUp = FollowUpPart(self.ui, *shown, self._startFollowUp, self.log.add, turns)
        self._ofResult = [ComparisonPart(self.ui, *shown), self.followUp]
        self.alignment = AlignmentPart(self.ui, self.inputs.volumes)
        parts = (self.inputs, self.models, self.log)
        self.cohort = CohortPart(self.ui, self.logic, parts[1:], lambda: self._parameterNode, self._showOpened, turns)
        self.segmenting = SegmentPart(self.ui, self.logic, parts, lambda: self._parameterNode, self._showResult, turns)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self._onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndBatchProcessEvent, self._onSceneEndBatch)
        self.segmenting.enter()
        self._initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the panel goes away: the application ends, or the module is reloaded."""
        if self.logic is None:
            return
        self.segmenting.close()
        self.cohort.close()
        for part in self._ofResult:
            part.close()
        self.alignment.end()
        self.models.close()
        self.results.close()
        self.inputs.patients.close()
        processes.end_idle()
        self._setParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        """Called each time the module is opened: other modules and the command line may have changed things."""
        if self.logic is None:
            return
        self._initializeParameterNode()
        self.models.refresh()
        self.segmenting.enter()
        self.results.refresh()
        self._refresh()
        self._showNewResult()

    def exit(self) -> None:
        """Called each time another module is opened; a run goes on."""
        self._disconnect()

    def onReload(self) -> None:
        """The parts of the panel are reloaded with the module."""
        for name in [name for name in sys.modules if name.split(".")[0] == "BrainTumorSegPanel"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def _onSceneStartClose(self, caller: Any, event: Any) -> None:
        self.segmenting.cancel()
        self.followUp.cancel()
        self.alignment.forget()
        self.inputs.patients.close()
        self._setParameterNode(None)

    def _onSceneEndClose(self, caller: Any, event: Any) -> None:
        self.results.show(None)
        self.inputs.patients.refresh()
        if self.parent.isEntered:
            self._initializeParameterNode()

    def _onSceneEndBatch(self, caller: Any, event: Any) -> None:
        """A scene was loaded: its choices came before the nodes that they name, and the selectors had missed them."""
        if self._connections is not None:
            self._initializeParameterNode()

    def _initializeParameterNode(self) -> None:
        assert self.logic is not None
        self._setParameterNode(self.logic.getParameterNode())
        self.inputs.patients.refresh_soon()  # a scene that is loaded brings a subject hierarchy of its own

    def _setParameterNode(self, node: Any) -> None:
        self._disconnect()
        self._parameterNode = node
        if node is not None:
            self._connections = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._refresh)
            self._refresh()

    def _disconnect(self) -> None:
        """Let go of the parameter node; its values stay where they are."""
        self._watch.watch([])
        if self._parameterNode is not None and self._connections is not None:
            self._parameterNode.disconnectGui(self._connections)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._refresh)
            self._connections = None

    def _onVolumesChanged(self) -> None:
        self.inputs.refresh()
        self.alignment.refresh()
        self.segmenting.refresh()

    def _onResults(self) -> None:
        """Another segmentation is shown, or the same one with other segments."""
        for part in self._ofResult:
            part.refresh()

    def _shownResult(self) -> Any:
        return self.results.node

    def _isOpen(self) -> bool:
        return bool(self.parent.isEntered)

    def _startFollowUp(self, earlier: Examination, later: Examination, days: int | None) -> ChangeRun:
        assert self.logic is not None
        self.logic.ensureDependencies()
        return ChangeRun(earlier, later, days)

    def _refresh(self, caller: Any = None, event: Any = None) -> None:
        """Show what the parameter node says."""
        if self._parameterNode is None:
            return
        self._watch.watch(self.inputs.volumes().values())
        self.inputs.refresh()
        self.alignment.refresh()
        self.results.show(self._parameterNode.result)
        self._onResults()
        self.segmenting.refresh()

    def _showResult(self, node: Any, run: SegmentationRun, given_up: Collection[str]) -> None:
        """A run has made a segmentation; while another module is open, its views stay as they are."""
        assert self.logic is not None
        self.alignment.learn(run.moved)
        if self.results.node is node:  # it was replaced
            self.results.measure()
        (self._parameterNode or self.logic.getParameterNode()).result = node
        self.results.show(node)
        self._newResult.came(node, given_up)
        if self.parent.isEntered:
            self._showNewResult()
        self.ui.resultsCollapsibleButton.collapsed = False

    def _showNewResult(self) -> None:
        if self._newResult.show() is self.results.node:
            self.results.show_slices()

    def _showOpened(self, node: Any) -> None:
        """A patient of the folder was opened."""
        assert self.logic is not None
        (self._parameterNode or self.logic.getParameterNode()).result = node
        self.results.show(node)
        self.alignment.end(restore=False)
        self.results.show_slices()
        self.ui.resultsCollapsibleButton.collapsed = False


class BrainTumorSegLogic(ScriptedLoadableModuleLogic):
    """Segmentation of nodes and files, without any widget."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        terminologies = getattr(slicer.modules, "terminologies", None)
        if terminologies is not None and not terminologies.logic().IsTerminologyContextLoaded(mrml.TERMINOLOGY):
            terminologies.logic().LoadTerminologyFromFile(str(TERMINOLOGY_FILE))

    def getParameterNode(self) -> Any:
        """The wrapped parameter node of the scene."""
        wrap: Any = BrainTumorSegParameterNode
        return wrap(super().getParameterNode())

    def ensureDependencies(self) -> None:
        """Install what is missing, after asking: torch through the PyTorch extension, the rest through pip.

        Raises:
            BrainTumorSegError: Slicer cannot be used, the user declined, or something could not be installed.
        """
        setup.ensure()

    def segment(
        self,
        t1: Any = None,
        t1ce: Any = None,
        t2: Any = None,
        flair: Any = None,
        model: str | Path = DEFAULT_MODEL,
        device: str = "auto",
        outputSegmentation: Any = None,
        wait: bool = True,
        content: Content | str = Content.REGIONS,
        probabilities: bool = False,
        surfaces: bool = False,
        inProcess: bool = False,
        preprocess: str = "auto",
        brainExtraction: str = "auto",
        brainMask: Any = None,
        brain: bool = False,
        registered: bool = False,
        tta: bool = False,
    ) -> Any:
        """Segment images.

        Args:
            t1: volume node, its name or id, or a file; as the other three; any subset that the model takes.
            t1ce: T1 with contrast agent.
            t2: T2.
            flair: FLAIR.
            model: id or file.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            outputSegmentation: segmentation node, its name or id; its segments of these names are replaced. A new node
                without it, and where they were edited during the run.
            wait: return when it is done, else at once.
            content: ``regions`` (ET, TC, WT), ``classes`` (NCR, ED, ET) or ``both``.
            probabilities: also add a volume a region with the network's probabilities.
            surfaces: also make closed surfaces and show them in 3D.
            inProcess: run in this process: for tests and debuggers.
            preprocess: co-registration and brain extraction: ``auto`` where the images need them, ``none``, or
                ``register``: always.
            brainExtraction: ``auto``, ``included``, ``hd-bet`` or ``synthstrip``.
            brainMask: label volume node, its name, or a file, with the brain over the reference, in place of an
                extraction.
            brain: also add a label volume with the mask of the brain.
            registered: also add the co-registered, skull-stripped images, and a transform node a sequence that puts
                its scan over the reference.
            tta: average over mirrorings: slower, a little more accurate.

        Returns:
            The segmentation node, or with ``wait=False`` a :class:`SegmentationRun`.

        Raises:
            BrainTumorSegError: with a remedy; the scene is as it was.
        """
        setup.check()
        chosen = sources.resolve({"t1": t1, "t1ce": t1ce, "t2": t2, "flair": flair})
        try:
            content = Content(content)
        except ValueError as error:
            known = ", ".join(repr(item.value) for item in Content)
            raise RequestError(_("Unknown content {name!r}.").format(name=content), known) from error
        options = RunOptions(str(model), device, tta=tta, preprocess=preprocess, brain_extraction=brainExtraction)
        mask = None if brainMask is None else sources.find(brainMask)
        wish = Wish(options, content, mask, probabilities, brain, registered, surfaces, inProcess)
        output = None if outputSegmentation is None else sources.find_segmentation(outputSegmentation)
        run = SegmentationRun(chosen, wish, output)
        return run.result() if wait else run

    def segmentFolder(
        self,
        inputFolder: str | Path,
        outputFolder: str | Path,
        model: str | Path = DEFAULT_MODEL,
        device: str = "auto",
        wait: bool = True,
        preprocess: str = "auto",
        brainExtraction: str = "auto",
        tta: bool = False,
    ) -> FolderRun:
        """Segment a folder of patients into ``<case>.nii.gz`` and ``results.csv``, as ``braintumorseg batch`` does.

        A case that fails is named in ``failures.csv`` and in ``cases`` of what is returned; the others go on. What was
        done before stays.

        Raises:
            BrainTumorSegError: there is no patient, or the output folder cannot be made; without waiting the ``error``
                of what is returned says so.
        """
        setup.check()
        options = RunOptions(str(model), device, tta=tta, preprocess=preprocess, brain_extraction=brainExtraction)
        run = FolderRun(Path(inputFolder), Path(outputFolder), options)
        if wait:
            run.wait()
            if run.error:
                raise run.error
        return run

    def measurements(self, segmentation: Any) -> dict[str, Any]:
        """Region or tissue class → volume, share, lesions, largest diameters of a segmentation node as it is now."""
        return sizes_of(sources.find_segmentation(segmentation, or_labels=True))

    def compare(self, segmentation: Any, reference: Any) -> dict[str, dict[str, Any]]:
        """Region → measure → value, for a segmentation and a reference segmentation or label volume."""
        first, second = (sources.find_segmentation(one, or_labels=True) for one in (segmentation, reference))
        return compare_nodes(first, second)

    def followUp(
        self,
        earlier: Any,
        later: Any,
        earlierImage: Any = None,
        laterImage: Any = None,
        days: int | None = None,
        wait: bool = True,
        inProcess: bool = False,
    ) -> Any:
        """How a tumour changed between two segmentations of one patient, as ``braintumorseg compare`` tells it.

        Args:
            earlier: segmentation or label volume node, its name or id.
            later: the same of the later examination.
            earlierImage: volume node that the earlier one lies on, its name or id; by default that it was made on, as
                far as the scene knows. Without both images sizes are compared, and lesions are not followed.
            laterImage: the same for the later one.
            days: between them; by default from the dates of the images.
            wait: return when it is done, else at once.
            inProcess: run in this process: for tests and debuggers.

        Returns:
            What the command writes as JSON, or with ``wait=False`` a :class:`ChangeRun`.

        Raises:
            BrainTumorSegError: with a remedy; images of two patients are refused, as far as their heads tell.
        """
        setup.check()
        first, second = (
            Examination.of(sources.find_segmentation(node, or_labels=True), sources.find_volume(image))
            for node, image in ((earlier, earlierImage), (later, laterImage))
        )
        between = days_between(first.image, second.image) if days is None else days
        run = ChangeRun(first, second, between, in_process=inProcess)
        return run.result() if wait else run
