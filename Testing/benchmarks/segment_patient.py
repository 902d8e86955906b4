"""One patient, process start to file written: ``braintumorseg segment`` beside two other ways of doing it.

``python -m Testing.benchmarks.segment_patient [CASE_FOLDER] [--nnunet-python PYTHON] [-o speed.json]``; without a
folder a synthetic patient of 240 × 240 × 155 voxels is written first. The others are what the MONAI bundle for BraTS
does, with a SegResNet of 16 filters in fp32, and what nnU-Net does by default, in an environment of its own::

    python -m venv NNUNET && NNUNET/bin/pip install -c constraints.txt nnunetv2 torch

Each run is a fresh process, and all ways take turns. A first round is kept apart: in it models are converted, where a
backend does that, into a folder that is new. nnU-Net runs once, and only a tenth of its windows unless
``--nnunet-share 1``; the seconds of the others are added by rule of three. Printed are medians of wall-clock and
processor seconds, peak memory, and how many times as long the others take with the same instruction sets. Run it with
nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from BrainTumorSegLib.domain.options import DEFAULT_MODEL
from BrainTumorSegLib.io.case_folder import find_case

from .phantom_case import WHOLE, phantom_case
from .processes import FailedRunError, Run, machine, measure

# torch's own kernels have a limit of their own.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
OURS, MONAI, NNUNET, NNUNET_CROPPED = "braintumorseg", "MONAI bundle", "nnU-Net", "nnU-Net, cropped to the brain"
# Exit code of a request that cannot be met, as for a backend that is not installed.
_REFUSED = 2


@dataclass(frozen=True)
class Way:
    """One way from a patient's files to a label map.

    Attributes:
        name: what it is called in tables.
        command: what is run.
        program: of whom: ``OURS``, ``MONAI`` or ``NNUNET``.
        avx2: whether instruction sets are capped.
        optional: whether it may be refused, and is left out then.
        warm: whether it says itself how long the part took that is meant: a run of an engine that has run before.
    """

    name: str
    command: tuple[str, ...]
    program: str = OURS
    avx2: bool = False
    optional: bool = False
    warm: bool = False

    def run(self, home: Path) -> Run:
        """Measure it once; our own models are converted into ``home``."""
        return measure(self.command, {"BRAINTUMORSEG_HOME": str(home), **(AVX2 if self.avx2 else {})})


@dataclass
class Row:
    """What was measured of a way.

    Attributes:
        name, program, avx2: those of the way.
        first_seconds: of the first round; None where that is no matter.
        seconds, cpu_seconds: of every other round; processor seconds may not be known.
        memory_gb: the highest peak of them; None where it is not known.
        stages: median seconds of each stage of our own runs, in their order.
        facts: backend, device and precision, as our own result says them.
        note: how the figures came about where they were not simply measured.
    """

    name: str
    program: str
    avx2: bool = False
    first_seconds: float | None = None
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_gb: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def take(self, run: Run, *, warm: bool = False) -> None:
        """Add what a run took."""
        if warm:
            self.seconds.append(_object(run.lines[-1][1])["seconds"])
            return
        self.seconds.append(run.seconds)
        self.cpu_seconds.append(run.cpu_seconds)
        self.memory_gb = max(self.memory_gb or 0.0, run.memory_gb)


def stage_seconds(run: Run) -> dict[str, float]:
    """How long each stage lasted, from the progress lines: from a line to the next one is the first one's stage.

    What comes before the first line is ``start``, what comes after the result ``end``.
    """
    found: dict[str, float] = defaultdict(float)
    stage, since = "start", 0.0
    for moment, line in run.lines:
        values = _object(line)
        following = "end" if "result" in values else values.get("stage", stage)
        found[stage] += moment - since
        stage, since = following, moment
    found[stage] += run.seconds - since
    return dict(found)


def facts_of(run: Run) -> dict[str, str]:
    """Backend, device and precision of a run of ours."""
    results = [values["result"] for values in (_object(line) for _, line in run.lines) if "result" in values]
    provenance = results[-1]["provenance"] if results else {}
    return {name: str(provenance[name]) for name in ("backend", "device", "precision") if provenance.get(name)}


def _object(line: str) -> dict[str, Any]:
    """What a line of JSON holds; nothing where it is none."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def scaled(run: Run, counted: Mapping[str, float], windows: float) -> tuple[float, float]:
    """Wall-clock and processor seconds that a run would have taken with so many windows, in place of those computed."""
    more = windows / counted["computed"] - 1
    return run.seconds + more * counted["seconds"], run.cpu_seconds + more * counted["cpu_seconds"]


def nnunet_rows(run: Run) -> list[Row]:
    """nnU-Net over the full grid, and over what it crops an image without skull to."""
    counted = _object(run.lines[-1][1])
    rows = []
    for name, windows in ((NNUNET, counted["windows"]), (NNUNET_CROPPED, counted["windows_in_brain"])):
        seconds, cpu_seconds = scaled(run, counted, windows)
        note = f"{windows} windows × 8 mirrorings, {counted['computed']} of them computed on the full grid"
        rows.append(Row(name, NNUNET, False, None, [seconds], [cpu_seconds], run.memory_gb, note=note))
    return rows


def ratio(row: Row, rows: Iterable[Row], program: str) -> float | None:
    """How many times as long the other program takes, with the same instruction sets; None where it was not run."""
    others = [other for other in rows if other.program == program and other.avx2 == row.avx2]
    return statistics.median(others[0].seconds) / statistics.median(row.seconds) if others else None


