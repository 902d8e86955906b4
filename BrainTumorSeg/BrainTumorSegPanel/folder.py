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

from BrainTumorSegLib.cohort.discovery import find_cohort
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.measurements import RegionMeasurement
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.result_record import ResultRecord, read_record, record_path, recorded_file
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.io.case_folder import CaseFiles
from BrainTumorSegLib.io.registry import read_label_map
from BrainTumorSegLib.runner import EngineRun, begin

from .run import from_root
from .sources import load_found

TABLE = "results.csv"
# It ends its workers, and writes the tables of what is done.
_GRACE_SECONDS = 1.8


@dataclass
class CaseOutcome:
    """What became of a patient: ``waiting``, ``done``, ``failed`` or ``cancelled``; ``label_map`` has the result."""

    name: str
    files: CaseFiles
    state: str = "waiting"
    error: str = ""
    measurements: dict[str, RegionMeasurement] = field(default_factory=dict)
    label_map: Path | None = None

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

    Attributes:
        cases: what became of each, in order.
    """

    def __init__(self, source: Path, destination: Path, options: RunOptions) -> None:
        """Start.

        Raises:
            InputError: the folder holds no patient.
            ExecutionError: no process can be started, or there is no place for temporary files.
        """
        source, destination = source.absolute(), destination.absolute()  # the engine works in another folder
        if not source.is_dir():
            raise InputError(_("{folder} is not a folder.").format(folder=source), _("Choose a folder of patients."))
        self.cases = [CaseOutcome(case.id, case) for case in find_cohort(source, destination).cases]
        self._by_name = {case.name: case for case in self.cases}
        self._destination, self._heard = destination, 0
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

    def poll(self) -> None:
        """Take over what has ended since."""
        state = self._engine.state
        said = self._engine.cases[self._heard :]
        self._heard += len(said)
        for values in said:
            self._outcome(str(values["case"])).take(values, self._destination)
        if state == "running" or not self._end.alive:
            return
        error = self._engine.error
        for case in self.cases:
            if case.state == "waiting":
                case.state = state if state != "done" else "cancelled"
                case.error = error.sentence() if error and state == "failed" else ""
        self._end()

    def _outcome(self, name: str) -> CaseOutcome:
        """That of a patient; one that came to the folder since it was looked into is new."""
        if name not in self._by_name:
            self._by_name[name] = CaseOutcome(name, CaseFiles(name))
            self.cases.append(self._by_name[name])
        return self._by_name[name]

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


def _found(files: CaseFiles, record: ResultRecord, place: Path) -> CaseFiles:
    """Where a patient's images are: as they were found, else as the result's record, which lies there, names them."""
    if files.inputs or files.folder:
        return files
    named = {name: recorded_file(source, place) for name, source in record.provenance.inputs.items()}
    return dataclasses.replace(files, files=named)


def open_case(case: CaseOutcome) -> Any:
    """Load a patient's images and result into the scene; the segmentation's node.

    Raises:
        BrainTumorSegError: the images or the result cannot be read.
    """
    assert case.label_map is not None
    place = record_path(case.label_map)
    record = read_record(place)
    labels = read_label_map(case.label_map, record.convention)
    images = load_found(_found(case.files, record, place))
    reference = images[record.provenance.reference]
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", case.name)
    styles = mrml.segment_styles(record.regions, regions=True, classes=False, own=record.own_regions)
    mrml.write_segments(node, labels.array, styles, mrml.Place(mrml.affine_of(reference), reference))
    said = {"confidence": dict(record.confidence), "warnings": list(record.warnings)}
    mrml.write_provenance(node, {**dataclasses.asdict(record.provenance), **said}, record.regions)
    return node
