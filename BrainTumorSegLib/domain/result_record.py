"""The record of a result: the JSON beside each label map, with one writer and one reader."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import InputError
from .labels import CONVENTIONS, ED, TISSUES
from .measurements import RegionMeasurement
from .segmentation import Segmentation

SCHEMA = 1
DISCLAIMER = "For research, not for clinical use."


@dataclass(frozen=True)
class ResultRecord:
    """All about a result but its voxels.

    Attributes:
        case: name of the case.
        labels: voxel value of the label map, as text → tissue.
        convention: label convention of the label map.
        measurements: region → sizes.
        confidence: region → the Dice that the model's calibrated probabilities promise.
        warnings: sentences that a reader of the result must see.
        provenance: model, inputs, reference, preprocessing, device, precision, versions.
        left_out: file that was passed over → why.
        images: names of the 2D images, in the order of the slices, where it was made of such.
        dice: region → Dice against a truth that is known, as in the demo.
        schema: version of this record.
    """

    case: str
    labels: Mapping[str, str]
    convention: str
    measurements: Mapping[str, RegionMeasurement]
    confidence: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    dice: Mapping[str, float] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def of(cls, result: Segmentation, convention: str = "brats2023", **more: Any) -> ResultRecord:
        """The record of a result whose label map is written in ``convention``; ``more`` are fields of the record."""
        names = {0: "background", **{label: name for name, tissue in TISSUES.items() for label in tissue.labels}}
        if result.regions == ("WT",):
            names = {0: "background", ED: "WT"}
        labels = {str(value): names[label] for value, label in CONVENTIONS[convention].items() if label in names}
        return cls(
            result.case_id,
            labels,
            convention,
            result.measurements,
            dict(result.confidence),
            tuple(result.warnings),
            dict(result.provenance),
            **more,
        )

    def values(self) -> dict[str, Any]:
        """As JSON values; what is undefined is null."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if value not in ({}, ())}
        values = {"schema": values.pop("schema"), **values, "use": DISCLAIMER}
        for name in ("measurements", "confidence", "dice"):
            if name in values:
                values[name] = _finite(values[name])
        return {"confidence": {}, "warnings": [], **values}

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_text(json.dumps(self.values(), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> ResultRecord:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: it cannot be read, is another file, or of a newer schema.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file} cannot be read ({error}).", "Segment the case again.") from error
        return cls.parse(values, str(file))

    @classmethod
    def parse(cls, values: Any, source: str = "the result") -> ResultRecord:
        """A record from JSON values.

        Raises:
            InputError: it is another file, or of a newer schema.
        """
        schema = values.get("schema") if isinstance(values, dict) else None
        if type(schema) is not int or not {"case", "measurements", "provenance"} <= set(values):
            raise InputError(f"{source} is no record of a result.", "Name the JSON file beside a label map.")
        if schema > SCHEMA:
            raise InputError(f"{source} has schema {schema}, and this program knows up to {SCHEMA}.", "Update it.")
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            given = {name: value for name, value in values.items() if name in known}
            given["measurements"] = {region: _measurement(sizes) for region, sizes in values["measurements"].items()}
            for name in ("confidence", "dice"):
                given[name] = {region: _number(value) for region, value in values.get(name, {}).items()}
            for name in ("warnings", "images"):
                given[name] = tuple(str(text) for text in values.get(name, ()))
            return cls(**given)
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{source} is damaged ({error}).", "Segment the case again.") from error


def is_record(file: Path) -> bool:
    """Whether a file is a record that this program wrote."""
    try:
        ResultRecord.read(file)
    except InputError:
        return False
    return True


def _measurement(sizes: Mapping[str, Any]) -> RegionMeasurement:
    numbers = {name: _number(value) for name, value in sizes.items()}
    return RegionMeasurement(lesions=int(numbers.pop("lesions")), **numbers)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Rounded, and null where it is not finite: NaN is no JSON."""
    return {
        name: _finite(value) if isinstance(value, Mapping) else (round(value, 3) if math.isfinite(value) else None)
        for name, value in values.items()
    }
