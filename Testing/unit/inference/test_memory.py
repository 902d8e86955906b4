"""Parts as small as memory wants them, before a system without memory ends the process."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import DeviceShortageError, ShortageError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.inference import memory
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.foreign_windows import ForeignWindows
from BrainTumorSegLib.inference.memory import Need, need_of, predict
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.predictors import Predictor
from BrainTumorSegLib.inference.slicewise import Slicewise
from BrainTumorSegLib.inference.sliding_window import SlidingWindow
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import TilingSpec
from Testing.samples import make_oracle, make_patient

WHOLE = SlidingWindow((128, 128, 128), 0.25, 8)
SLICES = Slicewise((0, 0), 8)
SHAPE = (96, 128, 104)
NEED = Need(5e6, 100.0)


class Recorder:
    """Gives each voxel's own value and remembers what it was given; a shortage above ``most`` voxels."""

    name, precision = "torch", "fp32"

    def __init__(self, device: str = "cpu (1 threads)", most: int = 1 << 40) -> None:
        self.device, self.most = device, most
        self.sizes: list[int] = []
        self.freed = 0

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        self.sizes.append(batch[:, 0].size)
        if self.sizes[-1] > self.most:
            raise MemoryError
        return batch[:, :1].copy()

    logits = probabilities

    @property
    def versions(self) -> dict[str, str]:
        return {}

    def free_memory(self) -> None:
        self.freed += 1

    def prepare(self, checkpoint: Checkpoint, progress: Progress) -> int:
        return 8

    def load(self, checkpoint: Checkpoint) -> None:
        pass


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def say(*values: float | None) -> None:
        """What there is when it is asked for the first time, the second, … and from then on."""
        left = list(values)
        monkeypatch.setattr(memory, "available_memory", lambda: left.pop(0) if len(left) > 1 else left[0])

    return say


def images(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)


def run(predictor: Predictor, backend: Recorder, need: Need | None = NEED, heard: list[str] | None = None) -> list[str]:
    """The warnings; the result is that of any parts, since each voxel has its own value."""
    array = images()
    listen = Progress(lambda stage, fraction, message: (heard if heard is not None else []).append(message))
    outputs, warnings = predict(predictor, backend, array, listen, need)
    np.testing.assert_allclose(outputs[0], array[0], atol=1e-5)
    return warnings


def test_windows_that_do_not_fit_are_never_tried(available: Callable[..., None]) -> None:
    whole, half = 96 * 128 * 104, 64**3
    for room, largest in ((whole, whole), (whole - 1, half), (half, half), (half - 1, 48**3)):
        available(5e6 + 100 * room)
        backend, heard = Recorder(), list[str]()
        warnings = run(WHOLE, backend, heard=heard)
        assert max(backend.sizes) == largest
        expected = {whole: [], half: ["64 × 64 × 64"], 48**3: ["48 × 48 × 48"]}[largest]
        assert len(warnings) == len(expected) and all(size in w for size, w in zip(expected, warnings, strict=True))
        assert sum("going on in" in message for message in heard) == len(expected)


@pytest.mark.parametrize("room", [None, 1e12])
def test_nothing_changes_where_memory_suffices_or_is_not_known(
    available: Callable[..., None], room: float | None
) -> None:
    available(room)
    for predictor, size in ((WHOLE, 96 * 128 * 104), (SLICES, 8 * 128 * 104)):
        backend, heard = Recorder(), list[str]()
        assert run(predictor, backend, heard=heard) == []
        assert max(backend.sizes) == size and not backend.freed and not any("going on" in text for text in heard)


def test_nothing_changes_for_a_network_that_is_not_known(available: Callable[..., None]) -> None:
    available(1.0)
    backend = Recorder()
    assert run(WHOLE, backend, need=None) == [] and len(backend.sizes) == 1


@pytest.mark.parametrize("device", ["cuda:0 (A card)", "mps"])
def test_gpus_have_the_ladder_alone(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: pytest.fail("asked"))
    assert run(WHOLE, Recorder(device)) == []
    backend = Recorder(device, most=64**3)
    assert len(run(WHOLE, backend)) == 1 and backend.sizes[:2] == [96 * 128 * 104, 64**3]
    with pytest.raises(DeviceShortageError):
        run(WHOLE, Recorder(device, most=0))


