"""Signals at random moments of ``braintumorseg segment``: ``python -m Testing.fuzz.signals --count 200``.

Counts of outcomes are printed: ``none`` and ``all`` are sound, with exit 130, or 0 where the run was quicker;
``unheard`` means that the signal came before the first line of the program, while Python started.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from BrainTumorSegLib.io.placement import clear_up
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.phantom import make_phantom

NAMES = {"o.nii.gz", "o.json", "maps/ET.nii.gz", "maps/TC.nii.gz", "maps/WT.nii.gz"}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--seed", type=int, default=0)
    arguments = p.parse_args()
    chance = random.Random(arguments.seed)
    for sign in SIGNALS:
        signal.signal(sign, signal.SIG_DFL)  # ignored ones would be ignored by the children, too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "case").mkdir()
        for modality, volume in make_phantom(0).case.images.items():
            small = volume.with_array(volume.array[40:100:2].astype("int16"))
            write_volume(small, folder / "case" / f"case_{modality}.nii.gz")
        started = time.monotonic()
        outcome = trial(folder, folder / "whole", None, 0)
        longest = time.monotonic() - started
        print(f"undisturbed: {outcome}, {longest:.1f} s", flush=True)
        counts: Counter[str] = Counter()
        for number in range(arguments.count):
            sent = chance.choice(SIGNALS)
            counts[trial(folder, folder / str(number), sent, chance.uniform(0, longest))] += 1
    for outcome, times in counts.most_common():
        print(f"{times:5} {outcome}")
    return int(any("BAD" in outcome for outcome in counts))


def trial(folder: Path, out: Path, number: signal.Signals | None, moment: float) -> str:
    """How a run ended that got a signal at a moment, and what it left after the next run's clearing up."""
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", folder / "case", "-o", out / "o.nii.gz"]
    command += ["--model", "brats-unet2d", "--probabilities", out / "maps", "--progress", "none"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        if number is not None:
            time.sleep(moment)
            process.send_signal(number)
        said = process.communicate(timeout=120)[1].decode()
    for used in (out, out / "maps"):
        clear_up(used)
    left = {os.path.relpath(path, out) for path in out.rglob("*") if path.is_file()}
    files = "none" if not left else "all" if left == NAMES else f"BAD files {sorted(left)}"
    code = process.returncode
    if number is not None and code == -number and not left:
        return f"unheard, {files}"
    sound = code in (0, 130) and (code == 130 or files == "all") and "Traceback" not in said
    return f"exit {code}, {files}" if sound else f"BAD exit {code}, {files}: {said.strip()[-200:]}"


if __name__ == "__main__":
    sys.exit(main())
