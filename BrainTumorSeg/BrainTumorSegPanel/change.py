"""How a tumour changed between two segmentations of the scene, by ``braintumorseg compare``."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import ExecutionError, RequestError
from BrainTumorSegLib.domain.result_record import ModelRecord, Provenance, ResultRecord, record_path
from BrainTumorSegLib.io import mrml

from .node_run import NodeRun
from .segments import examine
from .sources import origin_of
from .views import reference_volume


@dataclass(frozen=True)
class Examination:
    """What was found at one time.

    Attributes:
        node: segmentation or label volume node.
        image: the volume node that it lies on; None where that is not known: lesions are not followed then.
    """

    node: Any
    image: Any = None

    @classmethod
    def of(cls, node: Any, image: Any = None) -> Examination:
        """With the image that a segmentation was made on, where none is given."""
        return cls(node, image_of(node) if image is None else image)


def image_of(node: Any) -> Any:
    """The volume that a segmentation was made on, as far as the scene knows; None for a label volume.

    A volume on the same grid will not do: prepared images of all times may lie on one.
    """
    return reference_volume(node) if node.IsA("vtkMRMLSegmentationNode") else None


def days_between(earlier: Any, later: Any) -> int | None:
    """Between the dates of two images; None where one is not known, negative where the later one came first."""
    if earlier is None or later is None:
        return None
    try:
        first, second = (date.fromisoformat(origin_of(image).date) for image in (earlier, later))
    except ValueError:
        return None
    return (second - first).days


class ChangeRun(NodeRun):
    """A comparison that was started; it is done when :attr:`state` says so, and :meth:`result` gives what changed.

    Attributes:
        report: the page with pictures, as HTML, after :meth:`result`.
    """

    def __init__(
        self, earlier: Examination, later: Examination, days: int | None = None, *, in_process: bool = False
    ) -> None:
        """Write both examinations and start the engine.

        Args:
            earlier, later: of one patient.
            days: between them, where that is known.
            in_process: run in this process instead of a child: for tests and debuggers.

        Raises:
            BrainTumorSegError: both are one, a node cannot be used or written, or no process can be started.
        """
        if earlier.node is later.node:
            raise RequestError(
                _("{name} was given twice.").format(name=later.node.GetName()), _("Choose two examinations.")
            )
        if later.image is not None and earlier.image is later.image:
            raise RequestError(
                _("Both results are of {name}.").format(name=later.image.GetName()),
                _("Choose the image of each examination."),
            )
        self._points, self._days = {"earlier": earlier, "later": later}, days
        self._found: dict[str, Any] | None = None
        self.report = ""
        super().__init__(self._arguments, in_process=in_process)

    def _arguments(self, folder: Path) -> list[str]:
        """The command line; all nodes are written to the run's folder."""
        folder = folder.resolve()  # as the engine names it
        self._page = folder / "change.html"
        options = ["-o", str(folder / "change.json"), "--report", str(self._page)]
        options += [] if self._days is None else ["--days", str(self._days)]
        asked = mrml.known_regions(self._points["later"].node)
        files = []
        for when, point in self._points.items():
            files.append(folder / f"{when}.nii")
            self.write(mrml.labels_of(point.node, asked), files[-1])
            self._write_record(point.node, record_path(files[-1]))
            if point.image is not None:
                image = folder / f"{when}_image.nii"
                self.write(mrml.volume_of(point.image), image)
                options += [f"--{when}-image", str(image)]
        return ["compare", *map(str, files), *options]

    def _write_record(self, node: Any, file: Path) -> None:
        """What is known of a result, so that the engine can say what tells two of them apart."""
        known = examine(node) if node.IsA("vtkMRMLSegmentationNode") else None
        record = ResultRecord(
            case=node.GetName(),
            labels={},
            convention="brats2023",
            regions=mrml.known_regions(node),
            measurements={},
            confidence=known.expected_dice if known else {},
            warnings=known.warnings if known else (),
            provenance=Provenance(model=_model_of(node)),
        )
        try:
            record.write(file)
        except OSError as error:
            raise ExecutionError(
                _("Nothing can be written to {folder} ({reason}).").format(
                    folder=file.parent, reason=error.strerror or error
                ),
                _("Make room on the disk."),
            ) from error

    def result(self) -> dict[str, Any]:
        """What the command writes as JSON; waits for it. Nodes are named in place of their files.

        Raises:
            BrainTumorSegError: the run failed or was cancelled.
        """
        if self._found is None:
            self.finish()
            try:
                answer = self._engine.answer()
                self.report = self.in_names(self._page.read_text("utf-8"), html.escape)
            finally:
                self.close()
            self._found = self._named({name: value for name, value in answer.items() if name != "output"})
        return self._found

    def _named(self, value: Any) -> Any:
        """Plain values with the names of nodes in their texts."""
        if isinstance(value, str):
            return self.in_names(value)
        if isinstance(value, list):
            return [self._named(each) for each in value]
        return {name: self._named(each) for name, each in value.items()} if isinstance(value, dict) else value


def _model_of(node: Any) -> ModelRecord:
    """The model that made a result; an empty record where it is of another program."""
    values = mrml.provenance_of(node).get("model")
    if not isinstance(values, Mapping):
        return ModelRecord()
    return ModelRecord(str(values.get("id", "")), str(values.get("version", "")), str(values.get("sha256", "")))