def test_slices_get_fewer_without_a_warning(available: Callable[..., None]) -> None:
    available(5e6 + 100 * 3 * 128 * 104)
    backend, heard = Recorder(), list[str]()
    assert run(SLICES, backend, heard=heard) == []
    assert max(backend.sizes) == 2 * 128 * 104
    assert sum("2 slices at a time" in message for message in heard) == 1


def test_the_smallest_parts_run_whatever_there_is(available: Callable[..., None]) -> None:
    available(0)
    backend = Recorder()
    assert len(run(WHOLE, backend)) == 1 and max(backend.sizes) == 48**3
    assert run(SLICES, backend) == [] and backend.sizes[-1] == 128 * 104
    foreign, backend = ForeignWindows((32, 32, 32)), Recorder()
    logits = np.zeros((2, 40, 40, 40), np.float32)
    assert predict(foreign, backend, logits, Progress(), Need(0, 1))[1] == [] and max(backend.sizes) == 32**3
    with pytest.raises(ShortageError):
        run(WHOLE, Recorder(most=0))


def test_images_smaller_than_the_smallest_parts_run_as_they_are(available: Callable[..., None]) -> None:
    available(0)
    for predictor, shape in ((WHOLE, (40, 24, 33)), (SLICES, (1, 24, 33))):
        backend = Recorder()
        assert predict(predictor, backend, images(shape), Progress(), NEED)[1] == [] and len(backend.sizes) == 1


def test_a_real_failure_goes_on_from_there(available: Callable[..., None]) -> None:
    available(5e6 + 100 * 64**3)
    backend = Recorder(most=48**3)
    warnings = run(WHOLE, backend)
    assert backend.sizes[:2] == [64**3, 48**3]
    assert len(warnings) == 1 and "48 × 48 × 48" in warnings[0]


def test_what_was_kept_of_the_run_before_is_given_back_first(available: Callable[..., None]) -> None:
    available(1e6, 1e12)
    backend = Recorder()
    assert run(WHOLE, backend) == [] and len(backend.sizes) == 1 and backend.freed == 1


@pytest.mark.parametrize(
    "predictor",
    [
        *(WHOLE, SlidingWindow((64, 48, 160), 0.5, 8), SLICES, Slicewise((160, 32), 8)),
        *(ForeignWindows((64, 96, 48)), ForeignWindows((64, 96))),
    ],
)
@pytest.mark.parametrize("shape", [(96, 128, 104), (5, 30, 17)])
def test_voxels_at_once_are_those_that_the_network_gets(predictor: Predictor, shape: tuple[int, ...]) -> None:
    backend = Recorder()
    predictor(backend, images(shape), lambda done, total: None)
    assert max(backend.sizes) == predictor.voxels(shape)


