from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.errors import GeometryError, InputError, RequestError
from BrainTumorSegLib.domain.volume import Volume, bounding_box
from BrainTumorSegLib.io.registry import read_volume, write_volume

# 40° about z and 10° about x, voxels of 0.7 × 1.3 × 5 mm, an origin far off: nothing in it is round.
Z, X = np.deg2rad(40), np.deg2rad(10)
ROTATION = np.array([[np.cos(Z), -np.sin(Z), 0], [np.sin(Z), np.cos(Z), 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, np.cos(X), -np.sin(X)], [0, np.sin(X), np.cos(X)]]
)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = ROTATION * [0.7, 1.3, 5.0]
OBLIQUE[:3, 3] = -123.4567, 87.654321, 301.23
SHEARED = np.array([[1.0, 0.2, 0, 5], [0, 1.1, 0.1, -6], [0, 0, 2, 7], [0, 0, 0, 1]])


def voxels(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (3, 4, 5)).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".NII.GZ", ".NRRD"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize("affine", [np.eye(4), OBLIQUE], ids=["identity", "oblique"])
def test_round_trip(tmp_path: Path, suffix: str, dtype: str, affine: np.ndarray) -> None:
    path = tmp_path / f"image{suffix}"
    write_volume(Volume(voxels(dtype), affine), path)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, voxels(dtype))
    assert read.array.dtype == dtype
    np.testing.assert_allclose(read.affine, affine, atol=1e-4)
    assert read.source == str(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_itk_sees_the_same_place(tmp_path: Path, suffix: str) -> None:
    """ITK reads all formats and tells physical points in LPS: a judge that shares no code with the reader."""
    path = tmp_path / f"image{suffix}"
    write_volume(Volume(voxels(), OBLIQUE), path)
    image = sitk.ReadImage(str(path))
    for index in ((0, 0, 0), (4, 0, 0), (1, 3, 2)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((-x, -y, z), (OBLIQUE @ [*index, 1])[:3], atol=1e-4)
        assert image.GetPixel(index) == voxels()[index[::-1]]


def test_sheared_grids_fit_nifti_only(tmp_path: Path) -> None:
    write_volume(Volume(voxels(), SHEARED), tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").affine, SHEARED, atol=1e-5)
    for name in ("a.nrrd", "a.mha"):
        with pytest.raises(RequestError, match="sheared") as caught:
            write_volume(Volume(voxels(), SHEARED), tmp_path / name)
        assert ".nii.gz" in caught.value.remedy
        assert not (tmp_path / name).exists()


def test_geometry_by_hand() -> None:
    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    volume = Volume(voxels(), affine)
    assert volume.shape == (3, 4, 5)
    assert volume.spacing == (4.0, 3.0, 2.0)
    assert volume.voxel_volume == pytest.approx(24)
    assert volume.orientation == "LPS"
    assert Volume(voxels(), SHEARED).voxel_volume == pytest.approx(2.2)  # a shear keeps the volume: 1 × 1.1 × 2


def test_with_array_keeps_the_place() -> None:
    volume = Volume(voxels(), OBLIQUE, "a.nii")
    other = volume.with_array(np.zeros((3, 4, 5)))
    assert other.source == "a.nii" and not other.array.any()
    np.testing.assert_array_equal(other.affine, OBLIQUE)


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.full((4, 4), np.nan),
        np.diag([np.inf, 1, 1, 1]),
        np.eye(3),
    ],
    ids=["flat", "parallel axes", "nan", "infinite", "3x3"],
)
def test_singular_affines_are_refused(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match=r"a\.nii"):
        Volume(voxels(), affine, "a.nii")


def test_singular_affine_in_a_file(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(voxels(), None)
    image.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(GeometryError, match=r"a\.nii"):
        read_volume(tmp_path / "a.nii")


def test_four_dimensions_only_where_asked_for(tmp_path: Path) -> None:
    channels = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(5, 4, 3, 2)  # x, y, z, channel
    path = tmp_path / "four.nii.gz"
    nibabel.save(nibabel.Nifti1Image(channels, np.eye(4)), path)
    with pytest.raises(InputError, match="4 dimensions") as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    read = read_volume(path, channels=True)
    assert read.array.shape == (2, 3, 4, 5) and read.shape == (3, 4, 5)
    np.testing.assert_array_equal(read.array[1], channels[..., 1].transpose())


def test_one_channel_is_three_dimensional(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels().transpose()[..., None], np.eye(4)), tmp_path / "one.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nii").array, voxels())


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_channels_of_itk_files(tmp_path: Path, suffix: str) -> None:
    parts = [voxels(), voxels() + 1]
    vector = sitk.Compose([sitk.GetImageFromArray(part) for part in parts])
    vector.SetSpacing((1.0, 2.0, 3.0))
    series = sitk.JoinSeries([sitk.GetImageFromArray(part) for part in parts])
    for name, image in (("vector", vector), ("series", series)):
        path = tmp_path / f"{name}{suffix}"
        sitk.WriteImage(image, str(path))
        with pytest.raises(InputError, match="dimensions"):
            read_volume(path)
        np.testing.assert_array_equal(read_volume(path, channels=True).array, np.stack(parts))
    assert read_volume(tmp_path / f"vector{suffix}", channels=True).spacing == (3.0, 2.0, 1.0)


