from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.preprocessing.normalisation import CLIP, normalise


def test_by_hand() -> None:
    """Non-zero 2, 4, 4, 4, 5, 5, 7, 9: mean 5, standard deviation 2."""
    image = np.array([0, 2, 4, 4, 4, 0, 5, 5, 7, 9], np.int16)
    result = normalise(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [0, -1.5, -0.5, -0.5, -0.5, 0, 0, 0, 1, 2])


def test_scale_and_offset_of_the_scanner_do_not_matter() -> None:
    image = np.random.default_rng(0).uniform(1, 2, (4, 5, 6))
    np.testing.assert_allclose(normalise(image * 1000 + 300), normalise(image), atol=1e-4)


def test_outliers_are_clipped() -> None:
    image = np.ones(1000, np.float32)
    image[0], image[1:500] = 1e6, 2
    result = normalise(image)
    assert result.max() == CLIP and result.min() >= -CLIP


def test_large_values_keep_their_precision() -> None:
    """A sum in float32 would lose the spread of values around 10,000,000."""
    image = 1e7 + np.arange(64, dtype=np.float64)
    assert normalise(image).std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("image", [np.zeros((2, 3)), np.full((2, 3), 7.0), np.array([0.0, 7.0, 7.0])])
def test_without_contrast_all_is_zero(image: np.ndarray) -> None:
    result = normalise(image)
    assert result.shape == image.shape and not result.any()


def test_none_changes_nothing() -> None:
    image = np.array([[0, 5], [-3, 1000]], np.int16)
    result = normalise(image, "none")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="minmax"):
        normalise(np.ones(3), "minmax")


def test_the_input_is_left_alone() -> None:
    image = np.array([0.0, 1, 2], np.float32)
    normalise(image)
    assert image.tolist() == [0, 1, 2]


def test_air_around_a_head_is_outside_and_fluid_in_it_is_not() -> None:
    """Noise in the air neither counts nor stays; dark ventricles keep their place below the mean."""
    generator = np.random.default_rng(0)
    image = generator.uniform(0, 8, (3, 20, 20))  # air
    image[:, 4:16, 4:16] = generator.uniform(80, 120, (3, 12, 12))
    image[:, 8:12, 8:12] = 2  # fluid, darker than the air
    head = np.zeros(image.shape, dtype=bool)
    head[:, 4:16, 4:16] = True
    result = normalise(image, "zscore_foreground")
    assert not result[~head].any()
    inside = (image[head] - image[head].mean()) / image[head].std()
    np.testing.assert_allclose(result[head], inside, atol=1e-5)
    assert result[1, 10, 10] < -2
    stripped = np.where(head, image, 0)
    np.testing.assert_allclose(normalise(stripped, "zscore_foreground"), normalise(stripped), atol=1e-5)
