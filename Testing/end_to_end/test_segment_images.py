"""``braintumorseg segment IMAGE.png …``: 2D images that are one patient's slices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.evaluation.metrics import dice
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.phantom import make_phantom
from Testing import samples

from .making import Cli

LGG = ("t1", "flair", "t1ce")


@pytest.fixture(scope="module")
def flat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice-wise model that reads WT off FLAIR exactly; T1 may be missing."""
    return samples.write_oracle(
        tmp_path_factory.mktemp("models") / "flat.safetensors",
        dimensions=2,
        outputs="whole",
        modalities=LGG,
        optional_modalities=("t1",),
        preprocessing=PreprocessingSpec(spacing=(0.0, 0.0, 0.0)),
    )


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Colour images p_1.png to p_20.png of a made patient."""
    folder = tmp_path_factory.mktemp("slices") / "P1"
    folder.mkdir()
    patient = samples.make_patient()
    stack = np.stack([patient.images[name].array for name in LGG], axis=-1) / 6
    paths = [folder / f"p_{z + 1}.png" for z in range(len(stack))]
    for path, pixels in zip(paths, stack, strict=True):
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return paths


def test_each_image_gets_its_mask(cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path) -> None:
    shuffled = [slices[i] for i in np.random.default_rng(0).permutation(len(slices))]
    done = cli("segment", *shuffled, "-o", tmp_path / "out", "--model", flat_model, "--report", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    truth = samples.make_patient().labels.array > 0
    for z, path in enumerate(slices):
        mask = Image.open(tmp_path / "out" / f"{path.stem}_mask.png")
        assert mask.mode == "L" and np.array_equal(np.asarray(mask), truth[z] * np.uint8(255))
    assert len(list((tmp_path / "out").iterdir())) == len(slices) + 1
    facts = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert facts["images"] == [path.name for path in slices] and facts["labels"] == {"0": "background", "2": "WT"}
    assert "Wrote 20 masks" in done.stdout and "P1" in (tmp_path / "r.html").read_text()


def test_the_pages_of_an_image_are_slices_and_the_run_can_be_repeated(
    cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path
) -> None:
    first, *others = [Image.open(path) for path in slices]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    for _ in range(2):
        done = cli("segment", tmp_path / "stack.tif", "-o", tmp_path / "out", "--model", flat_model)
        assert done.returncode == 0 and "Wrote 20 masks" in done.stdout, done.stderr
    masks = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("stack_*_mask.png"))]
    assert np.array_equal(np.stack(masks) > 0, samples.make_patient().labels.array > 0)


def test_the_images_are_normalised_together(cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path) -> None:
    """Beside a much brighter slice the tumour is no longer bright."""
    middle, bright = slices[8], tmp_path / "bright.png"
    pixels = np.array(Image.open(middle))
    pixels[pixels > 0] = 255
    Image.fromarray(pixels).save(bright)
    done = cli("segment", middle, bright, "-o", tmp_path / "out", "--model", flat_model)
    assert done.returncode == 0, done.stderr
    assert not np.asarray(Image.open(tmp_path / "out" / "p_9_mask.png")).any()


def test_a_channel_that_repeats_flair_is_taken_for_missing(
    cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path
) -> None:
    def repeat(channel: int, folder: Path) -> list[Path]:
        folder.mkdir()
        for path in slices:
            pixels = np.array(Image.open(path))
            pixels[..., channel] = pixels[..., 1]
            Image.fromarray(pixels).save(folder / path.name)
        return sorted(folder.iterdir())

    without_t1 = cli("segment", *repeat(0, tmp_path / "a"), "-o", tmp_path / "out", "--model", flat_model)
    assert without_t1.returncode == 0 and "T1 was not given" in without_t1.stderr
    without_t1ce = cli("segment", *repeat(2, tmp_path / "b"), "-o", tmp_path / "none", "--model", flat_model)
    assert without_t1ce.returncode == 2 and "T1ce missing" in without_t1ce.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--probabilities", "maps"], "--probabilities is for volumes"),
        (["--t1", "t1.nii.gz"], "beside single sequences"),
        (["--model", "brats-segresnet"], "runs on volumes"),
        (["--model", "brats-unet2d"], "2D images cannot hold"),
    ],
)
def test_what_does_not_go_together(
    cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path, options: list[str], word: str
) -> None:
    done = cli("segment", *slices[:2], "-o", tmp_path / "out", "--model", flat_model, *options)
    assert done.returncode == 2 and word in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_used(cli: Cli, flat_model: Path, slices: list[Path], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    grey, small, broken = (tmp_path / "x" / name for name in ("grey.png", "small.png", "broken.png"))
    Image.fromarray(np.ones((28, 24), np.uint8)).save(grey)
    Image.fromarray(np.ones((9, 9, 3), np.uint8)).save(small)
    broken.write_bytes(slices[8].read_bytes()[:300])
    twin = tmp_path / "x" / slices[8].name
    twin.write_bytes(slices[8].read_bytes())
    for wrong, word in (
        (grey, "channels"),
        (small, "different sizes"),
        (broken, "broken.png cannot be read"),
        (twin, "Two images are called p_9"),
        (tmp_path / "none.png", "none.png does not exist"),
    ):
        done = cli("segment", slices[8], wrong, "-o", tmp_path / "out", "--model", flat_model)
        assert done.returncode == 2 and word in done.stderr and done.stderr.count("\n") <= 2, done.stderr
        assert not (tmp_path / "out").exists()


def test_the_model_that_comes_along_finds_a_made_tumour(cli: Cli, tmp_path: Path) -> None:
    """``lgg-unet`` on every fifth millimetre of a synthetic patient; its terms are reported at first use."""
    phantom = make_phantom(shape=(31, 128, 128))
    channels = [phantom.case.images[name].array.astype(float) for name in LGG]
    stack = np.stack([255 * a / np.percentile(a, 99.9) for a in channels], axis=-1).clip(0, 255).astype(np.uint8)
    for z, pixels in enumerate(stack):
        Image.fromarray(pixels).save(tmp_path / f"s_{z}.png")
    done = cli("segment", *tmp_path.glob("*.png"), "-o", tmp_path / "out", "--model", "lgg-unet")
    assert done.returncode == 0, done.stderr
    assert "CC BY-NC-SA 4.0 (not for commercial use)" in done.stderr
    masks = np.stack([np.asarray(Image.open(tmp_path / "out" / f"s_{z}_mask.png")) for z in range(len(stack))])
    assert set(np.unique(masks)) == {0, 255}
    assert dice(masks > 0, phantom.labels.array > 0) > 0.6
