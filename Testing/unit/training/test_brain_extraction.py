"""The training of the included brain extraction: its heads, what is made of them, and a run from data to engine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.preprocessing.brain_extraction import included
from Testing.image_data import write_image
from Training.brain_extraction import synthesis, teacher, train
from Training.brain_extraction.heads import Head, is_whole, lgg_heads, read_lgg, stripped_brains, whole_heads
from Training.brain_extraction.recipe import RECIPE, load_recipe
from Training.brain_extraction.widening import widened

SHAPE = (32, 48, 32)


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    z, y, x = np.indices(shape) - (np.reshape(shape, (3, 1, 1, 1)) - 1) / 2
    return np.asarray(z**2 + y**2 + x**2 < radius**2)


def make_head(shape: tuple[int, int, int] = (40, 44, 42)) -> Head:
    """A brain of 200 in a scalp of 90."""
    brain = ball(shape, 12)
    image = np.where(brain, 200, np.where(ball(shape, 17), 90, 0)).astype(np.uint8)
    return Head("somebody", image[None], brain.astype(np.uint8) * 255, np.ones(shape, dtype=bool))


def write_lgg_patient(folder: Path, patient: str, numbers: list[int], size: int = 24) -> None:
    """Slices of a bright disc that grows by a pixel from slice to slice."""
    for number in numbers:
        disc = disc_of(number, size)
        pixels = np.stack([disc * 100, disc * 200, disc * 200], -1).astype(np.uint8)  # the third repeats FLAIR
        write_image(folder / "kaggle_3m" / patient / f"{patient}_{number}.tif", pixels)
        write_image(folder / "kaggle_3m" / patient / f"{patient}_{number}_mask.tif", np.zeros((size, size), np.uint8))


def disc_of(number: int, size: int = 24) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.asarray(y**2 + x**2 < (2 + number) ** 2)


def write_lgg_mask(folder: Path, patient: str, numbers: range) -> None:
    """The disc in every slice of the whole stack, as the teacher finds it."""
    spacing = 145 / len(numbers)
    mask = np.stack([disc_of(number) for number in numbers]).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(mask, np.diag([-0.94, -0.94, spacing, 1])), folder / f"{patient}_brain.nii.gz")


def test_lgg_slices_lie_where_their_numbers_say(tmp_path: Path) -> None:
    write_lgg_patient(tmp_path, "P", [10, 2, 3, 4, 7, 8])
    stack = read_lgg(tmp_path, "P")
    assert stack.here.tolist() == [0, 1, 2, 5, 6, 8] and list(stack.images) == ["t1", "flair"]
    flair = stack.volume("flair")
    # In the ring that slice 7 adds to the disc of slice 4 the grey value rises by a third of 200 a slice.
    ring = disc_of(7) & ~disc_of(4)
    assert [float(flair.array[n][ring].mean()) for n in (2, 3, 4, 5)] == pytest.approx([0, 200 / 3, 400 / 3, 200])
    assert flair.spacing == pytest.approx((145 / 9, 0.94, 0.94))


def test_of_slices_at_hand_those_beside_a_long_gap_are_not_sound(tmp_path: Path) -> None:
    """Slices of 145 / 29 = 5 mm: one that misses makes a gap of 5 mm, two make one of 10."""
    write_lgg_patient(tmp_path, "P", [1, 2, 4, 5, 8, 9, 10, 13, *range(16, 30)])
    assert read_lgg(tmp_path, "P").sound().tolist() == [0, 1, 3, 8, *range(16, 29)]


def test_lgg_heads_are_learnt_from_sound_slices(tmp_path: Path) -> None:
    write_lgg_patient(tmp_path, "P", [2, 3, 4, 7, 8, 10])
    write_lgg_mask(tmp_path / "masks", "P", range(2, 11))
    (head,) = lgg_heads(tmp_path, tmp_path / "masks", ("P", "without-mask"))
    assert head.images.shape == (2, 72, 11, 11) and head.brain.shape == (72, 11, 11)  # 145 mm in voxels of 2 mm
    expected = np.repeat([True] * 2 + [False] * 7, 8)  # slices of 16 mm: those beside any gap are not sound
    known = head.known.all(axis=(1, 2))
    assert np.count_nonzero(known != expected) <= 1  # the border of slices lies between voxels
    area = (head.brain / 255).sum(axis=(1, 2)) * (2 / 0.94) ** 2
    middle = np.arange(9) * 8 + 4
    assert area[middle[:7]] == pytest.approx(np.pi * np.arange(4, 11) ** 2, rel=0.12)


@pytest.mark.parametrize(("last", "whole"), [(16, False), (17, True)])
def test_a_stack_of_a_part_of_the_head_teaches_nothing(tmp_path: Path, last: int, whole: bool) -> None:
    """145 mm over 16 slices make them thicker than 9 mm."""
    write_lgg_patient(tmp_path, "P", [1, 5, last])
    assert is_whole(read_lgg(tmp_path, "P")) is whole


def test_whole_heads_are_those_that_have_masks(tmp_path: Path) -> None:
    affine = np.diag([-2.0, -2, 2, 1])
    for name in ("a_t1", "a_t2"):
        image = make_head().images[0]
        (tmp_path / "heads" / "a").mkdir(parents=True, exist_ok=True)
        write_volume(Volume(image, affine), tmp_path / "heads" / "a" / f"{name}.nii.gz")
    (tmp_path / "masks" / "a").mkdir(parents=True)
    write_volume(Volume((image == 200).astype(np.uint8), affine), tmp_path / "masks" / "a" / "a_t2_brain.nii.gz")
    (head,) = whole_heads(tmp_path / "heads", tmp_path / "masks", ("a",))
    assert head.person == "a" and np.array_equal(head.brain == 255, image == 200)


def test_stripped_brains_have_room_and_distances(tmp_path: Path) -> None:
    (tmp_path / "P").mkdir()
    for name in ("t1", "t1ce", "t2", "flair"):
        volume = Volume(make_head().images[0] * (make_head().brain > 0), np.diag([-2.0, -2, 2, 1]))
        write_volume(volume, tmp_path / "P" / f"P_{name}.nii.gz")
    (head,) = stripped_brains(tmp_path, ("P",))
    assert head.images.shape == (4, 68, 72, 70)
    assert head.distance[34, 36, 35] == 0
    assert head.distance[34, 36, 35 + 12 + 5] == pytest.approx(12, abs=2.1)  # 2 mm a voxel


@pytest.mark.parametrize("number", range(6))
def test_a_sample_is_a_function_of_its_number(number: int) -> None:
    first, again = (synthesis.sample(np.random.default_rng([1, number]), make_head(), SHAPE, 0.5) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.shape == (1, *SHAPE) and one.dtype == torch.float32 and torch.equal(one, other)
    image, brain, known = first
    assert float(image.min()) >= 0 and float(image.max()) <= 1
    assert float(brain.min()) >= 0 and float(brain.max()) <= 1 + 1e-5
    assert set(known.unique().tolist()) <= {0.0, 1.0}
    different, *_ = synthesis.sample(np.random.default_rng([1, number + 100]), make_head(), SHAPE, 0.5)
    assert not torch.equal(image, different)


def test_mask_and_image_move_together() -> None:
    """Without wild contrasts the brain, brighter than all around it, is where the mask says."""
    shares = []
    for number in range(12):
        rng = np.random.default_rng([2, number])
        head = make_head()
        grid = synthesis.placement(rng, head, SHAPE)
        layers = torch.stack([torch.from_numpy(head.images[0] / 255.0), torch.from_numpy(head.brain / 255.0)])[None]
        image, brain = torch.nn.functional.grid_sample(layers.float(), grid, align_corners=False)[0]
        if brain.sum() < 100:
            continue
        shares.append(float(((image > 0.6) & (brain > 0.5)).sum() / (brain > 0.5).sum()))
        assert float(image[brain < 0.01].max()) < 0.45
    assert len(shares) > 6 and min(shares) > 0.95


def test_a_made_head_surrounds_the_brain() -> None:
    head = make_head((60, 64, 62))
    brain = torch.from_numpy(head.brain / 255.0).float()
    z, y, x = np.indices(brain.shape) - (np.reshape(brain.shape, (3, 1, 1, 1)) - 1) / 2
    away = torch.from_numpy(np.clip(2 * (np.sqrt(z**2 + y**2 + x**2) - 12), 0, None)).float()
    assert float(away.max()) > 70
    made, whole = synthesis.head_around(np.random.default_rng(3), brain, 0.7 * brain, away)
    assert torch.allclose(made[brain == 1], torch.tensor(0.7))
    assert float(made[(away > 60) & torch.from_numpy(z > 0)].max()) == 0  # below it are face and neck
    assert torch.all(whole >= brain) and float(whole[away > 4].max()) == 0
    assert len(made[(away > 0) & (away < 20)].unique()) > 3  # fluid, bone, scalp


def test_samples_without_a_brain() -> None:
    image, brain, known = synthesis.sample_without(np.random.default_rng(4), SHAPE)
    assert image.max() > 0 and not brain.any() and known.all()


def test_loss_counts_what_is_known_alone() -> None:
    brain = torch.zeros(1, 1, 4, 4, 4)
    brain[..., :2] = 1
    known = torch.ones_like(brain)
    known[..., 0, :, :] = 0
    right = (brain * 2 - 1) * 20
    wrong_where_unknown = torch.where(known > 0, right, -right)
    assert float(train.brain_loss(right, brain, known)) == pytest.approx(0, abs=1e-6)
    assert float(train.brain_loss(wrong_where_unknown, brain, known)) == pytest.approx(0, abs=1e-6)
    assert float(train.brain_loss(-right, brain, known)) > 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten LGG patients, three heads with masks and one BraTS patient."""
    names = [f"P{number}" for number in range(11)]
    for name in names:
        write_lgg_patient(tmp_path / "lgg", name, [2, 3, 4, 5])
        write_lgg_mask(tmp_path / "masks" / "lgg", name, range(2, 6))
    (tmp_path / "lgg" / "split.json").write_text(json.dumps({"train": names[:10], "validation": names[10:]}))
    affine = np.diag([-2.0, -2, 2, 1])
    for person in ("openMS_patient01", "openMS_patient12", "TCGA-02-0054"):
        for folder, array, end in (("heads", make_head().images[0], ""), ("masks", make_head().brain, "_brain")):
            (tmp_path / folder / person).mkdir(parents=True)
            write_volume(Volume(array, affine), tmp_path / folder / person / f"x_t1{end}.nii.gz")
    patient = tmp_path / "brats" / "Brats18_CBICA_X"
    patient.mkdir(parents=True)
    for name in ("t1", "t1ce", "t2", "flair"):
        write_volume(Volume(make_head().brain, affine), patient / f"{patient.name}_{name}.nii.gz")
    parts = {"train": [patient.name, "Brats18_TCIA10_628_1"], "validation": []}
    (tmp_path / "brats" / "split.json").write_text(json.dumps(parts))
    return tmp_path


