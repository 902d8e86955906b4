"""A folder of patients: the front of ``braintumorseg batch``, one child for all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.cohort.outcome import read_outcome
from BrainTumorSegLib.domain.errors import BrainTumorSegError, InputError
from BrainTumorSegLib.domain.measurements import RegionMeasurement
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.result_record import read_record, record_path
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.io.case_folder import CaseFiles
from BrainTumorSegLib.io.dicom import Study
from BrainTumorSegLib.io.registry import read_label_map
from BrainTumorSegLib.runner import EngineRun, begin

from .run import from_root
from .sources import load_found, remove_node

TABLE = "results.csv"
# It ends its workers, and writes the tables of what is done.
_GRACE_SECONDS = 1.8


@dataclass
class CaseOutcome:
    """What became of a patient: ``waiting``, ``done``, ``failed`` or ``cancelled``; ``label_map`` has the result."""

    files: CaseFiles
    state: str = "waiting"
    error: str = ""
    measurements: dict[str, RegionMeasurement] = field(default_factory=dict)
    label_map: Path | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> CaseOutcome:
        """One that waits, as the engine has found it."""
        channels, folder = (Path(values[name]) if values[name] else None for name in ("channels", "folder"))
        study = Study(values["study"], "", ()) if values["study"] else None
        files = {name: Path(file) for name, file in values["files"].items()}
        return cls(CaseFiles(values["case"], files, channels=channels, folder=folder, study=study))

    @property
    def name(self) -> str:
        """The patient's."""
        return self.files.id

    def take(self, values: Mapping[str, Any], output: Path) -> None:
        """What the engine says of it."""
        self.state = str(values["state"])
        if self.state != "done":
            self.error = f"{values['error']} {values['remedy']}".strip()
            return
        self.label_map = output / values["outputs"][0]
        self.measurements = {region: _sizes(sizes) for region, sizes in values["measurements"].items()}


def _sizes(values: Mapping[str, float | None]) -> RegionMeasurement:
    return RegionMeasurement(**{name: math.nan if value is None else value for name, value in values.items()})  # type: ignore[arg-type]


class FolderRun:
    """Segments the patients of a folder into ``<case>.nii.gz``, with a table of results; what is done stays done.

    The engine looks for them, which takes long on slow disks, so they are not known at once.

    Attributes:
        cases: what became of each, in order.
        left_out: name of a file or folder → why it is none.
    """

    def __init__(self, source: Path, destination: Path, options: RunOptions) -> None:
        """Start.

        Raises:
            InputError: the folder does not exist.
            ExecutionError: no process can be started, or there is no place for temporary files.
        """
        source, destination = source.absolute(), destination.absolute()  # the engine works in another folder
        if not source.is_dir():
            raise InputError(_("{folder} is not a folder.").format(folder=source), _("Choose a folder of patients."))
        self.cases: list[CaseOutcome] = []
        self.left_out: dict[str, str] = {}
        self._destination, self._found, self._heard = destination, 0, 0
        options = dataclasses.replace(options, model=from_root(options.model))
        arguments = ["batch", str(source), "-o", str(destination), *options.arguments()]
        start = partial(EngineRun, grace_seconds=_GRACE_SECONDS)
        self._engine, self._end = begin(self, lambda _folder: arguments, start)

    @property
    def log(self) -> list[str]:
        """The engine's last lines."""
        return list(self._engine.log)

    @property
    def state(self) -> str:
        """``running``, ``done`` or ``cancelled``."""
        state = self._engine.state
        return "done" if state == "failed" else state

    @property
    def error(self) -> BrainTumorSegError | None:
        """Why it failed as a whole, such as that there is no patient; None where it is told with those that failed."""
        told = any(case.state == "failed" for case in self.cases)
        return self._engine.error if self._engine.state == "failed" and not told else None

    def poll(self) -> None:
        """Take over what was found, and what has ended since."""
        state = self._engine.state
        said = self._engine.cases[self._heard :]
        self._heard += len(said)
        for values in self._engine.found[self._found :]:
            self._found += 1
            if "case" in values:
                self.cases.append(CaseOutcome.of(values))
            else:
                self.left_out[values["left_out"]] = values["why"]
        by_name = {case.name: case for case in self.cases}
        for values in said:
            by_name[values["case"]].take(values, self._destination)
        if state == "running" or not self._end.alive:
            return
        error = self._engine.error
        for case in self.cases:
            if case.state == "waiting":
                case.state = state if state != "done" else "cancelled"
                case.error = error.sentence() if error and state == "failed" else ""
        self._end()

    @property
    def progress(self) -> float:
        """0 to 1, over all cases."""
        return self._engine.progress

    @property
    def message(self) -> str:
        """How far it is."""
        return self._engine.message

    def cancel(self) -> None:
        """Stop; what is finished stays."""
        self._engine.cancel()

    def wait(self) -> None:
        """Block until it has ended."""
        while self.state == "running":
            slicer.app.processEvents()
            EngineRun.pause()
            self.poll()
        self.poll()


def open_case(case: CaseOutcome) -> Any:
    """Load a patient's images and result into the scene; the segmentation's node.

    Raises:
        BrainTumorSegError: the images or the result cannot be read, or do not belong together any more.
    """
    assert case.label_map is not None
    record = read_record(record_path(case.label_map))
    labels = read_label_map(case.label_map, record.convention)
    images = load_found(case.files)
    reference = images.get(record.provenance.reference)
    if reference is None or slicer.util.arrayFromVolume(reference).shape != labels.array.shape:
        for node in images.values():
            remove_node(node)
        raise InputError(
            _("The images of {name} are others now than those that were segmented.").format(name=case.name),
            _("Segment the folder again."),
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", case.name)
    styles = mrml.segment_styles(record.regions, regions=True, classes=False, own=record.own_regions)
    mrml.write_segments(node, labels.array, styles, mrml.Place(mrml.affine_of(reference), reference))
    said = {"confidence": dict(record.confidence), "warnings": list(record.warnings)}
    mrml.write_provenance(node, {**dataclasses.asdict(record.provenance), **said}, record.regions)
    mrml.place_beside(node, reference)
    output = case.label_map.parent
    made = read_outcome(output, case.name)
    if made and made.was_mended(case.label_map, output):
        mrml.mark_edited(node)
    return node
