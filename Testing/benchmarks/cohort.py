"""Many patients: rate against single runs, memory, and what is left when workers, the run or the scheduler are killed.

``python -m Testing.benchmarks.cohort DATA [--quick]``. The patients are the validation patients of the model in DATA (a
folder of BraTS cases), cropped by other margins to make up the number. Linux only.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np

from BrainTumorSegLib.domain.options import DEFAULT_MODEL
from BrainTumorSegLib.io.case_folder import CaseFiles, find_cases
from BrainTumorSegLib.models.catalogue import find
from Testing.dask_cluster import Cluster

WORKERS = 2
# Of the acceptance: rate against single runs, share by which memory may change, seconds until a cancel has ended it.
LEAST_GAIN, MOST_GROWTH, MOST_SECONDS = 1.5, 0.05, 2.0
_CLI = [sys.executable, "-m", "BrainTumorSegLib.cli"]
_SETTLED = 5


def main() -> int:
    """Make the patients, run all parts, print a line each; 0 where all are as they should be."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", type=Path)
    p.add_argument("--patients", type=int, default=40)
    p.add_argument("--single", type=int, default=6, help="patients of the loop of single runs")
    p.add_argument("--model", default=DEFAULT_MODEL)
    p.add_argument("--quick", action="store_true", help="eight patients, cropped to a third along each axis")
    p.add_argument("--parts", default="rate,kill,cancel,dask", help="some of rate, kill, cancel, dask")
    arguments = p.parse_args()
    count = 8 if arguments.quick else arguments.patients
    with tempfile.TemporaryDirectory(prefix="cohort-") as name:
        bench = Bench(Path(name), arguments.model)
        make_patients(chosen(arguments.data, arguments.model), bench.root, count, small=arguments.quick)
        print(f"{count} patients, {WORKERS} workers, {os.cpu_count()} cores, model {arguments.model}")
        bench.prepare()
        if "rate" in arguments.parts:
            bench.rate(min(arguments.single, count))
        else:
            bench.whole()
        for part in ("kill", "cancel", "dask"):
            if part in arguments.parts:
                getattr(bench, part)()
    return 0 if bench.good else 1


def chosen(data: Path, model: str) -> list[CaseFiles]:
    """The model's validation patients; all where none of them is there."""
    cases = [case for case in find_cases(data) if len(case.files) == 4]
    held_out = set(find(model).description.training.validation_cases)
    return [case for case in cases if case.id in held_out] or cases


