"""Where the results of a cohort lie: plainly side by side, or as BIDS derivatives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..domain.json_values import read_json
from ..domain.labels import CONVENTIONS, TISSUES, label_names
from ..io.staging import atomic, staged
from .outcome import FOLDER

PAGES = "reports"
_README = """# Brain tumour segmentations

Made by BrainTumorSeg from the images of the data set that `dataset_description.json` names. Each label map lies on the
grid of the image that its JSON file names, and that file says how it came about. `dseg.tsv` has the meaning of the
labels, `results.csv` the sizes of all cases, `failures.csv` the cases without a result.

For research, not for clinical use.
"""
# Tables and page of the whole, which are no part of BIDS.
_TABLES = ("results.csv", "failures.csv", "results.parquet", "report.html")
_BIDS_VERSION = "1.10.0"
_DERIVATIVES = Path("derivatives", "braintumorseg")
_SUBJECT = re.compile(r"(?P<subject>sub-[A-Za-z0-9]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?")


@dataclass(frozen=True)
class Layout:
    """Names of what is written.

    Attributes:
        about: what it is, for the help.
        inner: folder below the output folder that gets everything.
        label_map: case, and what tells its study where one folder holds several → file below that folder.
        finish: changes the record beside a label map to what the layout wants of it.
        begin: writes what the layout wants of a whole folder: folder, source folder, label convention.
    """

    about: str
    inner: Path
    label_map: Callable[[str, str], Path]
    finish: Callable[[Path, Mapping[str, Any]], None] | None = None
    begin: Callable[[Path, Path, str], None] | None = None


def _bids_name(case: str, study: str) -> Path:
    """The label map of a case: entities as its name has them, or the name's letters and digits as a subject.

    A study that its name ends with is a session of it, since a label of BIDS is letters and digits alone.
    """
    name = case.removesuffix(f"_{study}") if study else case
    entities = _SUBJECT.fullmatch(name)
    subject = entities["subject"] if entities else f"sub-{re.sub('[^A-Za-z0-9]', '', name) or 'case'}"
    session = (entities["session"] if entities else "") or ""
    if study:
        session = f"{session}x{study}" if session else f"ses-{study}"
        session = session.replace("_", "x")
    name = "_".join(filter(None, (subject, session, "space-orig", "dseg.nii.gz")))
    return Path(subject, session, "anat", name)


def _finish_bids(record: Path, result: Mapping[str, Any]) -> None:
    """Keys of BIDS in the record beside a label map; what the record holds stays."""
    provenance = result["provenance"]
    reference = provenance["inputs"].get(provenance["reference"], "")
    keys = {
        "Description": "Brain tumour: labels of the tissues, found by a network. For research, not for clinical use.",
        "Manual": False,
        "RawSources": [Path(name).name for name in provenance["inputs"].values()],
        "SpatialReference": Path(reference).name,
    }
    values = read_json(record)
    with atomic(record) as part:
        part.write_text(json.dumps({**keys, **values}, indent=1), "utf-8")


def _begin_bids(folder: Path, source: Path, convention: str) -> None:
    """What a derived data set says of itself, the meaning of the labels, and what is not BIDS in it."""
    description = {
        "Name": "Brain tumour segmentations",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "BrainTumorSeg", "Version": __version__}],
        "SourceDatasets": [{"URL": source.absolute().as_uri()}],
    }
    names = label_names(("ET", "TC", "WT"))
    values = CONVENTIONS[convention].values.items()
    rows = [f"{value}\t{names[label]}\t{_colour(label)}" for value, label in values if label in names]
    texts = {
        "dataset_description.json": json.dumps(description, indent=1),
        "dseg.tsv": "\n".join(["index\tname\tcolor", *rows, ""]),
        "README.md": _README,
        ".bidsignore": "".join(f"{name}\n" for name in (FOLDER, PAGES, *_TABLES)),
    }
    with staged() as staging:
        for name, text in texts.items():
            staging.path(folder / name).write_text(text, "utf-8")


def _colour(label: int) -> str:
    colours = [tissue.colour for tissue in TISSUES.values() if label in tissue.labels]
    return f"#{bytes(colours[0] if colours else (0, 0, 0)).hex()}"


LAYOUTS = {
    "plain": Layout("CASE.nii.gz side by side", Path(), lambda case, _study: Path(f"{case}.nii.gz")),
    "bids": Layout("derivatives/braintumorseg of a BIDS data set", _DERIVATIVES, _bids_name, _finish_bids, _begin_bids),
}
