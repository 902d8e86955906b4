"""Thousands of damaged and hostile files, each read in a limited child: ``python -m Testing.fuzz.campaign images``.

Prints counts by outcome and keeps the files that were neither read nor refused. A file follows from the seed and its
number alone: ``--only NUMBER`` makes and reads that one again. Linux.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from BrainTumorSegLib.domain.text_table import text_table
from Testing.fuzz.child import OUTCOMES, SOUND, Child, Outcome, Sample, Subject

# Larger ones (sparse files, bombs) are made again from their number.
KEPT_BYTES = 1 << 20
SUBJECTS = ("images", "checkpoints")


def main(argv: list[str] | None = None) -> int:
    """Run a campaign; 1 where a file crashed, hung, exhausted or deceived."""
    arguments = _arguments(argv)
    module = f"Testing.fuzz.{arguments.subject}"
    subject: Subject = importlib.import_module(module)
    numbers = arguments.only or range(arguments.count)
    counts: Counter[tuple[str, str]] = Counter()
    slowest = largest = 0.0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work, Child(module, _new(Path(work) / "home")) as child:
        for number in numbers:
            folder = _new(Path(work) / str(number))
            sample = subject.make((arguments.seed, number), folder)
            outcome = child.read(sample.path)
            counts[sample.kind, outcome.name] += 1
            slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.peak_gb)
            if outcome.name not in SOUND or arguments.only:
                print(_sentence(number, sample, outcome), flush=True)
            if outcome.name not in SOUND:
                _keep(folder, arguments.keep / f"{arguments.subject}-{arguments.seed}-{number}")
            shutil.rmtree(folder)
    print(table(counts))
    print(f"{time.monotonic() - began:.0f} s; slowest {slowest:.1f} s, largest {largest:.2f} GB")
    return int(any(name not in SOUND for _, name in counts))


def table(counts: Counter[tuple[str, str]]) -> str:
    """Counts by kind (rows) and outcome (columns), with the sum of each."""
    kinds = sorted({kind for kind, _ in counts})
    rows = [(kind, *(str(counts[kind, name]) for name in OUTCOMES)) for kind in kinds]
    sums = ("all", *(str(sum(counts[kind, name] for kind in kinds)) for name in OUTCOMES))
    return text_table(("files", *OUTCOMES), [*rows, sums], gap=2)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m Testing.fuzz.campaign", description=__doc__)
    p.add_argument("subject", choices=SUBJECTS)
    p.add_argument("--count", type=int, default=5000, help="files")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these files alone, and what became of them")
    p.add_argument("--keep", type=Path, default=Path("fuzz-failures"), metavar="DIR", help="for files that failed")
    return p.parse_args(argv)


def _sentence(number: int, sample: Sample, outcome: Outcome) -> str:
    return f"{number} ({sample.kind}): {outcome.name} after {outcome.seconds:.1f} s: {outcome.detail}"


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _keep(folder: Path, place: Path) -> None:
    """Copy a sample's small files; links and pipes stay what they are."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for entry in folder.iterdir():
        if entry.is_symlink():
            (place / entry.name).symlink_to(entry.readlink())
        elif entry.is_file() and entry.stat().st_size <= KEPT_BYTES:
            shutil.copy2(entry, place / entry.name)


if __name__ == "__main__":
    sys.exit(main())
