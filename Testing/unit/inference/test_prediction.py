from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from BrainTumorSegLib.domain.errors import CancelledError, CheckpointError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.shortage import is_shortage
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.predictors import predictor_of
from BrainTumorSegLib.inference.slicewise import SLICES_PER_BATCH, Slicewise
from BrainTumorSegLib.inference.sliding_window import MOST_WINDOWS, SlidingWindow, window_count
from BrainTumorSegLib.inference.tta import Mirrored, mirrorings
from BrainTumorSegLib.models.description import NetworkSpec, TilingSpec
from BrainTumorSegLib.networks import create_network
from Testing.samples import describe_model


class Spy(nn.Module):
    """Passes batches on and remembers their shapes."""

    def __init__(self, inner: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        return self.inner(images)


def pointwise(images: torch.Tensor) -> torch.Tensor:
    """Two outputs that depend on their own voxel alone."""
    return torch.stack([images[:, 0] + images[:, 1], 2 * images[:, 0] - 1], dim=1)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def expected(volume: np.ndarray) -> np.ndarray:
    return sigmoid(np.stack([volume[0] + volume[1], 2 * volume[0] - 1]))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def run(
    network: nn.Module,
    patch: tuple[int, ...],
    volume: np.ndarray,
    overlap: float = 0.5,
    *,
    divisor: int = 4,
    tta: bool = False,
    precision: str = "fp32",
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Probabilities of a network, slice-wise for a patch of two numbers, else by windows."""
    torch_backend = TorchBackend("cpu", precision)
    torch_backend.take(network)
    backend = Mirrored(torch_backend) if tta else torch_backend
    way = Slicewise(patch, divisor) if len(patch) == 2 else SlidingWindow(patch, overlap, divisor)
    return way(backend, volume, tick)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.625])
@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 20, 33), (5, 16, 40), (3, 2, 1), (30, 9, 16)])
def test_sliding_windows_equal_the_whole(shape: tuple[int, int, int], overlap: float) -> None:
    """A network that sees one voxel gives the same wherever the windows lie: blending must not show."""
    spy = Spy(pointwise)
    volume = noise(2, *shape)
    result = run(spy, (16, 16, 16), volume, overlap)
    assert result.shape == (2, *shape) and result.dtype == np.float32
    np.testing.assert_allclose(result, expected(volume), atol=1e-5)
    assert all(size % 4 == 0 and size <= 16 for seen in spy.shapes for size in seen[2:])


@pytest.mark.parametrize("shape", [(4, 16, 16), (19, 17, 22), (1, 5, 3)])
@pytest.mark.parametrize("patch", [(0, 0), (32, 48)])
def test_slices_equal_the_whole(shape: tuple[int, int, int], patch: tuple[int, int]) -> None:
    spy = Spy(pointwise)
    volume = noise(2, *shape)
    result = run(spy, patch, volume)
    assert result.shape == (2, *shape) and result.dtype == np.float32
    np.testing.assert_allclose(result, expected(volume), atol=1e-5)
    for batch, channels, *size in spy.shapes:
        assert batch <= SLICES_PER_BATCH and channels == 2
        assert all(n % 4 == 0 and n >= part for n, part in zip(size, patch, strict=True))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_unet_on_one_window_is_the_unet_itself(dimensions: int) -> None:
    """The volume is padded with zeros on both sides to the divisor and the result cut back."""
    torch.manual_seed(0)
    network = create_network(
        "unet", dimensions=dimensions, in_channels=2, out_channels=1, arguments={"width": 4, "levels": 2}
    ).eval()
    volume = noise(2, 6, 10, 13)  # to 8, 12, 16: one voxel before and after, then one, then one before and two after
    with torch.no_grad():
        if dimensions == 2:
            padded = np.pad(volume, ((0, 0), (0, 0), (1, 1), (1, 2)))
            logits = network(torch.from_numpy(padded).movedim(1, 0)).movedim(1, 0).numpy()[:, :, 1:-1, 1:-2]
        else:
            padded = np.pad(volume, ((0, 0), (1, 1), (1, 1), (1, 2)))
            logits = network(torch.from_numpy(padded)[None])[0].numpy()[:, 1:-1, 1:-1, 1:-2]
    result = run(network, (64, 64, 64) if dimensions == 3 else (0, 0), volume)
    np.testing.assert_allclose(result, sigmoid(logits), atol=1e-5)


@pytest.mark.parametrize(
    ("distance", "spacing", "seen"),
    [
        (3.0, 1.0, [1, 4, 7, 10, 11]),
        (3.0, 0.9999, [1, 4, 7, 10, 11]),
        (3.0, 1.6, list(range(1, 12))),
        (3.0, 1.5, [1, 3, 5, 7, 9, 11]),
        (3.0, 6.5, list(range(1, 12))),
        (0.0, 1.0, list(range(1, 12))),
        (10.0, 0.5, [1, 11]),
    ],
)
def test_slices_between_those_that_are_run_are_interpolated(distance: float, spacing: float, seen: list[int]) -> None:
    spy = Spy(pointwise)
    backend = TorchBackend("cpu", "fp32")
    backend.take(spy)
    volume = noise(2, 13, 4, 8)
    volume[:, [0, 12]] = 0.0
    way = Slicewise((0, 0), 4, distance=distance).at((spacing, 1.0, 1.0))
    result = way(backend, volume, lambda done, total: None)
    assert sum(shape[0] for shape in spy.shapes) == len(seen)
    truth = expected(volume)
    np.testing.assert_allclose(result[:, seen], truth[:, seen], atol=1e-5)
    assert not result[:, [0, 12]].any()
    for z in set(range(1, 12)).difference(seen):
        # A straight line in log-odds, which the network's outputs are before the sigmoid.
        odds = np.stack([volume[0] + volume[1], 2 * volume[0] - 1])[:, seen, 2, 3]
        wanted = [sigmoid(np.interp(z, seen, line)) for line in odds]
        np.testing.assert_allclose(result[:, z, 2, 3], wanted, atol=1e-5)


def test_every_slice_is_run_beside_one_that_shows_what_is_fine() -> None:
    spy = Spy(pointwise)
    backend = TorchBackend("cpu", "fp32")
    backend.take(spy)
    volume = np.full((2, 17, 4, 4), -2.0, np.float32)
    volume[:, 9, 1, 1] = 3.0  # slice 8 is the first that is run before it, 12 the next: neither shows it
    volume[0, 4, 2, 2] = 3.0  # the first output is above a half in slice 4, so 1 to 7 are run
    ticks: list[tuple[int, int]] = []
    way = Slicewise((0, 0), 4, batch=2, distance=4.0, dense=(0,)).at((1.0, 1.0, 1.0))
    result = way(backend, volume, lambda done, total: ticks.append((done, total)))
    assert sum(shape[0] for shape in spy.shapes) == 11
    np.testing.assert_allclose(result[:, :9], expected(volume)[:, :9], atol=1e-5)
    assert result[0, 9, 1, 1] < 0.5
    assert ticks == sorted(ticks) and all(done < total == 9 for done, total in ticks)


def test_empty_slices_are_skipped_and_are_zero() -> None:
    spy = Spy(pointwise)
    volume = noise(2, 20, 8, 8)
    volume[:, [0, 3, 4, 19]] = 0
    volume[0, 7] = 0  # one of its sequences is empty: it is run
    result = run(spy, (0, 0), volume)
    assert [shape[0] for shape in spy.shapes] == [8, 8]
    filled = [z for z in range(20) if z not in (0, 3, 4, 19)]
    np.testing.assert_allclose(result[:, filled], expected(volume)[:, filled], atol=1e-5)
    assert not result[:, [0, 3, 4, 19]].any()


def test_windows_shrink_to_the_brain() -> None:
    spy = Spy(pointwise)
    run(spy, (128, 128, 128), noise(2, 6, 9, 32))
    assert spy.shapes == [(1, 2, 8, 12, 32)]


def test_a_brain_smaller_than_the_networks_bottom_is_padded_to_the_patch() -> None:
    arguments = {"filters": [4, 4, 4]}
    network = create_network("dynunet", dimensions=3, in_channels=1, out_channels=1, arguments=arguments).eval()
    spy = Spy(network)
    result = run(spy, (8, 8, 8), noise(1, 3, 4, 2))
    assert spy.shapes == [(1, 1, 8, 8, 8)] and result.shape == (1, 3, 4, 2)


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (20, 8, 8)), (3, (33, 20, 17))])
def test_ticks_count_the_calls(dimensions: int, shape: tuple[int, int, int]) -> None:
    spy = Spy(pointwise)
    ticks: list[tuple[int, int]] = []
    run(spy, (16,) * dimensions, noise(2, *shape), tick=lambda done, total: ticks.append((done, total)))
    assert len(spy.shapes) > 2
    assert ticks == [(done, len(spy.shapes)) for done in range(len(spy.shapes))]


@pytest.mark.parametrize(
    ("size", "part", "overlap", "count"),
    [(16, 16, 0.5, 1), (8, 16, 0.5, 1), (17, 16, 0.5, 2), (24, 16, 0.5, 2), (25, 16, 0.5, 3), (32, 16, 0.0, 2)],
)
def test_window_counts_by_hand(size: int, part: int, overlap: float, count: int) -> None:
    assert window_count(size, part, overlap) == count


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (40, 8, 8)), (3, (33, 20, 17))])
def test_cancelling_stops_before_the_next_call(dimensions: int, shape: tuple[int, int, int]) -> None:
    progress = Progress()

    def cancel(images: torch.Tensor) -> torch.Tensor:
        if len(spy.shapes) == 2:
            progress.cancelled.set()
        return pointwise(images)

    spy = Spy(cancel)
    with pytest.raises(CancelledError):
        run(spy, (16,) * dimensions, noise(2, *shape), tick=lambda n, total: progress.report("predict", n / total))
    assert len(spy.shapes) == 2


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mirroring_is_the_mean_over_all_flips(dimensions: int) -> None:
    torch.manual_seed(0)
    network = create_network(
        "unet", dimensions=dimensions, in_channels=1, out_channels=2, arguments={"width": 4, "levels": 1}
    ).eval()
    volume = noise(1, 4, 6, 8)
    axes = range(-dimensions, 0)
    flips = [f for count in range(dimensions + 1) for f in itertools.combinations(axes, count)]
    assert len(flips) == 2**dimensions
    patch = (0, 0) if dimensions == 2 else (8, 8, 8)
    flipped = [np.ascontiguousarray(np.flip(volume, f)) for f in flips]
    parts = [np.flip(run(network, patch, one, divisor=2), f) for one, f in zip(flipped, flips, strict=True)]
    result = run(network, patch, volume, divisor=2, tta=True)
    np.testing.assert_allclose(result, np.mean(parts, axis=0), atol=1e-6)
    assert np.abs(result - parts[0]).max() > 1e-3, "this network must not be symmetric by itself"


def test_half_precision_is_close_and_ends_in_float32() -> None:
    torch.manual_seed(0)
    network = create_network("unet", dimensions=3, in_channels=1, out_channels=1, arguments={"width": 4, "levels": 1})
    network.eval()
    volume = noise(1, 8, 8, 8)
    full = run(network, (8, 8, 8), volume)
    half = run(network, (8, 8, 8), volume, precision="bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.02


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [((20, 31, 26), (8, 12, 16), 0.5), ((9, 40, 12), (16, 16, 16), 0.25), ((24, 8, 17), (8, 8, 8), 0.8)],
)
def test_windows_are_laid_and_weighted_as_by_monai(
    shape: tuple[int, ...], patch: tuple[int, ...], overlap: float
) -> None:
    from monai.inferers.utils import sliding_window_inference

    def by_place(images: torch.Tensor) -> torch.Tensor:
        """Differs from window to window, as what a network says at a window's edge does."""
        return images[:, :2] + images.mean(dim=(2, 3, 4), keepdim=True)[:, :2] + images[:, :1, :1, :1, :1]

    volume = noise(2, *shape)
    found = run(Spy(by_place), patch, volume, overlap, divisor=8)
    wanted = sliding_window_inference(
        torch.from_numpy(volume)[None], patch, 1, lambda x: torch.sigmoid(by_place(x)), overlap, mode="gaussian"
    )[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_an_empty_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        run(Spy(pointwise), (0, 0), np.zeros((2, 3, 8, 8), np.float32))


def test_a_checkpoint_says_how_it_is_run() -> None:
    description = describe_model(
        network=NetworkSpec("unet", {"width": 4, "levels": 3}), tiling=TilingSpec((16, 24, 32), 0.25)
    )
    assert predictor_of(description, 8) == SlidingWindow((16, 24, 32), 0.25, 8)
    flat = predictor_of(describe_model(2), 16)
    assert isinstance(flat, Slicewise) and flat.patch == (0, 0)
    assert (len(mirrorings(2)), len(mirrorings(3)), mirrorings(2)[0]) == (4, 8, ())


def test_a_patch_that_the_network_cannot_halve_is_refused() -> None:
    description = describe_model(network=NetworkSpec("unet", {"levels": 3}), tiling=TilingSpec((16, 16, 12)))
    with pytest.raises(CheckpointError, match="12") as caught:
        predictor_of(description, 8)
    assert "8" in caught.value.remedy


def test_smaller_parts_by_hand() -> None:
    half = SlidingWindow((128, 128, 64), 0.25, 8).smaller()
    assert half == SlidingWindow((64, 64, 48), 0.25, 8)
    quarter = half.smaller() if half else None
    assert quarter == SlidingWindow((48, 48, 48), 0.25, 8) and quarter.smaller() is None
    assert SlidingWindow((32, 32, 32), 0.25, 8).smaller() is None, "never larger than it was"
    for divisor in (8, 16, 24, 32, 64):  # DynUNet by default, and SwinUNETR, halve five times
        window: SlidingWindow | None = SlidingWindow((2 * divisor, 4 * divisor, 6 * divisor), 0.25, divisor)
        while window:
            assert all(size % divisor == 0 for size in window.patch), window
            window = window.smaller()
    flat: Slicewise | None = Slicewise((0, 0), 8)
    batches = []
    while flat:
        batches.append(flat.batch)
        flat = flat.smaller()
    assert batches == [8, 4, 2, 1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    ],
)
def test_shortage_of_memory_is_known_by_what_allocators_say(error: Exception) -> None:
    assert is_shortage(error)
    assert not is_shortage(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))


def test_windows_without_number_are_refused_before_the_first() -> None:
    """A small patch that overlaps nearly wholly, on a whole head."""
    volume = np.zeros((1, 155, 240, 240), np.float32)
    spy = Spy(pointwise)
    with pytest.raises(CheckpointError, match="8,034,772 windows of 8 × 8 × 8") as caught:
        run(spy, (8, 8, 8), volume, 0.95)
    assert "patch" in caught.value.remedy and not spy.shapes
    with pytest.raises(CheckpointError, match="more than 50,000"):
        run(spy, (48, 48, 48), volume, 0.95)
    whole = math.prod(window_count(size, 16, 0.5) for size in volume.shape[1:])
    assert whole < MOST_WINDOWS  # far less than any network that sees what is around
