"""Which files of a folder are a patient's, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib import segment
from BrainTumorSegLib.domain.errors import GeometryError, InputError, ModalityError, RequestError
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.io.case_folder import case_folders, case_of, find_case, find_cases, read_case
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.report.examples import find_images
from Testing.samples import Patient, write_decathlon

WriteCase = Callable[..., Path]


def put(patient: Patient, path: Path, name: str = "flair") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(patient.images[name], path)
    return path


def test_what_was_left_out_and_why(write_case: WriteCase, patient: Patient) -> None:
    folder = write_case(modalities=("t1", "flair"))
    put(patient, folder / "P_T2_star.nii.gz")
    put(patient, folder / "P_flair_lesion.nii.gz")
    found = find_case(folder)
    assert set(found.files) == {"t1", "flair"} and list(found.files) == ["t1", "flair"]
    assert found.left_out["P_flair_lesion.nii.gz"] == found.left_out["BraTS2021_00001_seg.nii.gz"]
    assert "mask" in found.left_out["P_flair_lesion.nii.gz"] and "none of" in found.left_out["P_T2_star.nii.gz"]
    assert folder / "P_T2_star.nii.gz" in found.inputs  # no output may replace it


def test_a_result_on_another_grid_is_no_sequence(write_case: WriteCase, patient: Patient, tmp_path: Path) -> None:
    folder = write_case(case_id="P")
    for place, name in ((folder, "P_seg"), (folder.parent / "out", "P")):
        for file in (name, f"{name}_on_flair"):
            put(patient, place / f"{file}.nii.gz")
    with pytest.raises(ModalityError, match="look like FLAIR"):  # it may be anyone's
        find_case(folder)
    for record in (folder / "P_seg.json", folder.parent / "out" / "P.json"):
        ResultRecord("P", {}, "brats2023", ("WT",), {}).write(record)
    found = find_case(folder)
    assert found.files["flair"] == folder / "P_flair.nii.gz"
    assert found.left_out["P_seg_on_flair.nii.gz"] == "a segmentation or mask"
    assert [case.id for case in find_cases(folder.parent)] == ["P"]
    (folder / "P_flair.nii.gz").unlink()
    assert "flair" not in find_case(folder).files
    assert find_images("P", [folder.parent / "out"]) == {}


def test_the_only_case_inside_a_folder_is_that_case(write_case: WriteCase) -> None:
    folder = write_case()
    assert find_case(folder.parent).id == folder.name


def test_a_folder_of_cases_is_said_to_be_one(write_case: WriteCase) -> None:
    first = write_case(case_id="A")
    write_case(case_id="B")
    with pytest.raises(InputError, match="a folder of cases: it holds 2, such as A"):
        find_case(first.parent)
    assert [path.name for path in case_folders(first.parent)] == ["A", "B"]


def test_the_root_of_a_bids_data_set(tmp_path: Path, patient: Patient) -> None:
    for subject in ("01", "02"):
        place = tmp_path / f"sub-{subject}" / "ses-1" / "anat"
        put(patient, place / f"sub-{subject}_ses-1_FLAIR.nii.gz")
        put(patient, place / f"sub-{subject}_ses-1_ce-gadolinium_T1w.nii.gz", "t1ce")
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="BIDS"):
        find_case(tmp_path)
    found = find_case(tmp_path / "sub-01")
    assert found.id == "sub-01_ses-1" and set(found.files) == {"t1ce", "flair"}


def test_a_folder_of_dicom_files_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(b"\x00" * 128 + b"DICM" + b"\x00" * 20)
    with pytest.raises(InputError, match="no MR images, only damaged DICOM files"):
        find_case(tmp_path)


def test_a_folder_of_2d_images_without_their_masks(tmp_path: Path) -> None:
    for name in ("p_2.png", "p_10.png", "p_1.png", "p_1_mask.png"):
        Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / name)
    found = find_case(tmp_path)
    assert [path.name for path in found.slices] == ["p_1.png", "p_2.png", "p_10.png"]
    assert found.left_out == {"p_1_mask.png": "a mask"} and tmp_path / "p_1_mask.png" in found.inputs
    with pytest.raises(InputError, match="is the mask of an image"):
        find_case([tmp_path / "p_1_mask.png"])


def test_the_pages_of_a_tiff_are_slices_and_grey_is_flair(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(1, 255, (3, 6, 8)).astype(np.uint8)
    first, *rest = (Image.fromarray(page) for page in pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=rest)
    case = find_case(tmp_path / "stack.tif").read(("t1", "flair", "t1ce"), ("t1", "t1ce"))
    assert case.modalities == ("flair",)
    np.testing.assert_array_equal(case.images["flair"].array, pages)
    assert any("assumed field of view" in warning for warning in case.warnings)
    with pytest.raises(InputError, match="1 channels where 3"):
        find_case(tmp_path / "stack.tif").read(("t1", "flair", "t1ce"), ())


def test_a_case_from_what_a_script_has(patient: Patient, write_case: WriteCase) -> None:
    folder = write_case()
    nifti = nibabel.load(folder / f"{folder.name}_t2.nii.gz")
    case = case_of({"flair": patient.images["flair"], "t2": nifti, "t1": folder / f"{folder.name}_t1.nii.gz"})
    assert case.modalities == ("t1", "t2", "flair")
    for name, volume in case.images.items():
        np.testing.assert_array_equal(volume.array, patient.images[name].array)
    assert case_of(case) is case and case_of(folder).id == folder.name


@pytest.mark.parametrize("wrong", [None, {}, [], ["a.nii"], 3, {"t1": 3}])
def test_what_is_no_case_is_refused(wrong: object) -> None:
    with pytest.raises(RequestError) as caught:
        segment(wrong)
    assert caught.value.remedy


def test_a_file_with_two_positions_is_warned_of(patient: Patient, tmp_path: Path) -> None:
    volume = patient.images["flair"]
    image = nibabel.Nifti1Image(volume.array.transpose(), volume.affine)
    moved = volume.affine.copy()
    moved[:3, 3] += (12, -7, 5)
    image.set_qform(moved, code=1)
    image.set_sform(volume.affine, code=1)
    nibabel.save(image, tmp_path / "P_flair.nii.gz")
    (warning,) = read_case(tmp_path).warnings
    assert "P_flair.nii.gz has two positions, 12.0 mm apart" in warning
    case = case_of({"flair": image})
    assert "two positions, 12.0 mm apart" in case.warnings[0]
    write_volume(case.images["flair"], tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(nibabel.load(tmp_path / "again.nii.gz").get_qform(), image.get_qform())
    four = nibabel.Nifti1Image(np.stack([volume.array.transpose()] * 4, axis=-1), None, image.header)
    nibabel.save(four, tmp_path / "four.nii.gz")
    (warning,) = read_case(tmp_path / "four.nii.gz").warnings
    assert "four.nii.gz has two positions" in warning


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("quaternion", [(0.9, 0.9, 0.9), (np.nan, 0, 0)])
def test_a_qform_that_is_no_rotation(
    patient: Patient, tmp_path: Path, quaternion: tuple[float, ...], code: int
) -> None:
    """A sound sform is taken; the qform is spoken of where its code says that it counts."""
    volume = patient.images["flair"]
    image = nibabel.Nifti1Image(volume.array.transpose(), volume.affine)
    for axis, value in zip("bcd", quaternion, strict=True):
        image.header[f"quatern_{axis}"] = value
    image.header["qform_code"] = code
    nibabel.save(nibabel.Nifti1Image(volume.array.transpose(), None, image.header), tmp_path / "P_flair.nii.gz")
    case = read_case(tmp_path)
    np.testing.assert_allclose(case.images["flair"].affine, volume.affine, atol=1e-4)
    assert ["P_flair.nii.gz has a qform that is no rotation" in each for each in case.warnings] == [True] * code
    write_volume(case.images["flair"], tmp_path / "again.nii.gz")
    np.testing.assert_allclose(nibabel.load(tmp_path / "again.nii.gz").affine, volume.affine, atol=1e-4)


def test_images_of_a_case_among_others(tmp_path: Path, patient: Patient) -> None:
    put(patient, tmp_path / "A_flair.nii.gz")
    put(patient, tmp_path / "A2_flair.nii.gz")
    put(patient, tmp_path / "B" / "t1.nii.gz", "t1")
    assert find_images("A", (tmp_path / "A", tmp_path)) == {"flair": tmp_path / "A_flair.nii.gz"}
    assert find_images("B", (tmp_path / "B", tmp_path)) == {"t1": tmp_path / "B" / "t1.nii.gz"}
    assert find_images("C", (tmp_path / "C", tmp_path)) == {}


def test_a_sequence_that_covers_little_of_the_brain(patient: Patient) -> None:
    """Its header lost a shift: a warning says how much is left, and next to nothing is refused."""
    from BrainTumorSegLib.domain.case import Case
    from BrainTumorSegLib.domain.volume import Volume
    from BrainTumorSegLib.inference.pipeline import segment_case
    from Testing.samples import make_oracle

    flair = patient.images["flair"]
    brain = flair.array != 0
    covered = {}
    for voxels in (3, 12):
        affine = flair.affine.copy()
        affine[:3, 3] += affine[:3, 0] * voxels
        share = np.count_nonzero(brain[:, :, voxels:] & brain[:, :, :-voxels]) / np.count_nonzero(brain)
        covered[voxels] = Case("a", {**patient.images, "flair": Volume(flair.array, affine, "f.nii")}), share
    case, share = covered[3]
    assert 0.1 < share < 0.9
    assert f"FLAIR covers only {share:.0%} of the brain" in " ".join(segment_case(case, make_oracle()).warnings)
    case, share = covered[12]
    if share < 0.1:
        with pytest.raises(GeometryError, match="covers"):
            segment_case(case, make_oracle())


def test_names_of_folders_that_say_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModalityError, match="no file whose name"):
        find_case(tmp_path)


def test_a_flat_folder_of_several_patients(tmp_path: Path, patient: Patient) -> None:
    for name in ("A_t1", "A_flair", "A_seg", "B_t1", "B_flair", "AB_flair", "AB_t1"):
        put(patient, tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="holds 3 cases, such as A") as caught:
        find_case(tmp_path)
    assert f"--t1 {tmp_path / 'A_t1.nii.gz'}" in caught.value.remedy
    cases = {case.id: case for case in find_cases(tmp_path)}
    assert sorted(cases) == ["A", "AB", "B"]
    for name, case in cases.items():
        assert case.files == {word: tmp_path / f"{name}_{word}.nii.gz" for word in ("t1", "flair")}
        assert case.read().id == name and not case.problem
        assert list(case.left_out) == (["A_seg.nii.gz"] if name == "A" else [])
        assert tmp_path / "A_seg.nii.gz" in case.inputs
    expected = ["--t1", str(tmp_path / "B_t1.nii.gz"), "--flair", str(tmp_path / "B_flair.nii.gz")]
    assert cases["B"].arguments == expected


def test_what_concerns_a_patient_of_a_flat_folder(tmp_path: Path) -> None:
    """Files whose names begin with the whole word are spoken of; what no output may replace is held once for all."""
    for name in ("A_t1", "A_flair", "A_thick_seg", "A.mask", "Aé_seg", "A1_seg", "B_t1", "B_flair"):
        (tmp_path / f"{name}.nii.gz").touch()
    first, second = find_cases(tmp_path)
    assert sorted(first.left_out) == ["A.mask.nii.gz", "A_thick_seg.nii.gz"] and not second.left_out
    assert first.beside is second.beside and set(first.beside) == set(tmp_path.iterdir())


def test_patients_with_one_sequence_each_are_told_apart(tmp_path: Path, patient: Patient) -> None:
    for name in ("A", "B", "C"):
        put(patient, tmp_path / f"{name}_flair.nii.gz")
    assert [case.id for case in find_cases(tmp_path)] == ["A", "B", "C"]


@pytest.mark.parametrize(
    "names",
    [
        ("P1_t1ce", "P1_t1gd", "P1_flair"),
        ("P1_AX_T1_post", "P1_SAG_T1_post", "P1_flair"),
        ("P1_thick_t1ce", "P1_t1ce", "P1_flair", "P1_t2"),
        ("t1ce", "thick_t1ce", "flair"),
        ("5_t1ce", "6_t1ce", "7_flair"),
        ("sub-1_ce-gd_run-1_T1w", "sub-1_ce-gd_run-2_T1w", "sub-1_FLAIR"),
    ],
)
def test_two_files_for_a_sequence_of_one_patient(tmp_path: Path, patient: Patient, names: tuple[str, ...]) -> None:
    folder = tmp_path / "P"
    for name in names:
        put(patient, folder / f"{name}.nii.gz")
    put(patient, tmp_path / "Q" / "flair.nii.gz")
    with pytest.raises(ModalityError, match="look like T1ce") as caught:
        find_case(folder)
    wrong, right = find_cases(tmp_path)
    assert (wrong.id, wrong.problem, right.id, right.problem) == ("P", str(caught.value), "Q", "")
    with pytest.raises(ModalityError, match="look like T1ce"):
        wrong.read()


def test_a_clash_in_a_flat_folder_concerns_its_patient_only(tmp_path: Path, patient: Patient) -> None:
    for name in ("A_t1ce", "A_t1gd", "A_flair", "B_t1ce", "B_flair"):
        put(patient, tmp_path / f"{name}.nii.gz")
    first, second = find_cases(tmp_path)
    assert "A_t1gd" in first.problem and (second.id, second.problem) == ("B", "")


def test_cases_of_one_name_in_different_folders(tmp_path: Path, patient: Patient) -> None:
    for place in ("HGG/A", "LGG/A", "LGG/B"):
        put(patient, tmp_path / place / "flair.nii.gz")
    assert [case.id for case in find_cases(tmp_path)] == ["HGG_A", "LGG_A", "B"]


def test_an_image_beside_the_folders_of_patients_hides_none(tmp_path: Path, patient: Patient) -> None:
    root = tmp_path / "study"
    for name in ("atlas_T1", "A/flair", "B/flair", "B/derived/flair"):
        put(patient, root / f"{name}.nii.gz")
    assert [case.id for case in find_cases(root)] == ["study", "A", "B"]


def test_a_decathlon_data_set(tmp_path: Path, patient: Patient) -> None:
    root = tmp_path / "Task01_BrainTumour"
    for folder, names in (("imagesTr", ("BRATS_001", "BRATS_002")), ("imagesTs", ("BRATS_485",)), ("labelsTr", ())):
        (root / folder).mkdir(parents=True)
        for name in names:
            write_decathlon(root / folder / f"{name}.nii.gz")
            (root / folder / f"._{name}.nii.gz").write_bytes(b"x")
    put(patient, root / "labelsTr" / "BRATS_001.nii.gz")
    with pytest.raises(InputError, match="2 cases in imagesTr and 1 case in imagesTs") as caught:
        find_case(root)
    assert "BRATS_001.nii.gz" in caught.value.remedy
    cases = find_cases(root)
    assert [case.id for case in cases] == ["BRATS_001", "BRATS_002", "BRATS_485"]
    assert cases[2].arguments == [str(root / "imagesTs" / "BRATS_485.nii.gz")]
    np.testing.assert_array_equal(cases[0].read().images["t2"].array, patient.images["t2"].array)
    assert find_case(root / "imagesTs").id == "BRATS_485"
    assert [case.id for case in find_cases(root / "imagesTr")] == ["BRATS_001", "BRATS_002"]
