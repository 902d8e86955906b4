"""Networks in OpenVINO: the same results as PyTorch, converted once, kept safely. Needs the extra ``[cpu]``."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import DeviceError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.inference.backends import conversions, create_backend, openvino_runtime, ready_backend
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.predictors import predictor_of
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import NetworkSpec
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.eight_bit import EightBit, in_eight_bits, watched
from Testing.offline import python_path
from Testing.samples import Patient, describe_model

# Looked for, not imported: by itself it would tell its maker.
if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed: pip install -e .[cpu]", allow_module_level=True)

ROOT = Path(__file__).parents[3]
FAMILIES = [
    ("unet", 2, {"width": 4, "levels": 2, "availability": True}),
    ("unet", 3, {"width": 4, "levels": 2}),
    ("segresnet", 3, {"width": 8, "blocks_down": [1, 1], "blocks_up": [1], "norm": "batch", "availability": True}),
    ("u2net", 2, {"form": "small"}),
    ("dynunet", 3, {"filters": [4, 8, 8]}),
]


def entries(home: Path) -> list[Path]:
    """What is kept in the user's cache folder, and what was left there."""
    return sorted((home / "cache" / "openvino").iterdir())


def stored(path: Path, family: str, dimensions: int, arguments: dict[str, Any]) -> Checkpoint:
    """A model with random weights, from a file."""
    d = describe_model(dimensions, network=NetworkSpec(family, arguments))
    network = create_network(family, dimensions=dimensions, in_channels=4, out_channels=3, arguments=arguments)
    return load_checkpoint(save_checkpoint(d, network.state_dict(), path))


@pytest.mark.parametrize(("family", "dimensions", "arguments"), FAMILIES)
def test_the_same_probabilities_as_pytorch(
    tmp_path: Path, family: str, dimensions: int, arguments: dict[str, Any]
) -> None:
    checkpoint = stored(tmp_path / "model.safetensors", family, dimensions, arguments)
    fast, reference = create_backend("openvino", "cpu", "fp32"), TorchBackend("cpu", "fp32")
    divisors = [backend.prepare(checkpoint, Progress()) for backend in (fast, reference)]
    assert divisors[0] == divisors[1]
    fast.load(checkpoint)
    reference.load(checkpoint)
    sizes = [max(divisors[0], 32 if family == "u2net" else 8) * factor for factor in (3, 2, 4)[-dimensions:]]
    for count in (1, 2):  # one network for images of any size and number
        images = np.random.default_rng(count).normal(size=(count, 4, *sizes)).astype(np.float32)
        images[:, 1] = 0
        found, expected = fast.probabilities(images), reference.probabilities(images)
        assert found.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5)
        sizes = sizes[::-1]


def test_slices_of_fewer_voxels_than_a_network_halves(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path / "model.safetensors", "u2net", 2, {"form": "small"})
    image = np.random.default_rng(1).normal(size=(4, 2, 14, 9)).astype(np.float32)
    found = []
    for name in ("openvino", "torch"):
        backend = create_backend(name, "cpu", "fp32")
        predictor = predictor_of(checkpoint.description, backend.prepare(checkpoint, Progress()))
        backend.load(checkpoint)
        found.append(predictor(backend, image, lambda done, total: None))
    assert found[0].shape == (3, 2, 14, 9)
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)