def make_patients(cases: Sequence[CaseFiles], root: Path, count: int, *, small: bool) -> None:
    """Copies of the cases, each cropped by other margins of its background, or to the middle where they are small."""
    for number in range(count):
        case, margin = cases[number % len(cases)], number // len(cases)
        name = f"P{number:03d}"
        (root / name).mkdir(parents=True)
        for modality, file in case.files.items():
            image = nibabel.load(file)
            shape = np.asarray(image.shape)
            low = shape // 3 if small else np.minimum(margin, shape // 20)
            high = 2 * shape // 3 - margin if small else shape - low
            cut = image.slicer[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            nibabel.save(cut, root / name / f"{name}_{modality}.nii.gz")


class Bench:
    """The parts, and whether each was as it should be."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder, self._model = folder, model
        self.root, self.good = folder / "patients", True
        self._whole: dict[str, bytes] = {}

    def _say(self, what: str, figure: str, good: bool) -> None:
        self.good &= good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {figure}", flush=True)

    def _batch(self, output: str, *more: str) -> list[str]:
        where = ["-o", str(self._folder / output), "--model", self._model, "--progress", "none"]
        return [*_CLI, "batch", str(self.root), *where, *(more or ("--workers", str(WORKERS)))]

    def _single(self, case: Path, output: Path) -> None:
        command = [*_CLI, "segment", str(case), "-o", str(output), "--model", self._model, "--progress", "none"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def prepare(self) -> None:
        """A first run, which converts the networks for this machine."""
        self._single(next(self.root.iterdir()), self._folder / "first.nii.gz")

    def rate(self, single: int) -> None:
        """The whole cohort against a loop of single runs, and memory meanwhile."""
        since = time.monotonic()
        for case in sorted(self.root.iterdir())[:single]:
            self._single(case, self._folder / "single" / f"{case.name}.nii.gz")
        alone = (time.monotonic() - since) / single
        since = time.monotonic()
        memory = self.whole()
        each = (time.monotonic() - since) / len(self._whole)
        figure = f"{alone / each:.2f} times ({alone:.2f} s a case in a loop of {single}, {each:.2f} s in the batch)"
        self._say("rate", figure, alone / each >= LEAST_GAIN)
        same = [file.read_bytes() == self._whole[file.name] for file in (self._folder / "single").glob("*.nii.gz")]
        self._say("same label maps as single runs", f"{sum(same)} of {len(same)}", all(same))
        if len(memory) > _SETTLED:
            half = max((len(memory) - _SETTLED) // 2, 1)
            early, late = max(memory[_SETTLED : _SETTLED + half]), max(memory[-half:])
            growth = late / early - 1
            figure = f"{growth:+.1%} ({early / 1e9:.2f} to {late / 1e9:.2f} GB of {WORKERS} workers, at their peaks)"
            self._say("memory from the 5th case to the last", figure, abs(growth) <= MOST_GROWTH)
        hours = 10_000 * each / 3600
        print(f"     10,000 patients: {hours:.1f} h on this machine, {hours * (os.cpu_count() or 1):.0f} core hours")

    def whole(self) -> list[int]:
        """A run that nothing disturbs; bytes of memory at the peak between one case's end and the next."""
        run = subprocess.Popen(self._batch("whole"), stdout=subprocess.DEVNULL)
        peaks, done = [0], 0
        while run.poll() is None:
            ended = self._done("whole")
            peaks += [0] * (ended - done)
            done = ended
            peaks[-1] = max(peaks[-1], sum(map(_resident, _children(run.pid))))
            time.sleep(0.05)
        if run.returncode:
            raise SystemExit("the undisturbed run failed")
        self._whole = self._label_maps("whole")
        return peaks[1:-1]

    def kill(self) -> None:
        """SIGKILL in the middle, then the same command."""
        run = subprocess.Popen(self._batch("killed"), stdout=subprocess.DEVNULL)
        self._half("killed")
        run.kill()
        run.wait()
        before = self._outcomes("killed")
        again = subprocess.run(self._batch("killed"), stdout=subprocess.DEVNULL, check=False)
        self._compare(f"killed after {len(before)} cases and resumed", "killed", before, again.returncode)

    def cancel(self) -> None:
        """SIGINT while cases run."""
        run = subprocess.Popen(self._batch("cancelled"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._half("cancelled")
        since = time.monotonic()
        run.send_signal(signal.SIGINT)
        code = run.wait()
        seconds = time.monotonic() - since
        self._say("cancel", f"{seconds:.2f} s, exit {code}", code == 130 and seconds <= MOST_SECONDS)

    def dask(self) -> None:
        """Two workers of a cluster, of which one is killed; a scheduler that is killed and started again."""
        for part in ("a worker is killed", "the scheduler is restarted"):
            # Its workers run in a folder of their own, where this program has to be found as well.
            found = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
            cluster = Cluster(self._folder, os.environ | {"PYTHONPATH": found}, WORKERS)
            output = part.replace(" ", "-")
            run = subprocess.Popen(
                self._batch(output, "--scheduler", str(cluster.file)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            self._half(output)
            if part == "a worker is killed":
                cluster.workers[0].kill()
            else:
                cluster.restart()
            before = self._outcomes(output)
            _, said = run.communicate()
            self._compare(f"Dask, {part} after {len(before)} cases", output, before, run.returncode)
            if run.returncode:
                print(said.decode(errors="replace")[-500:])
            cluster.end()

    def _compare(self, what: str, output: str, before: dict[str, str], code: int) -> None:
        after, maps = self._outcomes(output), self._label_maps(output)
        lost = [name for name in self._whole if name not in maps]
        other = [name for name, content in maps.items() if content != self._whole.get(name)]
        twice = [name for name, text in before.items() if after.get(name) != text]
        figure = f"{len(lost)} lost, {len(twice)} done twice, {len(other)} with other bytes, exit {code}"
        self._say(what, figure, not (lost or twice or other or code))

    def _half(self, output: str) -> None:
        _wait(lambda: self._done(output) >= len(self._whole) // 2)

    def _done(self, output: str) -> int:
        return len(list((self._folder / output / "outcomes").glob("[!.]*.json")))

    def _outcomes(self, output: str) -> dict[str, str]:
        return {file.stem: file.read_text() for file in (self._folder / output / "outcomes").glob("[!.]*.json")}

    def _label_maps(self, output: str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self._folder / output).glob("*.nii.gz")}


def _wait(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
