"""Patches: the same for the same number, on tumour as often as asked, padded where the image is small."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from BrainTumorSegLib.models.description import OutputSpec
from Training.augmentation import Augmentation
from Training.datasets.cache import CachedCase
from Training.datasets.patches import PatchDataset, RunningNumbers, augmented, cut, hardly_enhances
from Training.recipe import AugmentationRecipe

OUTPUTS = (OutputSpec("ET", (3,)), OutputSpec("TC", (1, 3)), OutputSpec("WT", (1, 2, 3)))


def store(folder: Path, name: str, labels: np.ndarray, value: float = 1.0) -> CachedCase:
    """A cached case of one modality whose image is ``value`` + label."""
    case = CachedCase(name, folder / name)
    case.folder.mkdir(parents=True)
    np.save(case.folder / "labels.npy", labels.astype(np.uint8))
    np.save(case.folder / "image.npy", (value + labels)[None].astype(np.float16))
    return case


@pytest.fixture
def cases(tmp_path: Path) -> list[CachedCase]:
    """Three cases whose values (10, 20, 30) tell them apart; one voxel each of NCR, ED, ET far from the middle."""
    labels = np.zeros((12, 14, 16), np.uint8)
    labels[9, 10, 12], labels[1, 1, 1], labels[2, 12, 3] = 1, 2, 3
    return [store(tmp_path, f"c{i}", labels, 10.0 * (i + 1)) for i in range(3)]


def dataset(cases: list[CachedCase], patch: tuple[int, ...] = (4, 4, 4), **changes: object) -> PatchDataset:
    settings: dict[str, object] = {"foreground": 0.5, "seed": 3, "augmentation": None, "length": 60, **changes}
    return PatchDataset(cases, patch, OUTPUTS, **settings)  # type: ignore[arg-type]


def test_cut_by_hand() -> None:
    array = np.arange(27).reshape(1, 3, 3, 3)
    assert cut(array, (1, 1, 1), (1, 2, 2)).tolist() == [[[[13, 14], [16, 17]]]]
    padded = cut(array, (-1, 0, 2), (2, 1, 3))
    assert padded.shape == (1, 2, 1, 3)
    assert padded.tolist() == [[[[0, 0, 0]], [[2, 0, 0]]]]  # only (0, 0, 2) = 2 lies inside
    inside = cut(array, (0, 0, 0), (3, 3, 3))
    inside[:] = 0
    assert array.sum() == 351  # a copy


def test_epochs_and_ranks_part_the_numbers() -> None:
    """Three epochs on two processes: every number once, none twice."""
    drawn = []
    for rank in range(2):
        sampler = RunningNumbers(4, rank, 2)
        assert len(sampler) == 4
        for epoch in range(3):
            sampler.set_epoch(epoch)
            drawn.append(list(sampler))
    assert drawn[0] == [0, 2, 4, 6]
    assert drawn[3] == [1, 3, 5, 7]
    assert sorted(n for numbers in drawn for n in numbers) == list(range(24))


def test_a_resumed_sampler_goes_on() -> None:
    whole = RunningNumbers(5)
    numbers = []
    for epoch in range(3):
        whole.set_epoch(epoch)
        numbers += list(whole)
    assert list(RunningNumbers(5, epoch=2)) == numbers[10:]


def test_every_case_once_before_one_comes_again(cases: list[CachedCase]) -> None:
    images = [float(dataset(cases, foreground=0.0)[n]["image"].min()) for n in range(30)]
    for first in range(0, 30, 3):
        assert sorted(images[first : first + 3]) == [10.0, 20.0, 30.0]
    assert len({tuple(images[first : first + 3]) for first in range(0, 30, 3)}) > 1  # the order differs


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_patch_depends_on_seed_and_number_alone(cases: list[CachedCase], workers: int) -> None:
    augmentation = Augmentation(AugmentationRecipe(affine=1.0, noise=1.0), 3)
    patches = dataset(cases, augmentation=augmentation, length=6)
    alone = [patches[n] for n in reversed(range(6))][::-1]  # another order
    together = list(DataLoader(patches, batch_size=None, num_workers=workers))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["target"], other["target"])
    seeds = [dataset(cases, augmentation=augmentation, seed=seed)[0]["image"] for seed in (3, 4)]
    assert torch.equal(seeds[0], alone[0]["image"])
    assert not torch.equal(*seeds)


@pytest.mark.parametrize("number", range(4))
def test_a_patch_augmented_later_is_the_one_that_a_worker_gives(cases: list[CachedCase], number: int) -> None:
    """On the device that trains it is the same patch, in a batch with another one."""
    recipe = AugmentationRecipe(affine=1.0, noise=1.0, blur=1.0, gamma=1.0, bias_field=1.0)
    now = dataset(cases, augmentation=Augmentation(recipe, 3))[number]
    later = dataset(cases, later=True)
    batch = default_collate([later[number], later[number + 1]])
    assert batch["image"].dtype == torch.float16  # as stored
    done = augmented(batch, Augmentation(recipe, 3, device=torch.device("cpu")), OUTPUTS)
    torch.testing.assert_close(done["image"][0], now["image"], rtol=0, atol=0)
    torch.testing.assert_close(done["target"][0], now["target"], rtol=0, atol=0)
    assert done["image"].dtype == torch.float32


def test_a_data_set_can_be_sent_to_another_process(cases: list[CachedCase]) -> None:
    """Windows and macOS start workers by pickling it."""
    patches = dataset(cases, augmentation=Augmentation(AugmentationRecipe(), 3))
    assert torch.equal(pickle.loads(pickle.dumps(patches))[5]["image"], patches[5]["image"])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_of_patches_on_tumour(cases: list[CachedCase], share: float) -> None:
    """With single tumour voxels in a large image hardly any other patch meets one."""
    patches = dataset(cases, patch=(2, 2, 2), foreground=share, length=300)
    hits = np.mean([bool(patches[n]["target"].any()) for n in range(300)])
    assert hits == pytest.approx(share, abs=0.1)


def test_classes_are_drawn_alike_however_rare(tmp_path: Path) -> None:
    labels = np.full((10, 10, 10), 2, np.uint8)
    labels[0, 0, 0], labels[9, 9, 9] = 1, 3
    patches = dataset([store(tmp_path, "c", labels)], patch=(1, 1, 1), foreground=1.0, length=300)
    drawn = torch.stack([patches[n]["target"].flatten() for n in range(300)])
    assert drawn[:, 0].mean() == pytest.approx(1 / 3, abs=0.1)  # ET
    assert drawn[:, 1].mean() == pytest.approx(2 / 3, abs=0.1)  # TC: NCR or ET
    assert drawn[:, 2].mean() == 1.0


def test_a_case_without_tumour_still_gives_patches(tmp_path: Path) -> None:
    patches = dataset([store(tmp_path, "c", np.zeros((6, 6, 6)))], foreground=1.0)
    assert patches[0]["image"].shape == (1, 4, 4, 4)
    assert not patches[0]["target"].any()


def test_a_patch_larger_than_the_image_is_padded_around_it(tmp_path: Path) -> None:
    patches = dataset([store(tmp_path, "c", np.full((2, 4, 6), 3))], patch=(6, 4, 3))
    sample = patches[0]
    assert sample["image"].shape == (1, 6, 4, 3)
    assert torch.equal((sample["image"] > 0)[0, :, 0, 0], torch.tensor([0, 0, 1, 1, 0, 0]).bool())
    assert torch.equal(sample["target"][0] > 0, sample["image"][0] > 0)
    assert sample["image"].sum() == 2 * 4 * 3 * 4  # value 1 + 3


def test_targets_are_unions_of_labels(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 3], np.uint8).reshape(1, 1, 4)
    sample = dataset([store(tmp_path, "c", labels)], patch=(1, 1, 4))[0]
    assert sample["target"].flatten(1).tolist() == [[0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]]


def test_slices(cases: list[CachedCase]) -> None:
    patches = dataset(cases, patch=(8, 16), foreground=1.0, augmentation=Augmentation(AugmentationRecipe(), 2))
    sample = patches[0]
    assert sample["image"].shape == (1, 8, 16)
    assert sample["target"].shape == (3, 8, 16)
    plain = dataset(cases, patch=(14, 16), foreground=1.0)
    found = {int(torch.nonzero(plain[n]["target"][2])[0][0]) for n in range(40)}  # row of the slice's tumour voxel
    assert found == {1, 10, 12}


def test_a_carved_patch_has_tumour_from_the_same_place_of_another_brain(tmp_path: Path) -> None:
    """Boxes of 20³ and 40³: what is 5 deep in the small one comes to lie 10 deep in the large one."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5, 5, 5] = 3
    small, large = store(tmp_path, "small", labels, 10.0), store(tmp_path, "large", np.zeros((40, 40, 40)))
    depth = np.broadcast_to(np.arange(100, 140)[:, None, None], (1, 40, 40, 40))
    np.save(large.folder / "image.npy", depth.astype(np.float16))
    patches = dataset([small, large], foreground=0.0, carved=1.0, length=40)
    into_large = [s for s in (patches[n] for n in range(40)) if s["image"].max() > 100]
    carved = [s for s in into_large if s["target"].any()]
    assert 5 < len(carved) < len(into_large)  # donors are drawn alike, and one of the two has no tumour to give
    for sample in carved:
        assert torch.nonzero(sample["target"][0]).tolist() == [[2, 2, 2]]
        assert sample["image"][0, 2, 2, 2] == 13  # 10, and the label
        assert sample["image"][0, :, 0, 0].tolist() == [108, 109, 110, 111]


def test_as_many_patches_are_carved_as_asked(tmp_path: Path) -> None:
    """Of six tenths half get the tumour of the one brain that has some."""
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[3, 3, 3] = 2
    donor, host = store(tmp_path, "donor", labels), store(tmp_path, "host", np.zeros((6, 6, 6)), 9.0)
    patches = dataset([donor, host], patch=(6, 6, 6), carved=0.6, length=800)
    hosts = [sample for sample in (patches[n] for n in range(800)) if (sample["image"] == 9).any()]
    assert len(hosts) >= 400
    assert np.mean([bool(s["target"].any()) for s in hosts if (s["image"] == 9).sum() > 100]) == pytest.approx(
        0.3, abs=0.06
    )


@pytest.mark.parametrize(("enhancing", "hardly"), [(0, True), (2, True), (4, False)])
def test_a_tumour_hardly_enhances_below_three_hundredths(tmp_path: Path, enhancing: int, hardly: bool) -> None:
    labels = np.repeat([1, 2, 3, 0], [50, 50 - enhancing, enhancing, 20]).reshape(1, 1, -1)
    assert hardly_enhances(store(tmp_path, "c", labels)) == hardly
    assert not hardly_enhances(store(tmp_path, "none", np.zeros((2, 2, 2))))
