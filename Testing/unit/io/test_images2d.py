"""2D images as a case: channels, order, geometry, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.domain.errors import InputError, ModalityError
from BrainTumorSegLib.io.images2d import channels_for, is_slice, read_pages, slice_order, stack_slices

LGG = ("t1", "flair", "t1ce")


def read_slice(path: Path) -> np.ndarray:
    (page,) = read_pages(path)
    return page


def colour(seed: int, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (3, *shape)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_a_colour_image_comes_back_channel_by_channel(tmp_path: Path, suffix: str) -> None:
    pixels = colour(0)
    Image.fromarray(np.moveaxis(pixels, 0, -1)).save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_slice(tmp_path / f"a{suffix}"), pixels)
    assert is_slice(f"a{suffix}") and not is_slice("a.nii.gz")


def test_a_tif_with_jpeg_inside(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 128, 2, dtype=np.uint8), (64, 1))
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    assert np.abs(read_slice(tmp_path / "a.tif").astype(int) - grey).max() <= 4


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I;16"])
def test_grey_images_have_one_channel(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    image = Image.fromarray(values.astype(np.uint16) * 100) if mode == "I;16" else Image.fromarray(values).convert(mode)
    image.save(tmp_path / "a.png")
    pixels = read_slice(tmp_path / "a.png")
    assert pixels.shape == (1, 2, 2)
    assert np.array_equal(pixels[0], values.astype(int) * (100 if mode == "I;16" else 1))


def test_transparency_and_palettes_do_not_add_channels(tmp_path: Path) -> None:
    pixels = np.moveaxis(colour(1), 0, -1)
    Image.fromarray(np.dstack([pixels, np.full(pixels.shape[:2], 99, np.uint8)])).save(tmp_path / "a.png")
    assert np.array_equal(read_slice(tmp_path / "a.png"), np.moveaxis(pixels, -1, 0))
    Image.fromarray(pixels).convert("P").save(tmp_path / "p.png")
    assert read_slice(tmp_path / "p.png").shape == (3, 6, 8)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_damaged_files_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    file = tmp_path / f"a{suffix}"
    Image.fromarray(np.moveaxis(colour(0, (64, 64)), 0, -1)).save(file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InputError, match=f"a{suffix} cannot be read") as caught:
        read_slice(file)
    assert caught.value.remedy
    with pytest.raises(InputError, match="does not exist"):
        read_slice(tmp_path / "none.png")


def test_noise_in_a_tif_is_refused_whatever_it_hits(tmp_path: Path) -> None:
    """Damage anywhere in the file either leaves an image or is an error of ours."""
    file = tmp_path / "a.tif"
    Image.fromarray(np.moveaxis(colour(0, (16, 16)), 0, -1)).save(file, compression="jpeg")
    whole = file.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 4):
            damaged[place] = generator.integers(256)
        file.write_bytes(damaged)
        try:
            assert read_slice(file).ndim == 3
        except InputError:
            refused += 1
    assert refused > 20


def test_numbers_sort_as_numbers() -> None:
    names = ["p_10.tif", "p_9.tif", "p_1.tif", "p_100.tif"]
    assert sorted(names, key=slice_order) == ["p_1.tif", "p_9.tif", "p_10.tif", "p_100.tif"]


def test_slices_make_up_a_volume_as_it_is_shown() -> None:
    images = [colour(seed) for seed in range(3)]
    case = stack_slices("p", images, LGG)
    assert case.modalities == ("t1", "t1ce", "flair")
    for channel, name in enumerate(LGG):
        assert np.array_equal(case.images[name].array, np.stack([image[channel] for image in images]))
    volume = case.images["flair"]
    assert volume.orientation == "LPS"  # left of the picture is the patient's right, its top anterior
    assert volume.spacing == (5.0, 32.0, 32.0)  # 256 mm over the longer side of 8 pixels


def test_a_grey_image_is_one_sequence_and_so_is_a_colour_one_where_one_is_asked_for() -> None:
    grey = colour(0)[:1]
    assert np.array_equal(stack_slices("p", [grey], ("t1ce",)).images["t1ce"].array[0], grey[0])
    case = stack_slices("p", [np.repeat(grey, 3, axis=0)], ("t1ce",))
    np.testing.assert_allclose(case.images["t1ce"].array[0], grey[0])


@pytest.mark.parametrize("noise", [0, 1])
def test_a_channel_that_repeats_flair_is_missing(noise: int) -> None:
    image = colour(0).astype(int)
    image[0] = image[1]
    image[0, 0, :8:4] += noise  # what a lossy file changes
    assert stack_slices("p", [image.astype(np.uint8)], LGG).modalities == ("t1ce", "flair")
    image[2] = image[1]
    assert stack_slices("p", [image.astype(np.uint8)], LGG).modalities == ("flair",)


def test_an_empty_channel_is_missing_and_an_empty_image_is_refused() -> None:
    image = colour(0)
    image[2] = 0
    assert stack_slices("p", [image], LGG).modalities == ("t1", "flair")
    with pytest.raises(InputError, match="zero everywhere"):
        stack_slices("p", [np.zeros_like(image)], LGG)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(InputError, match="8 × 6, 9 × 6"):
        stack_slices("p", [colour(0), colour(0, (6, 9))], LGG)
    with pytest.raises(InputError, match="1 channels where 3"):
        stack_slices("p", [colour(0)[:1]], LGG)
    with pytest.raises(InputError, match="1 and 3 channels"):
        stack_slices("p", [colour(0)[:1], colour(0)], LGG)


def test_which_models_images_can_feed() -> None:
    assert channels_for(("t2",)) == ("t2",)
    assert channels_for(("t1", "t1ce", "flair")) == channels_for(("flair", "t1")) == LGG
    with pytest.raises(ModalityError, match="cannot hold t1, t2"):
        channels_for(("t1", "t2"))
