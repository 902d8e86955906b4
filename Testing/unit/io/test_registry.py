"""What files are by their content, whatever they are called."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import check_writable, is_image, read_label_map, read_mask, read_volume, write_volume
from Testing.unit.domain.test_volume import OBLIQUE, SHEARED, voxels

SHIFT = np.array([12.0, -7.0, 5.0])


@pytest.mark.parametrize(("written", "name"), [("a.nii", "b.nii.gz"), ("a.nii.gz", "b.nii"), ("a.nrrd", "b.mha")])
def test_the_content_tells_the_format_not_the_name(tmp_path: Path, written: str, name: str) -> None:
    write_volume(Volume(voxels(), OBLIQUE), tmp_path / written)
    (tmp_path / written).rename(tmp_path / name)
    read = read_volume(tmp_path / name)
    np.testing.assert_array_equal(read.array, voxels())
    np.testing.assert_allclose(read.affine, OBLIQUE, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "words", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "page of the web", "Download"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html></html>", "page of the web", "Download"),
        (b"\x80\x05\x95" + b"\x00" * 100, "pickle", "image"),
        (b"\x93NUMPY\x01\x00" + b"\x00" * 100, "array of numpy", "affine"),
        (b"\x5c\x01\x00\x00" + b"\x00" * 340 + b"ni1\x00", "half of a NIfTI pair", "single"),
        (b"\x1c\x02\x00\x00ni2\x00" + b"\x00" * 600, "half of a NIfTI pair", "single"),
        (b"\x00" * 128 + b"DICM" + b"\x00" * 400, "DICOM", "--t1 SERIES"),
        (b"PK\x03\x04" + b"\x00" * 100, "zip", "Unpack"),
        (b"", "empty", "again"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "2D image", "together"),
    ],
)
def test_what_else_a_file_is_is_said(tmp_path: Path, content: bytes, words: str, remedy: str) -> None:
    for name, bytes_ in (("a.nii.gz", content), ("b.nii.gz", gzip.compress(content)), ("a.nrrd", content)):
        (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(InputError, match=words) as caught:
            read_volume(tmp_path / name)
        assert remedy in caught.value.remedy and str(tmp_path / name) in str(caught.value)


def corners(shape_xyz: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [(x, y, z) for x in (0, shape_xyz[0] - 1) for y in (0, shape_xyz[1] - 1) for z in (0, shape_xyz[2] - 1)]


def seen_by_itk(path: Path) -> list[tuple[float, ...]]:
    image = sitk.ReadImage(str(path))
    return [image.TransformIndexToPhysicalPoint(corner) for corner in corners(image.GetSize())]


def seen_by_nibabel(path: Path) -> list[np.ndarray]:
    image = nibabel.load(path)
    return [image.affine @ [*corner, 1] for corner in corners(image.shape)]


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 1), (2, 4), (3, 2)])
@pytest.mark.parametrize("shifted", [False, True])
def test_every_program_shows_a_result_over_its_image(tmp_path: Path, codes: tuple[int, int], shifted: bool) -> None:
    """Programs differ in which of a file's two positions they go by: each must find both files in one place."""
    image = nibabel.Nifti1Image(voxels().transpose(), OBLIQUE)
    qform = OBLIQUE.copy()
    qform[:3, 3] += SHIFT * shifted
    image.set_qform(qform, code=codes[0])
    image.set_sform(OBLIQUE, code=codes[1])
    nibabel.save(image, tmp_path / "image.nii.gz")
    volume = read_volume(tmp_path / "image.nii.gz")
    write_volume(volume.with_array((volume.array > 100).astype(np.uint8)), tmp_path / "labels.nii.gz")
    for seen in (seen_by_itk, seen_by_nibabel):
        np.testing.assert_allclose(seen(tmp_path / "labels.nii.gz"), seen(tmp_path / "image.nii.gz"), atol=1e-4)
    before, after = (nibabel.load(tmp_path / name).header for name in ("image.nii.gz", "labels.nii.gz"))
    assert (int(after["qform_code"]), int(after["sform_code"])) == codes
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    assert after.get_data_dtype() == np.uint8
    assert volume.place is not None
    assert ("12.0 mm apart" in volume.place.warning) == (shifted and all(codes))
    assert ("not set" in volume.place.warning) == (codes == (0, 0))


def test_a_result_on_another_grid_says_its_own_place(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels().transpose(), OBLIQUE), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    write_volume(Volume(volume.array, np.diag([2.0, 2, 2, 1])), tmp_path / "b.nii")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii").affine, np.diag([2.0, 2, 2, 1]))


def test_a_sheared_grid_is_refused_before_there_is_anything_to_write() -> None:
    check_writable("out.nii.gz", SHEARED)
    check_writable("out.nrrd", OBLIQUE)
    with pytest.raises(RequestError, match=r"out\.mha cannot hold"):
        check_writable("out.mha", SHEARED)