def own_ways(case: Path, models: Sequence[str], output: Path) -> list[Way]:
    """Our command with each model, and the first of them on each backend and without newer instruction sets."""
    engine = (sys.executable, "-m", "BrainTumorSegLib.cli", "segment")
    command = (*engine, str(case), "-o", str(output), "--progress", "json", "--model")
    first = models[0]
    return [
        *(Way(model, (*command, model)) for model in models),
        *(
            Way(f"{first}, {name}", (*command, first, "--backend", name), optional=True)
            for name in ("torch", "openvino")
        ),
        Way(f"{first}, AVX2", (*command, first), avx2=True),
        Way(f"{first}, second run in 3D Slicer", (*_module("second_run"), str(case), str(output), first), warm=True),
    ]


def _module(name: str) -> tuple[str, ...]:
    """The command that runs a file beside this one."""
    return sys.executable, "-m", f"{__package__}.{name}"


def monai_ways(case: Path, output: Path) -> list[Way]:
    """The MONAI bundle's way, with and without newer instruction sets."""
    files = find_case([case], {}).files
    given = [str(files[name]) for name in ("t1ce", "t1", "t2", "flair")]
    command = (*_module("monai_bundle"), *given, str(output))
    return [Way(MONAI, command, MONAI), Way(f"{MONAI}, AVX2", command, MONAI, avx2=True)]


def run_nnunet(python: Path, case: Path, share: float, folder: Path) -> list[Row]:
    """Write nnU-Net's model folder and predict with it, once."""
    script = [str(python), "-P", str(Path(__file__).with_name("nnunet_defaults.py"))]
    measure([*script, "model", str(folder / "nnunet")])
    files = find_case([case], {}).files
    given = [str(files[name]) for name in ("t1", "t1ce", "t2", "flair")]
    return nnunet_rows(
        measure([*script, "predict", str(folder / "nnunet"), str(share), str(folder / "n.nii.gz"), *given])
    )


def take_turns(ways: Sequence[Way], repeat: int, home: Path) -> list[Row]:
    """Measure all ways in turn, again and again; a way that is refused in the first round is left out.

    Raises:
        FailedRunError: a run failed.
    """
    rows: dict[str, Row] = {}
    stages: dict[str, list[dict[str, float]]] = defaultdict(list)
    for way in ways:
        try:
            run = way.run(home)
        except FailedRunError as error:
            if not way.optional or error.code != _REFUSED:
                raise
            print(f"{way.name}: left out. {error}", flush=True)
            continue
        first = None if way.warm else run.seconds
        rows[way.name] = Row(way.name, way.program, way.avx2, first, facts=facts_of(run))
    for _ in range(repeat):
        for way in (way for way in ways if way.name in rows):
            run, row = way.run(home), rows[way.name]
            row.take(run, warm=way.warm)
            if way.program == OURS and not way.warm:
                stages[way.name].append(stage_seconds(run))
            print(f"{way.name}: {row.seconds[-1]:.1f} s", flush=True)
    for name, runs in stages.items():
        rows[name].stages = {
            stage: round(statistics.median(run.get(stage, 0.0) for run in runs), 3) for stage in runs[0]
        }
    return list(rows.values())


def show(rows: Sequence[Row]) -> None:
    """Print the table, and the stages of our own runs."""
    print(f"\n{'':44}{'s':>8}{'first':>8}{'CPU s':>8}{'GB':>6}{'MONAI':>8}{'nnU-Net':>9}")
    for row in rows:
        cells = [
            f"{statistics.median(row.seconds):8.1f}",
            _cell(row.first_seconds, 8),
            _cell(statistics.median(row.cpu_seconds) if row.cpu_seconds else None, 8),
            _cell(row.memory_gb, 6, ".2f"),
            _cell(ratio(row, rows, MONAI), 8),
            _cell(ratio(row, rows, NNUNET), 9),
        ]
        print(f"{row.name:44}{''.join(cells)}  {row.note or ', '.join(row.facts.values())}")
    print("\nseconds of the stages")
    for row in rows:
        if row.stages:
            print(f"{row.name:44}{', '.join(f'{name} {value:.2f}' for name, value in row.stages.items())}")


def _cell(value: float | None, width: int, form: str = ".1f") -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def main() -> None:
    """Measure, print and write."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("case", nargs="?", type=Path, help="case folder with the four sequences; default: a phantom")
    p.add_argument("--shape", nargs=3, type=int, default=WHOLE, metavar=("Z", "Y", "X"), help="voxels of the phantom")
    included = [DEFAULT_MODEL, "brats-segresnet", "brats-unet2d"]
    p.add_argument("--model", nargs="+", default=included, help="included models or files; the first on each backend")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--nnunet-python", type=Path, help="Python of an environment with nnunetv2; without it is left out")
    p.add_argument("--nnunet-share", type=float, default=0.1, help="of nnU-Net's windows that is computed")
    p.add_argument("-o", "--output", type=Path, help="JSON file, for docs/tools/draw_speed.py")
    arguments = p.parse_args()
    before = machine()
    print("{processor}; {cores} cores, load {load}".format(**before), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = arguments.case or phantom_case(folder / "phantom", tuple(arguments.shape))
        ways = [
            *own_ways(case, arguments.model, folder / "out.nii.gz"),
            *monai_ways(case, folder / "monai.nii.gz"),
        ]
        rows = take_turns(ways, arguments.repeat, folder / "home")
        if arguments.nnunet_python:
            rows += run_nnunet(arguments.nnunet_python, case, arguments.nnunet_share, folder)
        else:
            print(f"{NNUNET}: left out. Name the Python of an environment that has it with --nnunet-python.")
    show(rows)
    if arguments.output:
        found = {"machine": before, "case": str(arguments.case or tuple(arguments.shape)), "repeat": arguments.repeat}
        found["rows"] = [asdict(row) for row in rows]
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
