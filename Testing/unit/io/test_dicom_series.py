"""Series of DICOM files as volumes: geometry, grey values, and what is wrong with a series."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from scipy.spatial.transform import Rotation

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import case_of, find_case, read_case
from BrainTumorSegLib.io.nifti import Nifti
from Testing.dicom_series import PLANES, change, write_series, write_study
from Testing.dicom_tools import affine_of
from Testing.offline import python_path
from Testing.samples import Patient

ROOT = Path(__file__).parents[3]


def read(place: Path) -> Volume:
    """The series at a place, named as T1."""
    return find_case((), {"t1": place}).read().images["t1"]


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(place)
    return str(caught.value)


def oblique(volume: Volume, voxel: Sequence[float] = (0.9375, 0.9, 5.5)) -> Volume:
    """The voxels on a grid that is turned against the patient, with voxels of other sizes ``(x, y, z)``."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix()
    turn[:3, 3] = 1 / 3, -20 / 7, 100.123456789
    return Volume(volume.array, turn @ volume.affine @ np.diag([*voxel, 1]))


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("plane", PLANES)
def test_voxels_lie_where_they_were_whatever_the_acquisition(
    tmp_path: Path, patient: Patient, plane: str, enhanced: bool
) -> None:
    written = oblique(patient.images["t1"])
    write_series(written, tmp_path / "s", plane=plane, enhanced=enhanced)
    volume = read(tmp_path / "s")
    assert volume.orientation == PLANES[plane]
    assert np.array_equal(reorient(volume.array, volume.affine, written.orientation), written.array)
    back = Grid.of(volume).oriented(written.orientation)
    assert np.abs(back.corners() - Grid.of(written).corners()).max() < 1e-4


@pytest.mark.parametrize("plane", PLANES)
def test_as_simpleitk_reads_it(tmp_path: Path, patient: Patient, plane: str) -> None:
    write_series(oblique(patient.images["flair"]), tmp_path / "s", "flair", plane=plane)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    volume = read(tmp_path / "s")
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array)
    assert np.allclose(affine_of(image), volume.affine, atol=1e-4)


def test_an_enhanced_object_that_another_library_made(tmp_path: Path, patient: Patient) -> None:
    files = write_series(oblique(patient.images["t1"]), tmp_path / "classic")
    classic = [pydicom.dcmread(file) for file in reversed(files)]
    enhanced = highdicom.legacy.LegacyConvertedEnhancedMRImage(classic, generate_uid(), 2, generate_uid(), 1)
    (tmp_path / "enhanced").mkdir()
    enhanced.save_as(tmp_path / "enhanced" / "0")
    first, second = read(tmp_path / "classic"), read(tmp_path / "enhanced")
    assert np.array_equal(first.array, second.array) and np.allclose(first.affine, second.affine, atol=1e-4)