def test_a_result_in_smaller_windows_says_so(available: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    unseen = TorchBackend.probabilities

    def seen(self: TorchBackend, batch: np.ndarray) -> np.ndarray:
        sizes.append(batch[:, 0].size)
        return unseen(self, batch)

    monkeypatch.setattr(TorchBackend, "probabilities", seen)
    patient, oracle = make_patient((20, 120, 100)), make_oracle(tiling=TilingSpec((96, 96, 96), 0.25))
    options = RunOptions(device="cpu", backend="torch", precision="fp32")
    available(None)
    whole = segment_case(patient.case(), oracle, options)
    need = need_of(oracle, TorchBackend("cpu", "fp32"))
    assert need is not None and not any("Memory" in warning for warning in whole.warnings)
    available(need.always + need.voxel * max(sizes) / 2)
    largest, sizes[:] = max(sizes), []
    result = segment_case(patient.case(), oracle, options)
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    assert max(sizes) <= largest / 2
    assert sum("48 × 48 × 48" in warning for warning in result.warnings) == 1


class Kind:
    """What an estimate asks of a backend."""

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision = name, precision


# Growth of resident memory at the first window, in MB: of 144 × 176 × 144 voxels, or 8 slices of 256 × 256.
MEASURED = {
    ("brats-segresnet", "openvino", "int8"): 993,
    ("brats-segresnet", "openvino", "bf16"): 777,
    ("brats-segresnet", "openvino", "fp32"): 1191,
    ("brats-segresnet", "torch", "bf16"): 698,
    ("brats-segresnet", "torch", "fp32"): 1384,
    ("brats-unet2d", "openvino", "int8"): 238,
    ("brats-unet2d", "openvino", "bf16"): 181,
    ("brats-unet2d", "openvino", "fp32"): 327,
    ("brats-unet2d", "torch", "bf16"): 350,
    ("lgg-unet2d", "openvino", "bf16"): 79,
    ("lgg-unet2d", "openvino", "fp32"): 154,
    ("lgg-unet2d", "torch", "bf16"): 165,
    ("lgg-unet2d", "torch", "fp32"): 221,
}


@pytest.fixture(scope="module")
def included() -> dict[str, Checkpoint]:
    members = (*load_model("brats-ensemble").members, *load_model("lgg-unet").members)
    return {member.description.id: member for member in members}


@pytest.mark.parametrize(("model", "backend", "precision"), MEASURED)
def test_the_need_is_what_was_measured_or_somewhat_more(
    included: dict[str, Checkpoint], model: str, backend: str, precision: str
) -> None:
    need = need_of(included[model], Kind(backend, precision))  # type: ignore[arg-type]
    assert need is not None
    voxels = 144 * 176 * 144 if model == "brats-segresnet" else 8 * 256 * 256
    measured = MEASURED[model, backend, precision] * 1e6
    assert measured <= need.always + need.voxel * voxels <= max(1.5 * measured, measured + 220e6)


@pytest.mark.parametrize("storage", ["int8", "fp16"])
def test_a_file_tells_without_being_read(tmp_path: Path, storage: str) -> None:
    """Of kernels that are stored with scales, these are no kernels."""
    oracle = make_oracle()
    made = Checkpoint(dataclasses.replace(oracle.description, storage=storage), oracle.weights)
    stored = load_checkpoint(save_checkpoint(made.description, made.weights, tmp_path / "a.safetensors"))
    assert stored.shapes == oracle.shapes and set(oracle.shapes) == set(oracle.weights)
    kind = Kind("torch", "fp32")
    assert need_of(stored, kind) == need_of(oracle, kind)  # type: ignore[arg-type]
    assert "_tensors" not in vars(stored.weights)
    unlike = Checkpoint(dataclasses.replace(oracle.description, modalities=("t1",)), oracle.weights)
    assert need_of(unlike, kind) is None  # type: ignore[arg-type]


def test_the_first_convolution_tells_how_wide_a_network_is() -> None:
    """Not what looks at single voxels of as many features, unless nothing else takes the images."""
    description = make_oracle().description
    for shapes, width in (
        ([(16, 4, 3, 3, 3), (96, 4, 1, 1, 1), (64, 16, 3, 3, 3)], 16),
        ([(16, 4, 1, 1, 1), (64, 16, 3, 3, 3)], 16),
        ([(4,), (16, 4, 3, 3), (3, 16, 1, 1, 1)], None),
    ):
        weights = {str(number): np.zeros(shape, np.float16) for number, shape in enumerate(shapes)}
        need = need_of(Checkpoint(description, weights), Kind("torch", "fp32"))  # type: ignore[arg-type]
        assert need is None if width is None else need and need.voxel == width * 4 * memory._IMAGES


def test_half_precision_halves_it(included: dict[str, Checkpoint]) -> None:
    full, half = (need_of(included["brats-segresnet"], Kind("torch", p)) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert full and half and full.voxel == 2 * half.voxel


def test_members_tell_by_themselves_without_torch() -> None:
    code = (
        "import sys; from BrainTumorSegLib.models.catalogue import load_model;"
        "from BrainTumorSegLib.inference.memory import need_of; from types import SimpleNamespace as S;"
        "needs = [need_of(m, S(name='openvino', precision='bf16')) for m in load_model('brats-ensemble').members];"
        "assert all(needs) and needs[0] != needs[1]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
