"""What became of a case: a JSON file a case, by which a run that was ended goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..domain.errors import BrainTumorSegError, InputError, error_of
from ..domain.json_values import read_json
from ..domain.result_record import ResultRecord, record_path
from ..domain.structure import from_json
from ..io.case_folder import CaseFiles
from ..io.evidence import reachable
from ..io.staging import atomic
from ..io.tree import files_below

SCHEMA = 1
FOLDER = "outcomes"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Failure:
    """Why a case has no result; ``code`` as in :mod:`.domain.errors`."""

    code: str = ""
    message: str = ""
    remedy: str = ""

    @classmethod
    def of(cls, error: BrainTumorSegError) -> Self:
        """As an error has it."""
        return cls(error.code, str(error), error.remedy)

    @property
    def error(self) -> BrainTumorSegError:
        """As an error again."""
        return error_of(self.code, self.message, self.remedy)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: its name.
        inputs: file → size in bytes and time of its last change in nanoseconds; of a folder of DICOM series, or
            of a study in it, the number of files, their size, and the last time.
        model: digest of the weights, and the model's id.
        options: of the run, as on the command line.
        outputs: file below the output folder → SHA-256.
        result: the record of the result; empty where there is none.
        failure: why there is none.
        attempts: how often it was tried.
        worker: machine and process that ran it.
        started: when, in ISO 8601.
        seconds: how long it took, all of it.
        version: of this program.
        run: which run of the cohort made it.
    """

    case: str
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    model: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure = field(default_factory=Failure)
    attempts: int = 0
    worker: str = ""
    started: str = ""
    seconds: float = 0.0
    version: str = ""
    run: str = ""

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return not self.failure.code

    @property
    def record(self) -> ResultRecord:
        """The record of the result.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return ResultRecord.of_json(dict(self.result), f"The outcome of {self.case}")

    def stands_for(self, other: Outcome, output: Path) -> bool:
        """Whether it is the result of the same images, weights and options as ``other`` would be, and still there.

        An empty file is none: a power cut may leave such. One that was changed stands: an expert may have mended it.
        """
        same = (self.model, self.options) == (other.model, other.options) and self._has_inputs_of(other)
        return self.is_done and same and all(_is_filled(output / name) for name in self.outputs)

    def _has_inputs_of(self, other: Outcome) -> bool:
        """Whether the images are the same, by the stamps of today or by those that folders had before."""
        if self.inputs.keys() != other.inputs.keys():
            return False
        changed = {name: stamp for name, stamp in self.inputs.items() if stamp != other.inputs[name]}
        return all(stamp == _former_stamp(Path(name)) for name, stamp in changed.items())

    def is_of_others(self, other: Outcome) -> bool:
        """Whether it is the result of none of the images of ``other``, but of some that are there still.

        Then another patient has that name; images that were moved are gone from where they were.
        """
        mine, others = ({os.path.realpath(name) for name in each.inputs} for each in (self, other))
        return self.is_done and mine.isdisjoint(others) and any(map(os.path.exists, mine))

    def was_mended(self, label_map: Path, output: Path) -> bool:
        """Whether somebody has changed the label map since, and not its record: a run that was killed changes both."""
        files = (label_map, record_path(label_map))
        return all(map(_is_filled, files)) and [
            digest == self.outputs.get(name) for name, digest in digests(files, output).items()
        ] == [False, True]

    def write(self, output: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: it cannot be placed.
            OSError: the disk refused.
        """
        values = {"schema": SCHEMA, "state": "done" if self.is_done else "failed", **dataclasses.asdict(self)}
        with atomic(outcome_file(output, self.case)) as part:
            part.write_text(json.dumps(values, indent=1), "utf-8")


def outcome_file(output: Path, case: str) -> Path:
    """Where the outcome of a case lies."""
    return output / FOLDER / f"{case}.json"


def read_outcome(output: Path, case: str) -> Outcome | None:
    """The outcome of a case; None where there is none that can be read: the case is run again then."""
    try:
        values = read_json(outcome_file(output, case))
        if not isinstance(values, dict) or values.pop("schema", None) != SCHEMA:
            return None
        values.pop("state", None)
        found: Outcome = from_json(Outcome, {**values, "result": {}})
        outcome = dataclasses.replace(found, result=values["result"])
        if outcome.is_done:
            outcome.record  # noqa: B018 — raises what is wrong
    except (OSError, ValueError, TypeError, KeyError, InputError):
        return None
    return outcome


def holds_outcomes(output: Path) -> bool:
    """Whether a folder holds an outcome of any run: then its tables are ours."""
    for file in (output / FOLDER).glob("*.json"):
        with suppress(OSError, ValueError):
            values = read_json(file)
            if isinstance(values, dict) and {"schema", "state", "case", "attempts"} <= set(values):
                return True
    return False


def stamps(case: CaseFiles) -> dict[str, tuple[int, ...]]:
    """File of a case → size and time of its last change; see :attr:`Outcome.inputs`.

    Raises:
        InputError: one is not there.
    """
    own = sorted({*case.files.values(), *([case.channels] if case.channels else [])})
    if own:
        return {str(path): _stamp(path) for path in own}
    if case.study:  # what comes to the folder later is another study's
        return {str(case.folder): _stamp_of_all(case.study.files)}
    return {str(case.folder): _folder_stamp(case.folder)} if case.folder else {}


def _stamp(path: Path) -> tuple[int, ...]:
    with reachable(path):
        facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _is_filled(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # it has just gone
        return False


def _folder_stamp(folder: Path) -> tuple[int, ...]:
    return _stamp_of_all(files_below(folder))


def _former_stamp(folder: Path) -> tuple[int, ...]:
    """That of a folder in outcomes of before: hidden files counted, and folders behind links did not.

    Such outcomes stand: their cases took long. No file has such a stamp.
    """
    with suppress(InputError):  # a hidden link that leads nowhere
        return _stamp_of_all(Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return ()


def _stamp_of_all(paths: Iterable[Path]) -> tuple[int, ...]:
    files = [_stamp(file) for file in paths]
    return len(files), sum(size for size, _ in files), max((time for _, time in files), default=0)


def digests(files: Iterable[Path], output: Path) -> dict[str, str]:
    """File below the output folder → SHA-256.

    Raises:
        OSError: one cannot be read.
    """
    return {path.relative_to(output).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
    return state.hexdigest()