def write_segmentation(
    path: Path, layers: np.ndarray, segments: list[tuple[str, int, int]], origin: tuple[float, ...] = (0, 0, 0)
) -> Path:
    """As 3D Slicer writes it: layers ``(L, Z, Y, X)``; segments are name, layer and label value."""
    image = sitk.GetImageFromArray(np.moveaxis(layers, 0, -1), isVector=len(layers) > 1) if len(layers) > 1 else None
    image = image if image is not None else sitk.GetImageFromArray(layers[0])
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin(origin)
    for number, (name, layer, value) in enumerate(segments):
        for key, text in (("Name", name), ("ID", f"Segment_{number}"), ("Layer", layer), ("LabelValue", value)):
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def nested() -> dict[str, np.ndarray]:
    """ET in TC in WT on 6 × 7 × 8 voxels."""
    masks = {name: np.zeros((6, 7, 8), bool) for name in ("ET", "TC", "WT")}
    masks["WT"][1:5, 1:6, 1:7] = True
    masks["TC"][2:4, 2:5, 2:6] = True
    masks["ET"][2:3, 2:4, 3:5] = True
    return masks


EXPECTED = np.select([nested()["ET"], nested()["TC"], nested()["WT"]], [3, 1, 2], 0)


def test_a_segmentation_with_overlapping_layers_in_any_order(tmp_path: Path) -> None:
    layers = np.stack([nested()[name].astype(np.uint8) * value for name, value in (("WT", 1), ("ET", 7), ("TC", 1))])
    segments = [("ET", 1, 7), ("Whole tumour", 0, 1), ("tumor core", 2, 1), ("ventricles", 0, 9)]
    read = read_label_map(write_segmentation(tmp_path / "a.seg.nrrd", layers, segments))
    np.testing.assert_array_equal(read.array, EXPECTED)
    assert read.spacing == (3.0, 2.0, 1.0)


def test_a_segmentation_of_tissues_by_their_names_whatever_their_values(tmp_path: Path) -> None:
    values = np.choose(EXPECTED, [0, 9, 4, 1]).astype(np.uint8)
    segments = [("Edema", 0, 4), ("Necrosis", 0, 9), ("Enhancing tumour", 0, 1)]
    read = read_label_map(write_segmentation(tmp_path / "a.seg.nrrd", values[None], segments), "brats2021")
    np.testing.assert_array_equal(read.array, EXPECTED)


def test_numbers_of_segments_pass_for_no_labels(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "a.seg.nrrd", EXPECTED[None].astype(np.uint8), [("ED", 0, 1), ("ET", 0, 2)])
    with pytest.raises(InputError, match="numbers of segments") as caught:
        read_volume(path)
    assert "read_label_map" in caught.value.remedy
    np.testing.assert_array_equal(read_mask(path).array > 0, EXPECTED > 0)  # of a brain no more is wanted


def test_a_segmentation_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "a.seg.nrrd", EXPECTED[None].astype(np.uint8), [("liver", 0, 1)])
    with pytest.raises(InputError, match=r"not called ET.*liver"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *(("Enhancing Tumor (ET)", 3), ("GD-enhancing tumour", 3), ("ET_1", 3), ("WT (whole tumor)", 2)),
        *(("NETC", 1), ("Non-enhancing tumor core", 1), ("necrotic tumour core", 1), ("Edema region", 2), ("SNFH", 2)),
        *(("Peritumoral oedema and invaded tissue", 2), ("Tumour core", 1), ("tumor", 2), ("Resection cavity", 0)),
    ],
)
def test_names_that_segments_have(tmp_path: Path, name: str, label: int) -> None:
    values = np.zeros((6, 7, 8), np.uint8)
    values[2, 3, 4] = 5
    values[4, 3, 4] = 6
    path = write_segmentation(tmp_path / "a.seg.nrrd", values[None], [(name, 0, 5), ("ET", 0, 6)])
    assert read_label_map(path).array[2, 3, 4] == label


@pytest.mark.parametrize("name", ["Segment_1", "enhancing + necrotic", "Mask", "liver"])
def test_no_part_of_a_segmentation_is_left_out_in_silence(tmp_path: Path, name: str) -> None:
    segments = [("ET", 0, 3), (name, 0, 2), ("NCR", 0, 1)]
    path = write_segmentation(tmp_path / "a.seg.nrrd", EXPECTED[None].astype(np.uint8), segments)
    with pytest.raises(InputError, match=r"NCR or ED: ") as caught:
        read_label_map(path)
    assert name in str(caught.value) and "ET, NCR" not in str(caught.value).split(":")[-1]


def test_the_whole_tumour_alone_is_no_tumour_without_a_core(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "a.seg.nrrd", (EXPECTED > 0)[None].astype(np.uint8), [("WT", 0, 1)])
    with pytest.raises(InputError, match="whole tumour alone") as caught:
        read_label_map(path)
    assert "whole" in caught.value.remedy
    np.testing.assert_array_equal(read_label_map(path, "whole").array > 0, EXPECTED > 0)


def test_a_nrrd_without_segments_is_read_by_its_values(tmp_path: Path) -> None:
    write_volume(Volume(np.choose(EXPECTED, [0, 1, 2, 4]).astype(np.uint8), np.eye(4)), tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nrrd").array, EXPECTED)


def test_images_by_suffix() -> None:
    assert all(map(is_image, ("a.nii", "a.nii.gz", "A.NII.GZ", "a.nrrd", "a.mha", "a.mhd", "a.nhdr")))
    assert not any(map(is_image, ("a.gz", "a.png", "a.nii.gz.part", "a.dcm", "a")))
