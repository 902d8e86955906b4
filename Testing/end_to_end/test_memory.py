"""Whatever memory there is: a result, or one sentence that says that there is too little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("a limit of memory for one process", allow_module_level=True)

# How much a process takes depends on the versions of libraries: some of these are enough, some are not.
GIGABYTES = (2.0, 1.2, 1.0, 0.9, 0.7, 0.4, 0.2)
CODE = (
    "import resource, sys; limit = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_AS, (limit, limit));"
    "from BrainTumorSegLib.cli import main; main()"
)


@pytest.mark.parametrize("gigabytes", GIGABYTES)
def test_a_run_with_little_memory(
    environment: dict[str, str], model: Path, case_folder: Path, tmp_path: Path, gigabytes: float
) -> None:
    output = tmp_path / "out" / "o.nii.gz"
    arguments = [case_folder, "-o", output, "--model", model, "--report", tmp_path / "out" / "r.html"]
    command = [sys.executable, "-c", CODE, int(gigabytes * 1e9), "segment", *arguments, "--progress", "none"]
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode == 0:
        assert gigabytes > 0.3 and {path.name for path in output.parent.iterdir()} == {"o.nii.gz", "o.json", "r.html"}
        return
    assert done.returncode == 1 and gigabytes < 2
    # Not at the beginning of a line: a hook of Python's that found no memory may have left half a line before it.
    assert done.stderr.count("error: ") == 1 and "error: Memory ran out" in done.stderr, done.stderr
    assert not output.parent.exists() and "Traceback" not in done.stderr and "damaged" not in done.stderr