def test_heads_are_prepared_anew_for_other_people_and_other_masks(data: Path, tmp_path: Path) -> None:
    recipe = load_recipe(RECIPE)

    def people(**changes: tuple[str, ...]) -> set[str]:
        changed = dataclasses.replace(recipe, **changes)  # type: ignore[arg-type]
        material = train.load_material(changed, data, data / "masks", tmp_path / "cache")
        return {head.person for heads in material.training.values() for head in heads}

    assert "openMS_patient01" in people() and "TCGA-02-0054" not in people()
    assert "openMS_patient01" not in people(never=("openMS_patient01",))
    assert "openMS_patient01" not in people(held_out_heads=("openMS_patient01",))
    file = data / "masks" / "openMS_patient01" / "x_t1_brain.nii.gz"
    write_volume(Volume(np.zeros_like(make_head().brain), np.diag([-2.0, -2, 2, 1])), file)
    heads = train.load_material(recipe, data, data / "masks", tmp_path / "cache").training["heads"]
    assert not any(head.brain.any() for head in heads if head.person == "openMS_patient01")
    parts = json.loads((data / "lgg" / "split.json").read_text())
    (data / "lgg" / "split.json").write_text(json.dumps({**parts, "train": parts["train"][5:]}))
    assert not people() & set(parts["train"][:5])