def test_nifti_2_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(voxels().transpose(), OBLIQUE), tmp_path / "two.nii.gz")
    read = read_volume(tmp_path / "two.nii.gz")
    np.testing.assert_array_equal(read.array, voxels())
    np.testing.assert_allclose(read.affine, OBLIQUE, atol=1e-9)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(tmp_path: Path, order: str) -> None:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(f"{order}i2"))
    nibabel.save(nibabel.Nifti1Image(voxels().transpose(), OBLIQUE, header), tmp_path / "a.nii")
    read = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(read.array, voxels())
    np.testing.assert_allclose(read.affine, OBLIQUE, atol=1e-4)


def test_two_dimensions_and_colours_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5), np.int16), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(InputError, match="2 dimensions"):
        read_volume(tmp_path / "flat.nii")
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5), np.int16)), str(tmp_path / "flat.nrrd"))
    with pytest.raises(InputError, match="2 dimensions"):
        read_volume(tmp_path / "flat.nrrd")
    colours = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "colour.nii")
    with pytest.raises(InputError, match="grey values"):
        read_volume(tmp_path / "colour.nii")
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "complex.nii")
    with pytest.raises(InputError, match="grey values"):
        read_volume(tmp_path / "complex.nii")


def test_an_axis_of_length_zero_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.nii"
    write_volume(Volume(voxels(), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[42:44] = struct.pack("<h", 0)  # dim[1] of the NIfTI header
    path.write_bytes(content)
    with pytest.raises(InputError, match="zero"):
        read_volume(path)


def test_scaled_integers_are_read_scaled(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(voxels().transpose(), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "scaled.nii.gz").array, voxels() * 0.5 + 10)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_what_is_no_image_is_refused(tmp_path: Path, name: str) -> None:
    for content in (b"", b"not an image", b"\x00" * 1000, gzip.compress(b"not an image"), bytes(range(256)) * 4):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_volume(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) and caught.value.remedy
        assert "\n" not in caught.value.sentence()


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_volume(Volume(np.random.default_rng(0).integers(0, 9999, (9, 9, 9)).astype(np.int16), np.eye(4)), path)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"a\."):
            read_volume(path)


def test_every_flipped_byte_of_a_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_volume(Volume(np.random.default_rng(0).integers(0, 9999, (9, 9, 9)).astype(np.int16), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    for position in range(20, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            read_volume(path)


def test_a_damaged_header_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_volume(Volume(voxels(), np.eye(4)), path)
    content = path.read_bytes()
    refused = 0
    for position in range(352):
        for flip in (0x7F, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                read_volume(path)
            except RequestError as error:
                refused += 1
                assert str(path) in str(error)
    assert refused > 30


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_volume(tmp_path / "none.nii.gz")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(InputError, match="not a file"):
        read_volume(tmp_path / "folder.nii")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="not a volume") as caught:
        read_volume(tmp_path / "a.txt")
    assert ".nii.gz" in caught.value.remedy


@pytest.mark.parametrize("name", ["a.txt", "a", "a.mhd", "a.nhdr", "a.png"])
def test_formats_that_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="no format"):
        write_volume(Volume(voxels(), np.eye(4)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_last_suffix_tells_the_format(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.nrrd"
    write_volume(Volume(voxels(), OBLIQUE), path)
    assert path.read_bytes().startswith(b"NRRD")
    np.testing.assert_array_equal(read_volume(path).array, voxels())


def test_an_image_is_independent_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    write_volume(Volume(voxels(), np.eye(4)), path)
    volume = read_volume(path)
    path.write_bytes(b"")  # a mapped file would now crash the process
    np.testing.assert_array_equal(volume.array, voxels())


def test_bounding_box() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2, 3, 1] = mask[4, 3, 6] = True
    assert bounding_box(mask) == (slice(2, 5), slice(3, 4), slice(1, 7))
    assert bounding_box(mask, 2) == (slice(0, 6), slice(1, 6), slice(0, 8))
    assert bounding_box(mask, (0, 1, 0)) == (slice(2, 5), slice(2, 5), slice(1, 7))
    assert bounding_box(np.zeros((2, 3), bool)) == (slice(0, 2), slice(0, 3))
