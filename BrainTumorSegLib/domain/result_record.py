"""The JSON beside every result: one writer and one reader, for commands, panel and report.

``schema`` counts its versions: 1 (files of 0.1.0, without that field) and 2. Both are read; a newer one is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .alignment_record import AlignmentRecord
from .errors import InputError
from .json_values import finite, read_json
from .labels import CONVENTIONS, Region, label_names, own_region
from .measurements import RegionMeasurement
from .modalities import stem
from .segmentation import Segmentation
from .structure import from_json

SCHEMA = 2
SEGMENTS = "segments"
USE = "For research, not for clinical use."


def whole_path(source: str) -> str:
    """Where an image came from, as a record tells it: a file by its whole path, since it is read from anywhere."""
    return str(Path(source).absolute()) if source and os.path.exists(source) else source  # noqa: PTH110 - long names


def recorded_file(source: str, record: Path) -> Path:
    """The file that a record names.

    Earlier versions wrote it as it was typed: what is no whole path may lie beside the record, and never in the folder
    that a command is called in, where a file of that name may be of another patient.
    """
    return record.absolute().parent / source


@dataclass(frozen=True)
class ModelRecord:
    """Which weights made a result: ``sha256`` of the whole file; ``members`` of an ensemble, those that ran."""

    id: str = ""
    version: str = ""
    sha256: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """How a result came about.

    Attributes:
        model: the weights.
        inputs: modality → file or node that was taken as it.
        reference: modality whose grid carries the result.
        series_file: of a reference that is a DICOM series, one of its files; empty for others.
        preprocessing: what was done to the images, step by step, in words.
        alignment: registration and brain extraction in figures.
        device, precision: what the network ran on, and with which arithmetic.
        backend: what computed it.
        tta: whether mirrorings were averaged.
        seconds: duration of the run.
        versions: program → version.
    """

    model: ModelRecord = field(default_factory=ModelRecord)
    inputs: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    preprocessing: tuple[str, ...] = ()
    alignment: AlignmentRecord = field(default_factory=AlignmentRecord)
    device: str = ""
    backend: str = ""
    precision: str = ""
    tta: bool = False
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    series_file: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values; readers of before know no ``series_file``, and most results have none."""
        values = dataclasses.asdict(self)
        return values if self.series_file else {name: each for name, each in values.items() if name != "series_file"}


@dataclass(frozen=True)
class OwnRegion:
    """A region of a model's own: the voxel values of the file that make it up, and red, green, blue."""

    labels: tuple[int, ...]
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class ResultRecord:
    """All about a result but its voxels.

    Attributes:
        case: id of the case.
        labels: voxel value of the file → tissue.
        convention: label convention of the file; ``segments`` where ``labels`` are the numbers of its segments.
        regions: which of ET, TC, WT the model knows.
        measurements: region → sizes.
        confidence: region → expected Dice, for regions that were found.
        warnings: sentences that a reader of the result must see.
        provenance: how it came about.
        images: names of the 2D images that the masks belong to, slice by slice; empty for volumes.
        left_out: file of the case that was not used → why.
        use: what the result is for.
        own: name → regions of the model's own, where it has any.
    """

    case: str
    labels: Mapping[str, str]
    convention: str
    regions: tuple[str, ...]
    measurements: Mapping[str, RegionMeasurement]
    confidence: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    images: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    use: str = USE
    own: Mapping[str, OwnRegion] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        result: Segmentation,
        convention: str = "brats2023",
        *,
        images: tuple[str, ...] = (),
        left_out: Mapping[str, str] | None = None,
    ) -> Self:
        """The record of a result whose file has the labels of ``convention``."""
        return cls(
            case=result.case_id,
            labels=_labels(result, convention),
            convention=convention,
            regions=tuple(result.regions),
            measurements=result.measurements,
            confidence=dict(result.confidence),
            warnings=tuple(result.warnings),
            provenance=_provenance(result),
            images=images,
            left_out=left_out or {},
            own={region.name: OwnRegion(tuple(sorted(region.labels)), region.colour) for region in result.own},
        )

    @property
    def own_regions(self) -> tuple[Region, ...]:
        """The regions of the model's own."""
        found = enumerate(self.own.items())
        return tuple(own_region(name, each.labels, number, each.colour) for number, (name, each) in found)

    def as_json(self) -> dict[str, Any]:
        """Plain values; numbers to three decimals, null for undefined ones."""
        return {
            "schema": SCHEMA,
            "case": self.case,
            "labels": dict(self.labels),
            "convention": self.convention,
            "regions": list(self.regions),
            "measurements": {name: finite(dataclasses.asdict(m)) for name, m in self.measurements.items()},
            "confidence": finite(self.confidence),
            "warnings": list(self.warnings),
            "provenance": self.provenance.as_json(),
            "images": list(self.images),
            "left_out": dict(self.left_out),
            "use": self.use,
            # Readers of before know no such field, and most results have none.
            **({"own": {name: dataclasses.asdict(each) for name, each in self.own.items()}} if self.own else {}),
        }

    def write(self, file: Path) -> None:
        """Write the JSON file."""
        file.write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")

    @classmethod
    def of_json(cls, values: Any, source: str = "The record") -> Self:
        """The record of plain values.

        Args:
            values: what :meth:`as_json` gave, now or in 0.1.0.
            source: where they come from, for messages.

        Raises:
            InputError: they are no such record, a field is missing, unknown or of another type, or a newer program
                wrote them.
        """
        if not is_record(values):
            raise InputError(f"{source} is no record of a result.", "Give the JSON file that was written beside one.")
        schema = values.get("schema", 1)
        if type(schema) is not int or schema < 1:
            raise InputError(f"{source} is damaged: its schema is {str(schema)[:60]!r}.", "Run the segmentation again.")
        if schema > SCHEMA:
            raise InputError(
                f"{source} was written by a newer program: it has schema {str(schema)[:20]}, this one reads up to"
                f" {SCHEMA}.",
                "Update BrainTumorSeg.",
            )
        try:
            plain = _from_first(values) if schema == 1 else dict(values)
            plain.pop("schema", None)
            measured = {name: _measurement(m, name) for name, m in plain.pop("measurements").items()}
            confidence = {name: value for name, value in plain.pop("confidence").items() if value is not None}
            return from_json(cls, {**plain, "measurements": {}, "confidence": confidence}).with_measurements(measured)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{source} is damaged: {error}.", "Run the segmentation again.") from error

    def with_measurements(self, measurements: Mapping[str, RegionMeasurement]) -> Self:
        """The same with other measurements."""
        return dataclasses.replace(self, measurements=measurements)