def test_a_run_from_data_to_engine(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECIPE.read_text(encoding="utf-8")
    changes = {"[96, 112, 96]": "[32, 32, 32]", "[8, 16, 32, 64, 128]": "[4, 4, 4]", "interval = 200": ""}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    lines = [line for line in text.splitlines() if not line.startswith("steps = ")]
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("\n".join([*lines, "steps = 4", "interval = 2"]), encoding="utf-8")
    command = [str(recipe), "--data", str(data), "--masks", str(data / "masks"), "-o", str(tmp_path / "run")]
    arguments = train.parser().parse_args([*command, "--cache", str(tmp_path / "cache")])
    assert train.train(arguments) == 0
    with pytest.raises(RequestError, match="holds a run already"):
        train.train(arguments)
    arguments.resume = True
    text = recipe.read_text(encoding="utf-8")
    for old, new, word in (("lesions = 0.6", "lesions = 0.5", "lesions"), ("steps = 4", "steps = 2", "steps")):
        recipe.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(RequestError, match=f"began with another .*{word}"):
            train.train(arguments)
    recipe.write_text(text, encoding="utf-8")
    assert train.train(arguments) == 0  # it is over: exported again
    file = tmp_path / "run" / "brain-unet.safetensors"
    description = load_checkpoint(file).description
    trained = set(description.training.training_cases)
    assert {"openMS_patient01", "Brats18_CBICA_X"} < trained
    assert not trained & {"openMS_patient12", "TCGA-02-0054", "Brats18_TCIA10_628_1", "P10"}
    assert description.task == "brain" and description.training.steps == 4
    monkeypatch.setattr(included, "WEIGHTS", file)
    head = Volume(make_head().images[0], np.diag([-2.0, -2, 2, 1]))
    assert included.Included().find(head, Progress()).shape == head.shape
    with pytest.raises(CheckpointError, match="finds the brain, not tumours"):
        load_model(file)
    begin_wider(recipe, command, file, tmp_path)


def begin_wider(recipe: Path, command: list[str], file: Path, tmp_path: Path) -> None:
    """A run that goes on from a narrower network is no worse at its start than that one at its end."""
    text = recipe.read_text(encoding="utf-8").replace("[4, 4, 4]", "[5, 6, 6]").replace("1.5e-3", "1e-9")
    recipe.write_text(text.replace("steps = 4", "steps = 1"), encoding="utf-8")
    wider = [*command, "--cache", str(tmp_path / "cache"), "--init", str(file), "-o", str(tmp_path / "wide")]
    assert train.train(train.parser().parse_args(wider)) == 0
    before, after = load_checkpoint(file).description, load_checkpoint(tmp_path / "wide" / file.name).description
    assert after.network.arguments["filters"] == [5, 6, 6]
    for old, new in zip(before.accuracy, after.accuracy, strict=True):
        assert new.values["brain"] == pytest.approx(old.values["brain"], abs=0.01)


def network_of(filters: list[int]) -> torch.nn.Module:
    arguments = {"filters": filters}
    network = create_network("dynunet", dimensions=3, in_channels=1, out_channels=1, arguments=arguments).eval()
    for parameter in network.parameters():  # norms and biases, too, so that none is at its neutral value
        torch.nn.init.normal_(parameter)
    return network


def test_a_widened_network_begins_by_computing_the_same() -> None:
    torch.manual_seed(0)
    narrow, wide = network_of([4, 4, 4]), network_of([5, 6, 6])
    image = torch.randn(1, 1, 16, 24, 16)
    with torch.no_grad():
        wanted = narrow(image)
        assert not torch.allclose(wide(image), wanted, atol=1e-2)
        wide.load_state_dict(widened(narrow.state_dict(), wide.state_dict()))
        assert torch.allclose(wide(image), wanted, rtol=1e-4, atol=1e-4)
    # What was added listens at once, and is not listened to yet.
    second = wide.state_dict()["input_block.conv2.conv.weight"]
    assert second[4:].abs().amin() > 0 and second[:4, 4:].abs().amax() == 0


@pytest.mark.parametrize(("first", "second"), [([3, 5], [2, 5]), ([2, 3], [2, 3, 4])])
def test_what_cannot_be_widened_is_refused(first: list[int], second: list[int]) -> None:
    with pytest.raises(CheckpointError):
        widened(network_of(first).state_dict(), network_of(second).state_dict())


def test_a_recipe_with_a_mistake_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(RECIPE.read_text(encoding="utf-8").replace("wild =", "vild ="), encoding="utf-8")
    with pytest.raises(RequestError, match="vild"):
        load_recipe(file)


def test_the_teacher_masks_each_head_once(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Heads, and of the LGG set those training patients who show a whole head, missing slices filled in."""
    asked = []

    class Stub:
        title, remedy = "HD-BET", ""

        def is_installed(self) -> bool:
            return True

        def find(self, volume: Volume, progress: Progress) -> np.ndarray:
            asked.append(volume)
            return np.ones(volume.shape, dtype=bool)

    from BrainTumorSegLib.preprocessing.brain_extraction import METHODS

    monkeypatch.setitem(METHODS, "hd-bet", Stub())
    write_lgg_patient(data / "lgg", "P3", [1, 22])
    assert teacher.make_masks(data, tmp_path / "new") == 0
    assert teacher.make_masks(data, tmp_path / "new") == 0
    assert len(asked) == 4
    assert read_volume(tmp_path / "new" / "openMS_patient01" / "x_t1_brain.nii.gz").array.all()
    assert read_volume(tmp_path / "new" / "lgg" / "P3_brain.nii.gz").array.shape == (22, 24, 24)