def test_the_same_label_map_and_it_says_what_computed(patient: Patient, tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    fast = segment_case(patient.case(), checkpoint, RunOptions(backend="openvino"))
    slow = segment_case(patient.case(), checkpoint, RunOptions(backend="torch"))
    assert fast.labels.array.any()
    np.testing.assert_array_equal(fast.labels.array, slow.labels.array)
    assert (fast.provenance["backend"], slow.provenance["backend"]) == ("openvino", "torch")
    assert "openvino" in fast.provenance["versions"] and "torch" in slow.provenance["versions"]


def test_converted_once_and_said(home: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    heard: list[str] = []
    listening = Progress(lambda stage, fraction, message: heard.append(stage))
    create_backend("openvino", "cpu", "auto").prepare(checkpoint, listening)
    assert heard == ["convert"]
    (entry,) = entries(home)
    create_backend("openvino", "cpu", "auto").prepare(checkpoint, listening)
    assert heard == ["convert"] and entries(home) == [entry]


@pytest.mark.parametrize("damage", ["network.bin", "network.xml", "record.json"])
def test_a_damaged_conversion_is_made_anew(home: Path, tiny_checkpoint: Callable[..., Path], damage: str) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    conversions.convert(checkpoint)
    (entry,) = entries(home)
    file = entry / damage
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert conversions.kept(checkpoint) is None
    assert not entry.exists()
    conversions.convert(checkpoint)
    assert conversions.kept(checkpoint) is not None


def test_other_weights_have_another_conversion(home: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    conversions.convert(checkpoint)
    weights = {name: tensor * 2 for name, tensor in checkpoint.weights.items()}
    assert conversions.kept(dataclasses.replace(checkpoint, weights=weights)) is None  # of no file
    other = load_checkpoint(save_checkpoint(checkpoint.description, weights, home / "other.safetensors"))
    assert conversions.kept(other) is None


def test_the_members_of_one_file_are_kept_apart(tmp_path: Path, home: Path) -> None:
    from BrainTumorSegLib.models.ensemble import average_of

    models = [stored(tmp_path / f"{number}.safetensors", "unet", 3, {"width": 4, "levels": 1}) for number in range(2)]
    models = [
        dataclasses.replace(m, description=dataclasses.replace(m.description, id=f"m{n}")) for n, m in enumerate(models)
    ]
    whole = load_checkpoint(save_checkpoint(*average_of(models, "both"), tmp_path / "both.safetensors"))
    images = np.random.default_rng(0).normal(size=(1, 4, 8, 8, 8)).astype(np.float32)
    backend = create_backend("openvino", "cpu", "fp32")
    for member, model in zip(whole.members, models, strict=True):
        backend.prepare(member, Progress())
        backend.load(member)
        reference = TorchBackend("cpu", "fp32")
        reference.load(model)
        np.testing.assert_allclose(backend.probabilities(images), reference.probabilities(images), atol=1e-4)
    assert len(entries(home)) == 2


def test_a_network_that_comes_out_differently_is_refused(
    monkeypatch: pytest.MonkeyPatch, home: Path, patient: Patient, tiny_checkpoint: Callable[..., Path]
) -> None:
    """As a faulty release of OpenVINO might: a weight of the converted network is another one."""
    convert = conversions.converted

    def faulty(network: Any, tile: np.ndarray) -> Any:
        other = copy.deepcopy(network)
        other.head.bias.data += 0.5
        return convert(other, tile)

    monkeypatch.setattr(conversions, "converted", faulty)
    checkpoint = load_checkpoint(tiny_checkpoint())
    with pytest.raises(DeviceError, match="another result"):
        segment_case(patient.case(), checkpoint, RunOptions(backend="openvino"))
    monkeypatch.setattr(conversions, "converted", convert)
    with pytest.raises(DeviceError, match="another result"):  # remembered: trying takes its time
        conversions.kept(checkpoint)

    monkeypatch.delenv("BRAINTUMORSEG_BACKEND", raising=False)
    result = segment_case(patient.case(), checkpoint, RunOptions(device="cpu"))
    assert result.provenance["backend"] == "torch"
    assert any("PyTorch" in warning for warning in result.warnings)


@pytest.fixture
def unable(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes this a machine that compiles no network, and one that does again; of neither is anything known."""
    monkeypatch.delenv("BRAINTUMORSEG_BACKEND", raising=False)
    able = dict(openvino_runtime._HINTS)

    def change(to: bool) -> None:
        monkeypatch.setattr(conversions, "_not_here", {})
        monkeypatch.setattr(openvino_runtime, "_HINTS", dict.fromkeys(able, "no such type") if to else able)

    return change


@pytest.mark.parametrize("converted_elsewhere", [True, False])
def test_a_network_that_openvino_cannot_compile_runs_in_pytorch(
    unable: Callable[[bool], None], tiny_checkpoint: Callable[..., Path], converted_elsewhere: bool
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    heard: list[str] = []
    listening = Progress(lambda stage, fraction, message: heard.append(stage))
    if converted_elsewhere:
        conversions.convert(checkpoint)
    unable(True)
    for _ in range(2):  # it is not converted anew for each patient
        backend, _, warnings = ready_backend("auto", "cpu", "auto", [checkpoint], listening)
        assert backend.name == "torch"
        assert len(warnings) == 1 and "PyTorch" in warnings[0] and "\n" not in warnings[0]
    assert heard == ([] if converted_elsewhere else ["convert"])
    unable(False)
    assert ready_backend("auto", "cpu", "auto", [checkpoint], Progress())[0].name == "openvino"


def test_compiled_before_the_run_and_once(unable: Callable[[bool], None], tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    backend = create_backend("openvino", "cpu", "fp32")
    backend.prepare(checkpoint, Progress())
    unable(True)
    backend.load(checkpoint)
    assert backend.probabilities(np.zeros((1, 4, 16, 16, 16), dtype=np.float32)).shape == (1, 3, 16, 16, 16)


@pytest.mark.skipif(os.name == "nt", reason="there is no limit of that kind")
def test_on_a_full_disk_a_conversion_stays_in_memory(home: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    import resource

    checkpoint = load_checkpoint(tiny_checkpoint())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))  # bytes a file
    try:
        conversion = conversions.convert(checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert conversion.folder is None and conversion.model() is not None
    assert entries(home) == []


def test_where_a_conversion_cannot_be_put_it_stays_in_memory(home: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    conversions.convert(checkpoint)
    (entry,) = entries(home)
    shutil.rmtree(entry)
    entry.write_text("in the way")
    conversion = conversions.convert(checkpoint)
    assert conversion.folder is None and conversion.model() is not None


def eight_bit(path: Path) -> Checkpoint:
    """A U-Net with random weights whose convolutions may compute in 8 bits, coarsely, so that it shows."""
    d = describe_model(2, network=NetworkSpec("unet", {"width": 4, "levels": 2}))
    torch.manual_seed(0)
    network = create_network("unet", dimensions=2, in_channels=4, out_channels=3, arguments=d.network.arguments).eval()
    with watched(network) as ranges, torch.inference_mode():
        network(torch.from_numpy(IMAGES))
    coarse = {name: (10 * low, 10 * high) for name, (low, high) in ranges.items()}
    spec = dataclasses.replace(d.network, eight_bit=coarse)
    return load_checkpoint(save_checkpoint(dataclasses.replace(d, network=spec), network.state_dict(), path))


IMAGES = np.random.default_rng(3).normal(size=(2, 4, 32, 24)).astype(np.float32)


def test_eight_bits_where_the_network_says_how(tmp_path: Path, home: Path) -> None:
    checkpoint = eight_bit(tmp_path / "model.safetensors")
    found = {}
    for precision in ("auto", "fp32"):
        backend = create_backend("openvino", "cpu", precision)
        backend.prepare(checkpoint, Progress())
        backend.load(checkpoint)
        found[precision] = backend.probabilities(IMAGES)
        assert backend.precision == {"auto": "int8"}.get(precision, precision)
    assert len(entries(home)) == 2  # each has its own conversion
    apart = np.abs(found["auto"] - found["fp32"])
    expected = in_eight_bits(checkpoint.build(), checkpoint.description.network.eight_bit)
    with torch.inference_mode():
        rounded = torch.sigmoid(expected(torch.from_numpy(IMAGES))).numpy()
    assert np.abs(found["auto"] - rounded).mean() < apart.mean() / 2  # it rounds as PyTorch does


def test_eight_bits_are_refused_where_nobody_said_how(tiny_checkpoint: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    with pytest.raises(DeviceError, match="int8"):
        create_backend("openvino", "cpu", "int8").prepare(checkpoint, Progress())


def test_eight_bits_that_come_out_wrong_are_not_taken(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = eight_bit(tmp_path / "model.safetensors")
    convert = conversions.converted

    def faulty(network: Any, tile: np.ndarray) -> Any:
        other = copy.deepcopy(network)
        for part in other.modules():
            if isinstance(part, EightBit):
                part.scale /= 1000
        return convert(other, tile)

    monkeypatch.setattr(conversions, "converted", faulty)
    with pytest.raises(DeviceError, match="another result"):
        create_backend("openvino", "cpu", "int8").prepare(checkpoint, Progress())
    backend = create_backend("openvino", "cpu", "auto")
    backend.prepare(checkpoint, Progress())
    assert backend.precision in ("bf16", "fp32")


def test_no_result_is_a_shortage(tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    backend = create_backend("openvino", "cpu", "auto")
    backend.prepare(checkpoint, Progress())
    backend.load(checkpoint)
    nothing = np.zeros((0, 3, 0, 0, 0), dtype=np.float32)
    monkeypatch.setattr("BrainTumorSegLib.inference.backends.openvino_backend.logits", lambda *_: nothing)
    with pytest.raises(MemoryError):
        backend.probabilities(np.zeros((1, 4, 16, 16, 16), dtype=np.float32))


def test_the_least_used_go_and_so_does_what_was_left(
    monkeypatch: pytest.MonkeyPatch, home: Path, tiny_checkpoint: Callable[..., Path]
) -> None:
    monkeypatch.setattr(conversions, "KEPT", 2)
    place = home / "cache" / "openvino"
    long_ago = time.time() - 10 * conversions._ABANDONED_SECONDS
    for age, name in enumerate(("new", "older", "oldest", ".part-killed", ".part-running")):
        (place / name).mkdir(parents=True)
        if name != ".part-running":
            os.utime(place / name, (long_ago - age, long_ago - age))
    conversions.convert(load_checkpoint(tiny_checkpoint()))
    left = {path.name for path in entries(home)}
    assert {"new", ".part-running"} < left and len(left) == 3


def test_what_auto_takes(monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Callable[..., Path]) -> None:
    monkeypatch.delenv("BRAINTUMORSEG_BACKEND", raising=False)
    checkpoint = load_checkpoint(tiny_checkpoint())
    in_memory = Checkpoint(checkpoint.description, dict(checkpoint.weights))

    def chosen(checkpoint: Checkpoint, precision: str = "auto") -> str:
        return ready_backend("auto", "cpu", precision, [checkpoint], Progress())[0].name

    assert chosen(checkpoint) == "openvino"
    assert chosen(in_memory) == "torch"  # it would be converted for each patient
    assert chosen(checkpoint, "fp16") == "torch"
    monkeypatch.setenv("BRAINTUMORSEG_BACKEND", "torch")
    assert chosen(checkpoint) == "torch"
    monkeypatch.delenv("BRAINTUMORSEG_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert chosen(checkpoint) == "torch"
    with pytest.raises(DeviceError, match="OpenVINO cannot be used"):
        create_backend("openvino", "cpu", "auto")


def test_no_half_precision_where_instructions_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert create_backend("openvino", "cpu", "auto").precision == "fp32"
    with pytest.raises(DeviceError, match="bf16"):
        create_backend("openvino", "cpu", "bf16")
    with pytest.raises(DeviceError, match="CPU"):
        create_backend("openvino", "cuda", "auto")


def run_child(home: Path, code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "BRAINTUMORSEG_HOME": str(home), "PYTHONPATH": python_path(ROOT)}
    environment.pop("BRAINTUMORSEG_BACKEND", None)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_signal_after_networks_were_let_go(home: Path, tiny_checkpoint: Callable[..., Path]) -> None:
    """Two Cores of OpenVINO, let go one after the other, leave the thread without a stack for signals."""
    code = (
        "import gc, signal, sys\n"
        "from pathlib import Path\n"
        "from BrainTumorSegLib.domain.progress import Progress\n"
        "from BrainTumorSegLib.inference.backends import create_backend\n"
        "from BrainTumorSegLib.models.checkpoint_file import load_checkpoint\n"
        "checkpoint = load_checkpoint(Path(sys.argv[1]))\n"
        "def used():\n"
        "    backend = create_backend('openvino', 'cpu', 'auto')\n"
        "    backend.prepare(checkpoint, Progress())\n"
        "    return backend\n"
        "first, second = used(), used()\n"
        "del first\n"
        "gc.collect()\n"
        "del second\n"
        "gc.collect()\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('handled')\n"
    )
    child = run_child(home, code, tiny_checkpoint())
    output, notes = child.communicate(timeout=120)
    assert (child.returncode, output.split()) == (0, ["handled"]), notes


SEGMENT = """
import json, sys
from BrainTumorSegLib import cli
code = cli.main(sys.argv[1:])
heavy = [name for name in ("torch", "monai", "safetensors", "matplotlib", "openvino_telemetry") if name in sys.modules]
print(json.dumps({"code": code, "heavy": heavy, "openvino": "openvino" in sys.modules}))
"""


def test_two_first_runs_at_once_and_a_third_without_pytorch(
    tmp_path: Path, home: Path, write_case: Callable[..., Path], tiny_checkpoint: Callable[..., Path]
) -> None:
    case, model = write_case(), tiny_checkpoint()

    def start(name: str) -> subprocess.Popen[str]:
        output = tmp_path / f"{name}.nii.gz"
        return run_child(home, SEGMENT, "segment", case, "-o", output, "--model", model, "--device", "cpu")

    def end(child: subprocess.Popen[str]) -> dict[str, Any]:
        output, notes = child.communicate(timeout=120)
        assert child.returncode == 0, notes
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        assert answer["code"] == 0 and answer["openvino"], notes
        return answer

    for child in [start("first"), start("second")]:
        end(child)
    assert len(entries(home)) == 1
    assert end(start("third"))["heavy"] == []
    results = [(tmp_path / f"{name}.nii.gz").read_bytes() for name in ("first", "second", "third")]
    assert results[0] == results[1] == results[2]


def test_it_tells_nobody_that_it_is_used(home: Path) -> None:
    """OpenVINO's telemetry reports every import, unless its package cannot be imported at that moment."""
    code = (
        "import sys\n"
        "from BrainTumorSegLib.inference.backends.openvino_runtime import openvino\n"
        "openvino().convert_model\n"
        "import openvino.tools.ovc.telemetry_utils as used\n"
        "print(used.tm.__name__, any('openvino_telemetry' in name for name in sys.modules))\n"
    )
    output, notes = run_child(home, code).communicate(timeout=60)
    assert output.split() == ["openvino.tools.ovc.telemetry_stub", "False"], notes
