"""Time and memory of an evaluation: one pair with all measures, and HD95 against its uncropped computation.

``python -m Testing.benchmarks.evaluate_pair [PREDICTION REFERENCE]``; without files a synthetic patient's labels of
240 × 240 × 155 voxels are compared with the same, moved and worn. Everything is measured in one run on one core, in
processor seconds; the ratios are what carries over to other machines. POSIX only: it asks the kernel for the memory of
its child.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# Before numpy starts its threads; the child inherits it.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.labels import to_regions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import Settings, compare_files, compare_volumes
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.phantom import make_phantom

CHILD = """
import re, resource, sys
from pathlib import Path
from BrainTumorSegLib.evaluation import Settings, compare_files
compare_files(Path(sys.argv[1]), Path(sys.argv[2]), Settings(("all",)))
status = Path("/proc/self/status")
if status.exists():  # what rusage says on Linux includes the parent's memory at the start
    print(int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1024**2)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1024**2))
"""


def synthetic_pair(folder: Path) -> tuple[Path, Path]:
    """The phantom's labels, and a prediction of them: two voxels off, its rim lost, with specks elsewhere."""
    truth = make_phantom(0).labels
    moved = np.roll(truth.array, (1, 2, -1), (0, 1, 2))
    worn = np.where(ndimage.binary_erosion(moved > 0), moved, 0).astype(np.uint8)
    worn[np.random.default_rng(0).random(worn.shape) > 0.99999] = 3
    pair = folder / "prediction.nii.gz", folder / "reference.nii.gz"
    for array, path in zip((worn, truth.array), pair, strict=True):
        write_volume(Volume(array, truth.affine), path)
    return pair


def hd95_uncropped(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """The default definition by two distance transforms of the whole grid, as it is usually written."""
    borders = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, reference)]
    fields = [ndimage.distance_transform_edt(~border, sampling=spacing) for border in borders]
    return float(max(np.percentile(fields[1][borders[0]], 95), np.percentile(fields[0][borders[1]], 95)))


def best(work: Callable[[], object], repeat: int) -> float:
    """Processor seconds of the fastest of ``repeat`` runs: on one core, what a run lasts when it has the core alone."""
    seconds = []
    for _ in range(repeat):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def peak_memory(pair: tuple[Path, Path]) -> float:
    """Peak resident GB of a process that does nothing else."""
    command = [sys.executable, "-c", CHILD, *map(str, pair)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def compare_hd95(maps: list[Volume], repeat: int) -> tuple[float, float]:
    """Seconds of HD95 in ET, TC and WT: here, and uncropped. The figures must be the same."""
    spacing = maps[1].spacing
    regions = [to_regions(volume.array) for volume in maps]

    def here() -> Mapping[str, float]:
        measures = compare_volumes("", maps[0].array, maps[1].array, spacing, Settings(("hd95",))).measures
        return {region: values["hd95"] for region, values in measures.items()}

    def uncropped() -> Mapping[str, float]:
        return {name: hd95_uncropped(regions[0][name], regions[1][name], spacing) for name in regions[0]}

    if not np.allclose(list(here().values()), list(uncropped().values())):
        raise SystemExit(f"the two do not agree: {here()} and {uncropped()}")
    return best(here, repeat), best(uncropped, repeat)


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("files", nargs="*", type=Path, metavar="PREDICTION REFERENCE")
    p.add_argument("--repeat", type=int, default=3)
    arguments = p.parse_args()
    if len(arguments.files) not in (0, 2):
        p.error("give a prediction and a reference, or neither")
    with tempfile.TemporaryDirectory() as folder:
        pair: tuple[Path, Path] = (
            (arguments.files[0], arguments.files[1]) if arguments.files else synthetic_pair(Path(folder))
        )
        maps = [read_volume(path) for path in pair]
        everything = best(lambda: compare_files(*pair, Settings(("all",))), arguments.repeat)
        usual = best(lambda: compare_files(*pair), arguments.repeat)
        cropped, uncropped = compare_hd95(maps, arguments.repeat)
        print(f"grid: {' × '.join(map(str, maps[1].shape[::-1]))} voxels, three regions")
        print(f"all measures, from files: {everything:.2f} s, peak {peak_memory(pair):.2f} GB")
        print(f"usual measures, from files: {usual:.2f} s, ratio to all {usual / everything:.2f}")
        print(f"HD95 alone: {cropped:.2f} s; uncropped: {uncropped:.2f} s, ratio {uncropped / cropped:.1f}")


if __name__ == "__main__":
    main()
