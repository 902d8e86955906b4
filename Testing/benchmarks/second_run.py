"""One patient after another, as 3D Slicer has them segmented; says in JSON how long the second one took.

``python -m Testing.benchmarks.second_run CASE OUT MODEL``. What the engine keeps from the first run to the next one,
this one has; ``segment_patient`` compares it with runs that start anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from BrainTumorSegLib.runner import EngineRun


def main(case: str, output: str, model: str) -> None:
    """Run twice, by the interface that the panel has."""
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2):
            started = time.perf_counter()
            run = EngineRun(["segment", case, "-o", output, "--model", model], Path(folder) / f"cancel{number}")
            run.wait()
            run.answer()  # raises what went wrong
            seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
