"""Every kind of data set through the one data module: found, checked, cached, split, batched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.models.description import NetworkSpec, OutputSpec, PreprocessingSpec, TilingSpec
from Testing.image_data import make_slice, write_coco, write_image, write_lgg, write_lgg1p19q
from Testing.samples import OUTPUTS, write_patient
from Testing.training_data import make_patient, write_brats
from Training.datasets.data_module import PatchData
from Training.datasets.kinds import FINDERS, find_data
from Training.datasets.patches import SEED
from Training.datasets.split import read_split
from Training.recipe import DataRecipe, OptimisationRecipe, Recipe, SamplingRecipe

NAMES = ["P0", "P1", "P2"]
LGG = ("t1", "flair", "t1ce")


def write_images(folder: Path) -> None:
    for name in NAMES:
        image, tumour = make_slice(1, int(name[1]))
        write_image(folder / "images" / f"{name}.png", image[..., 1])
        write_image(folder / "masks" / f"{name}.png", tumour.astype(np.uint8) * 255)


def write_sparse(folder: Path) -> None:
    for name in NAMES:
        write_lgg1p19q(folder, name)


BOXES = [{"image_id": number, "bbox": [4, 6, 10, 8]} for number in (1, 2, 3)]
WRITERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "brats": (lambda folder: write_brats(folder, 3), ("t1", "t1ce", "t2", "flair")),
    "lgg": (lambda folder: write_lgg(folder, NAMES), LGG),
    "images": (write_images, ("flair",)),
    "coco": (lambda folder: write_coco(folder, BOXES, images=3), ("t1ce",)),
    "lgg1p19q": (write_sparse, ("t1ce", "t2")),
}


def make_recipe(kind: str, modalities: tuple[str, ...], outputs: tuple[OutputSpec, ...] = OUTPUTS["whole"]) -> Recipe:
    spacing = (0.0, 8.0, 8.0) if kind in ("lgg", "images", "coco") else (0.0, 1.0, 1.0)
    return Recipe(
        id="tiny",
        title="Tiny",
        dimensions=2,
        network=NetworkSpec("unet", {"width": 4, "levels": 1}),
        data=DataRecipe("made", kind),
        sampling=SamplingRecipe((24, 16), batch=2, workers=0),
        outputs=outputs,
        tiling=TilingSpec((0, 0)),
        modalities=modalities,
        preprocessing=PreprocessingSpec(spacing=spacing),
        optimisation=OptimisationRecipe(steps=2, interval=1),
    )


def make_data(recipe: Recipe, folder: Path) -> PatchData:
    found = find_data(recipe, folder)
    split = read_split(folder, list(found.cases), folds=5, fold=-1, given=found.split)
    data = PatchData(recipe, found, split, folder.parent / "cache")
    data.prepare_data()
    data.setup("fit")
    return data


def test_every_kind_is_tested() -> None:
    assert set(WRITERS) == set(FINDERS)


@pytest.mark.parametrize("kind", FINDERS)
def test_batches_of_every_kind(tmp_path: Path, kind: str) -> None:
    write, modalities = WRITERS[kind]
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder)
    data = make_data(make_recipe(kind, modalities), folder)
    assert len(data.split.training) == 2 and len(data.split.validation) == 1
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, len(modalities), 24, 16)
    assert batch["target"].shape == (2, 1, 24, 16)
    assert batch["image"].isfinite().all() and batch["image"].any()
    monitored = torch.cat([part["target"] for part in data.val_dataloader()])
    assert set(monitored.unique().tolist()) == {0.0, 1.0}  # every monitored patch lies on tumour and on known slices


def test_batches_augmented_by_the_training_process_are_those_of_the_workers(tmp_path: Path) -> None:
    write_lgg(tmp_path / "data", NAMES)
    recipe = make_recipe("lgg", ("t1", "flair", "t1ce"))
    batches = []
    for here in (False, True):
        changed = dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, on_device=here))
        data = make_data(changed, tmp_path / "data")
        batches.append([data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()])
        monitored = next(iter(data.val_dataloader()))
        assert data.on_after_batch_transfer(monitored, 0) is monitored
    assert len(batches[0]) == 1
    for one, other in zip(*batches, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(("device", "later"), [("cpu", True), ("cuda", True), ("mps", False)])
def test_workers_augment_for_a_device_without_float64(tmp_path: Path, device: str, later: bool) -> None:
    write_lgg(tmp_path / "data", NAMES)
    recipe = make_recipe("lgg", LGG)
    recipe = dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, on_device=True))
    data = make_data(recipe, tmp_path / "data")
    trainer: Any = SimpleNamespace(
        global_rank=0, world_size=1, global_step=0, strategy=SimpleNamespace(root_device=torch.device(device))
    )
    data.trainer = trainer
    assert all((SEED in batch) == later for batch in data.train_dataloader())


def test_whole_slices_of_brats_with_four_sequences_and_three_tissues(tmp_path: Path) -> None:
    """240 × 240 × 4 → 240 × 240 × 3: the cached brain in the middle of zeros, each tissue a mask of its own."""
    write_patient(tmp_path / "data", make_patient(0), case_id="P0")
    write_patient(tmp_path / "data", make_patient(1), case_id="P1")
    recipe = make_recipe("brats", ("t1", "t1ce", "t2", "flair"), OUTPUTS["classes"])
    recipe = dataclasses.replace(recipe, sampling=SamplingRecipe((240, 240), batch=4, foreground=1.0, workers=0))
    dataset = make_data(recipe, tmp_path / "data").val_dataloader().dataset
    sample = dataset[0]
    assert sample["image"].shape == (4, 240, 240) and sample["target"].shape == (3, 240, 240)
    assert sample["target"].any() and sample["target"].sum(0).max() == 1
    rows = sample["image"].any(0).any(1).nonzero().flatten()
    assert abs((rows.min() + rows.max()) / 2 - 119.5) <= 1


def test_patients_whose_tumours_hardly_enhance_count_more_often(tmp_path: Path) -> None:
    """The tumour of one of two training patients is made oedema and core."""
    (file,) = (write_brats(tmp_path, 3) / "P00").glob("*seg*")
    sitk.WriteImage(sitk.ChangeLabel(sitk.ReadImage(str(file)), {4: 1}), str(file))
    recipe = make_recipe("brats", ("t1", "t1ce", "t2", "flair"))
    for often, cases in ((1, ["P00", "P01"]), (3, ["P00", "P00", "P00", "P01"])):
        sampling = dataclasses.replace(recipe.sampling, unenhanced=often)
        data = make_data(dataclasses.replace(recipe, sampling=sampling), tmp_path)
        patches = data.train_dataloader().dataset
        assert [case.id for case in patches.cases] == cases  # type: ignore[attr-defined]


def test_what_is_wrong_with_folder_and_files_is_reported_together(tmp_path: Path) -> None:
    folder = write_lgg(tmp_path / "data", NAMES)
    write_lgg(folder / "again", ["P1"])
    (folder / "P2" / "P2_9_mask.tif").unlink()
    with pytest.raises(InputError) as caught:
        make_data(make_recipe("lgg", LGG), folder)
    assert "P2_9.tif has no mask" in str(caught.value) and "patient P1 is there twice" in str(caught.value)


def test_patients_that_the_split_leaves_out_may_be_wrong(tmp_path: Path) -> None:
    """Also in what their folders alone tell: a patient there twice, a mask without image, nothing at all."""
    folder = write_lgg(tmp_path / "data", ["P1", "P2", "P3", "P4", "P5"])
    write_lgg(folder / "again", ["P1"])
    (folder / "P2" / "P2_9.tif").unlink()
    (folder / "P6").mkdir()
    parts = {"train": ["P3", "P4"], "validation": ["P5"]}
    (folder / "split.json").write_text(json.dumps(parts))
    data = make_data(make_recipe("lgg", LGG), folder)
    assert data.split.training == ("P3", "P4") and any("P6" in note for note in data.data.notes)
    for name in ("P1", "P2"):
        (folder / "split.json").write_text(json.dumps({**parts, "validation": [name]}))
        with pytest.raises(InputError, match=f"1 of 3 patients cannot be used: {name}: "):
            make_data(make_recipe("lgg", LGG), folder)


def test_a_patient_that_came_twice_after_it_was_preprocessed_is_found(tmp_path: Path) -> None:
    folder = write_lgg(tmp_path / "data", NAMES)
    make_data(make_recipe("lgg", LGG), folder)
    write_lgg(folder / "again", NAMES[:1])
    with pytest.raises(InputError, match="there twice"):
        make_data(make_recipe("lgg", LGG), folder)


def test_nothing_usable_is_reported_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "_annotations.coco.json").write_text("{")
    with pytest.raises(InputError, match=r"no usable patient: .* is no COCO file"):
        find_data(make_recipe("coco", ("t1ce",)), tmp_path)