def test_order_of_slices_is_that_of_space_not_of_names(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    for file, number in zip(files, np.random.default_rng(0).permutation(len(files)), strict=True):
        file.rename(tmp_path / "s" / f"{number:05d}.IMA")
    assert np.array_equal(read(tmp_path / "s").array, patient.images["t1"].array)


@pytest.mark.parametrize("enhanced", [False, True])
def test_grey_values_are_rescaled(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    stored = patient.images["t1"]
    write_series(stored, tmp_path / "s", rescale=(2.5, -10), enhanced=enhanced)
    assert np.allclose(read(tmp_path / "s").array, stored.array * 2.5 - 10)


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s", rescale=(2.0, 0.0))
    change(files[3:4], RescaleSlope="3", RescaleIntercept="7")
    array = read(tmp_path / "s").array
    assert np.array_equal(array[3], patient.images["t1"].array[3] * 3 + 7)
    assert np.array_equal(array[4], patient.images["t1"].array[4] * 2)


def test_negative_values(tmp_path: Path, patient: Patient) -> None:
    volume = patient.images["t1"].with_array(patient.images["t1"].array - 300)
    write_series(volume, tmp_path / "s")
    assert np.array_equal(read(tmp_path / "s").array, volume.array)


def test_files_of_any_name_and_depth_among_others(tmp_path: Path, patient: Patient) -> None:
    files = write_study(patient.images, tmp_path / "A" / "B", each="")
    assert len({path.parent for paths in files.values() for path in paths}) == 1
    deep = tmp_path / "A" / "C" / "D"
    deep.mkdir(parents=True)
    for file in files["t2"][::2]:
        file.rename(deep / file.name)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "A" / "viewer.exe").write_bytes(b"MZ")
    (tmp_path / "A" / "empty").touch()
    (tmp_path / "A" / "page.png").write_bytes(b"\x89PNG")
    case = find_case(tmp_path)
    assert list(case.files) == ["t1", "t1ce", "t2", "flair"]
    assert np.array_equal(case.read().images["t2"].array, patient.images["t2"].array)
    (others,) = case.left_out
    assert others == "4 other files" and "viewer.exe" in case.left_out[others]


def test_python_takes_the_same_places(tmp_path: Path, patient: Patient) -> None:
    files = write_study(patient.images, tmp_path / "P")
    whole = read_case(tmp_path / "P")
    named = case_of({"t1": files["t1"][5], "flair": str(tmp_path / "P" / "4-flair")})
    assert whole.id == "P" and whole.modalities == ("t1", "t1ce", "t2", "flair")
    for name in ("t1", "flair"):
        assert np.array_equal(named.images[name].array, patient.images[name].array)


def test_a_result_on_a_series_can_be_written_as_nifti(tmp_path: Path, patient: Patient) -> None:
    write_series(oblique(patient.images["t1"]), tmp_path / "s")
    volume = read(tmp_path / "s")
    Nifti().write(volume, tmp_path / "v.nii.gz")
    assert np.allclose(Nifti().read(tmp_path / "v.nii.gz").affine, volume.affine, atol=1e-4)


# What is wrong with a series


def test_a_missing_slice_is_refused_with_its_place(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    files[7].unlink()
    told = refusal(tmp_path / "s")
    assert "lacks a slice" in told and files[6].name in told and files[8].name in told
    files[12].unlink()
    files[13].unlink()
    assert "lacks 3 slices" in refusal(tmp_path / "s")


def test_several_images_at_every_place_are_four_dimensions(tmp_path: Path, patient: Patient) -> None:
    for time in range(3):
        write_series(patient.images["t1"], tmp_path / "s", names=f"{time}-{{}}", SeriesInstanceUID="1.2.3")
    assert "4D series: 3 images at each of its 20 places" in refusal(tmp_path / "s")


def test_one_place_with_two_images(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    again = pydicom.dcmread(files[4])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    again.save_as(tmp_path / "s" / "again")
    assert "several different images at 1 of its 20 places, such as slice 5" in refusal(tmp_path / "s")


def test_a_copy_of_a_file_is_left_out(tmp_path: Path, patient: Patient) -> None:
    files = write_study(patient.images, tmp_path / "P")
    (tmp_path / "P" / "copy").write_bytes(files["t1"][4].read_bytes())
    case = find_case(tmp_path / "P")
    assert "copy of" in case.left_out["copy"] or "copy of" in case.left_out["1-t1/0005"]
    assert np.array_equal(case.read().images["t1"].array, patient.images["t1"].array)


def test_different_slices_of_one_identifier_are_no_copies(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    change(files[-1:], SOPInstanceUID=pydicom.dcmread(files[-2]).SOPInstanceUID)  # nothing between others is missing
    told = refusal(tmp_path / "s")
    assert "one SOP Instance UID" in told and files[-2].name in told and files[-1].name in told


@pytest.mark.parametrize("described", [12, 25])
def test_an_enhanced_object_that_describes_other_slices_than_it_holds(
    tmp_path: Path, patient: Patient, described: int
) -> None:
    (file,) = write_series(patient.images["t1"], tmp_path / "s", enhanced=True)
    groups = list(pydicom.dcmread(file).PerFrameFunctionalGroupsSequence)
    change([file], PerFrameFunctionalGroupsSequence=(groups + groups[:5])[:described])
    assert f"it holds 20 slices and describes {described}" in refusal(tmp_path / "s")


@pytest.mark.parametrize(("moved", "told"), [(0.02, None), (0.15, "up to 0.15 mm"), (0.4, "unequal slice distances")])
def test_unequal_slice_distances(tmp_path: Path, patient: Patient, moved: float, told: str | None) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    x, y, z = pydicom.dcmread(files[9]).ImagePositionPatient
    change(files[9:10], ImagePositionPatient=[x, y, z + moved])
    if told and "unequal" in told:
        assert told in refusal(tmp_path / "s")
        return
    case = find_case((), {"t1": tmp_path / "s"}).read()
    assert [told in warning for warning in case.warnings] == [True] if told else not case.warnings
    assert np.allclose(case.images["t1"].affine, patient.images["t1"].affine, atol=1e-4)


def test_a_tilted_gantry_is_said_and_kept(tmp_path: Path, patient: Patient) -> None:
    shear = np.eye(4)
    shear[1, 2] = np.tan(np.radians(12))
    volume = Volume(patient.images["t1"].array, shear @ patient.images["t1"].affine)
    write_series(volume, tmp_path / "s")
    case = find_case((), {"t1": tmp_path / "s"}).read()
    assert len(case.warnings) == 1 and "by 12.0°" in case.warnings[0]
    assert np.allclose(case.images["t1"].affine, volume.affine, atol=1e-4)


def test_slices_of_several_sizes_or_orientations(tmp_path: Path, patient: Patient) -> None:
    other = Volume(patient.images["t1"].array[:4, :20], patient.images["t1"].affine)
    for folder, plane in (("sizes", None), ("planes", "coronal")):
        write_series(patient.images["t1"], tmp_path / folder, names="a{}", SeriesInstanceUID="1.2.3")
        second = other if plane is None else Volume(np.ones((28, 6, 24), np.int16), patient.images["t1"].affine)
        write_series(second, tmp_path / folder, names="b{}", SeriesInstanceUID="1.2.3", plane=plane)
    assert "24 × 20 and 24 × 28 pixels" in refusal(tmp_path / "sizes")
    assert "several orientations" in refusal(tmp_path / "planes")


def test_a_truncated_file_that_the_series_needs(tmp_path: Path, patient: Patient) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s")
    files[8].write_bytes(files[8].read_bytes()[:-300])
    assert f"{files[8].name} is damaged" in refusal(tmp_path / "s")


def test_a_damaged_file_is_named_and_left_out_where_nothing_is_missing(tmp_path: Path, patient: Patient) -> None:
    files = write_study(patient.images, tmp_path / "P")
    header = files["t1"][3].read_bytes()[:1200]
    broken = tmp_path / "P" / "1-t1" / "broken"
    broken.write_bytes(header[:140] + b"\xff" * 1000)
    case = find_case(tmp_path / "P")
    assert "damaged" in case.left_out["1-t1/broken"]
    read_in = case.read()
    assert "1-t1/broken" in " ".join(read_in.warnings)
    assert np.array_equal(read_in.images["t1"].array, patient.images["t1"].array)
    files["t1"][3].write_bytes(broken.read_bytes())
    with pytest.raises(InputError, match=r"lacks a slice.*1-t1/0004"):
        find_case(tmp_path / "P")


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_deflated_file(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    files = write_series(patient.images["t1"], tmp_path / "s", enhanced=enhanced)
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(file)
    assert np.array_equal(read(tmp_path / "s").array, patient.images["t1"].array)
    middle = files[len(files) // 2]
    middle.write_bytes(middle.read_bytes()[:-300])
    assert ("damaged" if enhanced else "lacks a slice") in refusal(tmp_path / "s")


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_pixels(tmp_path: Path, patient: Patient, syntax: pydicom.uid.UID) -> None:
    for file in write_series(patient.images["t1"], tmp_path / "s"):
        dataset = pydicom.dcmread(file)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(file)
    assert np.array_equal(read(tmp_path / "s").array, patient.images["t1"].array)


def test_lossless_jpeg_which_pydicom_cannot_unpack_by_itself(tmp_path: Path, patient: Patient) -> None:
    for file in write_series(patient.images["t1"], tmp_path / "s", rescale=(2.0, 5.0)):
        plain = pydicom.dcmread(file)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "packed"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(plain.pixel_array[None]))
        packed = pydicom.dcmread(tmp_path / "packed")
        plain.PixelData = packed.PixelData
        plain["PixelData"].is_undefined_length = True
        plain.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        plain.save_as(file)
    assert "JPEG Lossless" in packed.file_meta.TransferSyntaxUID.name
    assert np.array_equal(read(tmp_path / "s").array, patient.images["t1"].array * 2 + 5)


def test_a_compression_that_nothing_unpacks(tmp_path: Path, patient: Patient) -> None:
    for file in write_series(patient.images["t1"], tmp_path / "s"):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f" + bytes(200)])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(file)
    with pytest.raises(InputError, match="cannot be read as High-Throughput JPEG 2000") as caught:
        read(tmp_path / "s")
    assert "uncompressed" in caught.value.remedy


def test_a_makers_own_way_of_writing_is_named(tmp_path: Path, patient: Patient) -> None:
    for file in write_series(patient.images["t1"], tmp_path / "s"):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.113619.5.2")
        dataset.save_as(file, implicit_vr=True, little_endian=True)
    with pytest.raises(InputError, match=r"cannot be read as 1\.2\.840\.113619\.5\.2") as caught:
        read(tmp_path / "s")
    assert "uncompressed" in caught.value.remedy


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, None])
def test_files_without_the_preamble(tmp_path: Path, patient: Patient, syntax: pydicom.uid.UID | None) -> None:
    """With the words that say how the rest is written, or without."""
    files = write_series(patient.images["t1"], tmp_path / "s", rescale=(2.0, 5.0))
    for file in files:
        content = file.read_bytes()[132:]
        if syntax:
            dataset = pydicom.dcmread(file)
            del dataset.file_meta, dataset.preamble
            bare = pydicom.filebase.DicomBytesIO()
            pydicom.filewriter.dcmwrite(
                bare, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=False
            )
            content = bare.getvalue()
        file.write_bytes(content)
    assert np.array_equal(read(tmp_path / "s").array, patient.images["t1"].array * 2 + 5)
    assert find_case(tmp_path).files == {"t1": files[0]}
    files[8].write_bytes(files[8].read_bytes()[:-300])
    assert f"{files[8].name} is damaged" in refusal(tmp_path / "s")


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"Modality": "CT"}, "is CT, not MR"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "is a mosaic"),
        ({"FrameOfReferenceUID": "1.2", "ImagePositionPatient": None}, "does not say where its slices lie"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 2, 0]}, "does not say how its slices lie"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "does not say how its slices lie"),
        ({"PixelSpacing": [0, 0]}, "has pixels without a size"),
    ],
)
def test_what_makes_no_volume_even_if_it_was_named(
    tmp_path: Path, patient: Patient, tags: dict[str, object], told: str
) -> None:
    change(write_series(patient.images["t1"], tmp_path / "s"), **tags)
    assert told in refusal(tmp_path / "s")


def test_without_pydicom_the_extra_is_named(tmp_path: Path, patient: Patient) -> None:
    write_study(patient.images, tmp_path / "P")
    program = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from BrainTumorSegLib.domain.errors import RequestError\n"
        "from BrainTumorSegLib.io.case_folder import find_case\n"
        f"try: find_case({str(tmp_path / 'P')!r})\n"
        "except RequestError as error: print(error.sentence())"
    )
    environment = {**os.environ, "PYTHONPATH": python_path(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert "pydicom" in done.stdout and "[dicom]" in done.stdout and len(done.stdout.splitlines()) == 1