def read_record(file: Path) -> ResultRecord:
    """Read the JSON file beside a result.

    Raises:
        InputError: it is missing, damaged, of another program or of a newer version of this one.
    """
    try:
        values = read_json(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}).", "Run the segmentation again.") from error
    return ResultRecord.of_json(values, str(file))


def record_path(output: Path) -> Path:
    """The JSON file beside a label map."""
    return output.with_name(f"{stem(output)}.json")


def native_path(output: Path, modality: str) -> Path:
    """The label map on the grid of another image, beside the one on the reference's."""
    return output.with_name(f"{stem(output)}_on_{modality}.nii.gz")


def is_record(values: Any) -> bool:
    """Whether plain values are a record of ours, of any version."""
    return isinstance(values, Mapping) and {"case", "measurements", "provenance", "use"} <= set(values)


def _labels(result: Segmentation, convention: str) -> dict[str, str]:
    """Voxel value → tissue, or segment → region."""
    if convention == SEGMENTS:
        return {str(number): region.title for number, region in enumerate(result.segments.values(), start=1)}
    names = label_names(result.regions)
    found = {str(value): names[label] for value, label in CONVENTIONS[convention].values.items() if label in names}
    outside_in = sorted(result.own, key=lambda region: -len(region.labels))
    return found | {str(label): region.name for region in outside_in for label in sorted(region.labels)}


def _provenance(result: Segmentation) -> Provenance:
    plain = json.loads(json.dumps(dict(result.provenance)))  # a version may be no plain text
    found: Provenance = from_json(Provenance, plain, "provenance.")
    files = result.labels.place.instances if result.labels.place else ()
    return dataclasses.replace(found, series_file=str(files[0].absolute())) if files else found


def _from_first(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a file of 0.1.0 as those of schema 2."""
    provenance = dict(values["provenance"])
    provenance["tta"] = provenance.pop("mirror", False)
    labels = values["labels"]
    return {
        **values,
        "convention": "brats2021" if "4" in labels else "brats2023",
        "regions": list(values["measurements"]),
        "provenance": provenance,
    }


def _measurement(values: Mapping[str, Any], region: str) -> RegionMeasurement:
    undefined = dict.fromkeys((name for name, value in values.items() if value is None), math.nan)
    known = {name: 0.0 if name in undefined else value for name, value in values.items()}
    return dataclasses.replace(from_json(RegionMeasurement, known, f"measurements.{region}."), **undefined)
