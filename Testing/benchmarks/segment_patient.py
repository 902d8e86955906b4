"""Time and memory of ``braintumorseg segment`` for one patient, process start to file written.

``python -m Testing.benchmarks.segment_patient [CASE_FOLDER] [--model ID …]``; without a folder a synthetic patient of
240 × 240 × 155 voxels is written first. Prints seconds and peak resident memory a model, and the ratio of each to the
first. Run it with nothing beside it. POSIX only: it asks the kernel what the child used.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.phantom import make_phantom


def synthetic_case(folder: Path) -> Path:
    """A phantom as a case folder."""
    folder.mkdir()
    for modality, volume in make_phantom(0).case.images.items():
        write_volume(volume, folder / f"phantom_{modality}.nii.gz")
    return folder


def measure(case: Path, model: str, out: Path, *extra: str) -> tuple[float, float]:
    """Seconds and peak resident GB of one run in a process of its own."""
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", str(case), "-o", str(out), "--model", model]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--progress", "none", *extra], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{model} failed")
    return time.perf_counter() - started, peak_gigabytes(usage)


def peak_gigabytes(usage: resource.struct_rusage) -> float:
    """Linux counts kilobytes, macOS bytes."""
    return usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1024**2)


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("case", nargs="?", type=Path)
    p.add_argument("--model", nargs="+", default=["brats-ensemble", "brats-segresnet", "brats-unet2d"])
    p.add_argument("--repeat", type=int, default=3)
    arguments = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        case = arguments.case or synthetic_case(Path(folder) / "phantom")
        first = 0.0
        for model in arguments.model:
            runs = [measure(case, model, Path(folder) / "out.nii.gz") for _ in range(arguments.repeat)]
            seconds, memory = min(s for s, _ in runs), max(m for _, m in runs)
            first = first or seconds
            print(f"{model}: {seconds:.1f} s (best of {len(runs)}), peak {memory:.2f} GB, ratio {seconds / first:.2f}")


if __name__ == "__main__":
    main()
