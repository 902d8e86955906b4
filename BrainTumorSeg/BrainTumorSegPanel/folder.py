"""A folder of patients, one after another: one bad case is named and the rest goes on."""

from __future__ import annotations

import dataclasses
import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, ExecutionError, InputError, OutputError
from BrainTumorSegLib.domain.measurements import RegionMeasurement
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.io import case_folder
from BrainTumorSegLib.io.run_folder import RunFolder
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.runner import EngineRun, clean_up

from .run import from_root
from .tables import csv_rows, write_csv

TABLE = "measurements.csv"


@dataclass
class CaseOutcome:
    """What became of a patient: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``."""

    name: str
    files: case_folder.CaseFiles
    state: str = "waiting"
    error: str = ""
    measurements: dict[str, RegionMeasurement] = field(default_factory=dict)


def find_cases(folder: Path) -> list[CaseOutcome]:
    """The patients of a folder: its folders that hold images, or files named so in the folder itself.

    Raises:
        InputError: no folder, or none in it.
    """
    if not folder.is_dir():
        raise InputError(_("{folder} is not a folder.").format(folder=folder), _("Choose a folder of patients."))
    found = case_folder.find_cases(folder)
    if not found:
        raise InputError(
            _("{folder} holds no patient.").format(folder=folder),
            _("It should hold one folder a patient, with files named like t1.nii.gz."),
        )
    return [CaseOutcome(case.id, case, "failed" if case.problem else "waiting", case.problem) for case in found]


class FolderRun:
    """Segments the patients of a folder into ``<case>.nii.gz`` and a table of measurements.

    Attributes:
        cases: what became of each, in order.
        log: the engine's last lines of all cases.
    """

    def __init__(self, source: Path, destination: Path, options: RunOptions) -> None:
        """Start with the first case.

        Raises:
            InputError: the folder holds no patient.
            OutputError: the destination cannot be written to.
        """
        self.cases = find_cases(source.absolute())  # the engine works in another folder
        self.log: list[str] = []
        self._destination, self._options = destination, options
        self._cancelled = False
        try:
            destination.mkdir(parents=True, exist_ok=True)
            held = RunFolder.make()
        except OSError as error:
            raise OutputError(
                _("{folder} cannot be made ({reason}).").format(folder=destination, reason=error.strerror or error),
                _("Choose another output folder."),
            ) from error
        self._folder = held.path
        self._engine: EngineRun | None = None
        self._engines: list[EngineRun] = []  # the last one only; shared with what cleans up
        self._end = weakref.finalize(self, clean_up, self._engines, held)
        self._index = -1
        self._advance()

    @property
    def state(self) -> str:
        """``running``, ``done`` or ``cancelled``."""
        if self._engine is not None:
            return "running"
        return "cancelled" if self._cancelled else "done"

    def poll(self) -> None:
        """Take the work on: a case that has ended is taken over, and the next one started."""
        engine = self._engine
        if engine is not None and engine.state != "running":
            self._finish(engine)
            self._advance()

    @property
    def progress(self) -> float:
        """0 to 1, over all cases."""
        within = self._engine.progress if self._engine else 0.0
        return min((self._index + within) / len(self.cases), 1.0)

    @property
    def message(self) -> str:
        """Which case, and what is done to it."""
        if self._engine is None:
            return ""
        return _("{number} of {count}, {name}: {message}").format(
            number=self._index + 1,
            count=len(self.cases),
            name=self.cases[self._index].name,
            message=self._engine.message,
        )

    def cancel(self) -> None:
        """Stop; what is finished stays."""
        self._cancelled = True
        if self._engine is not None:
            self._engine.cancel()

    def wait(self) -> None:
        """Block until it has ended."""
        while self.state == "running":
            slicer.app.processEvents()
            EngineRun.pause()
            self.poll()

    def rows(self) -> list[dict[str, Any]]:
        """A row a region of each case that is done, a row with the error for each that is not."""
        rows: list[dict[str, Any]] = []
        for case in self.cases:
            rows += [{"case": case.name, **row, "error": ""} for row in csv_rows(case.measurements)]
            if case.error:
                rows.append({"case": case.name, "error": case.error})
        return rows

    def _advance(self) -> None:
        """Start the next case that can be started."""
        self._engine = None
        while not self._cancelled and self._index + 1 < len(self.cases):
            self._index += 1
            case = self.cases[self._index]
            if case.state == "failed":  # its files cannot be told apart
                continue
            try:
                self._engine = EngineRun(self._arguments(case), self._folder / "cancel")
            except BrainTumorSegError as error:
                case.state, case.error = "failed", error.sentence()
                continue
            self._engines[:] = [self._engine]
            case.state = "running"
            return
        for case in self.cases:
            if case.state == "waiting":
                case.state = "cancelled"
        self._index = len(self.cases)
        self._end()

    def _arguments(self, case: CaseOutcome) -> list[str]:
        output = str(self._folder / f"{case.name}.nii.gz")
        options = dataclasses.replace(self._options, model=from_root(self._options.model))
        return ["segment", *case.files.arguments, "-o", output, *options.arguments()]

    def _finish(self, engine: EngineRun) -> None:
        """Take over a case that has ended."""
        case = self.cases[self._index]
        self.log += [f"{case.name}: {line}" for line in engine.log]
        try:
            record = engine.record()
            self._place(case)
            case.state, case.measurements = "done", dict(record.measurements)
        except BrainTumorSegError as error:
            case.state = "cancelled" if engine.state == "cancelled" else "failed"
            case.error = error.sentence() if case.state == "failed" else ""
        try:
            write_csv(self.rows(), self._destination / TABLE)
        except (BrainTumorSegError, OSError) as error:
            case.error = case.error or str(error)

    def _place(self, case: CaseOutcome) -> None:
        """From the run's folder to the destination, whole or not at all."""
        name = f"{case.name}.nii.gz"
        try:
            with atomic(self._destination / name) as part:
                shutil.copyfile(self._folder / name, part)
        except OSError as error:
            raise ExecutionError(
                _("{file} cannot be written ({reason}).").format(
                    file=self._destination / name, reason=error.strerror or error
                ),
                _("Make room on the disk, or choose another folder."),
            ) from error
