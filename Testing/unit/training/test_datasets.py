"""Where the patients of each layout lie, how they are split, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from Testing import samples
from Testing.training_data import make_patient, write_decathlon, write_recipe
from Training.datasets.brats import find_brats, find_cases
from Training.datasets.case import LabelledCase
from Training.datasets.kinds import FINDERS, find_data
from Training.datasets.split import read_split
from Training.recipe import load_recipe

NAMES = [f"P{number:02d}" for number in range(20)]


def same(case: LabelledCase, patient: samples.Patient) -> None:
    """The case as loaded holds the patient's images by modality and its labels."""
    loaded, labels = case.load(MODALITIES)
    assert set(loaded.images) == set(MODALITIES)
    for name in MODALITIES:
        assert np.array_equal(loaded.images[name].array, patient.images[name].array)
    assert np.array_equal(labels.array, patient.labels.array)


@pytest.mark.parametrize(
    ("style", "place"),
    [("brats2021", "HGG"), ("brats2021", "LGG"), ("brats2021", ""), ("brats2023", ""), ("brats2023", "training/2")],
)
def test_brats_layouts(tmp_path: Path, style: str, place: str) -> None:
    """2018 and 2019 have a folder a grade and label 4, 2021 no such folder, 2023 other names and label 3."""
    patient = make_patient(1)
    folder = samples.write_patient(tmp_path / place, patient, style=style)
    stored = read_volume(next(folder.glob("*seg.nii.gz"))).array
    assert stored.max() == (4 if style == "brats2021" else 3)
    cases = find_cases(tmp_path)
    assert list(cases) == [folder.name]
    same(cases[folder.name], patient)


def test_both_grades_are_found(tmp_path: Path) -> None:
    for grade, name in (("HGG", "Brats18_A_1"), ("LGG", "Brats18_B_1")):
        samples.write_patient(tmp_path / grade, case_id=name)
    samples.write_patient(tmp_path, case_id="unlabelled", labels=False)
    (tmp_path / "HGG" / "Brats18_A_1" / "._Brats18_A_1_seg.nii.gz").write_bytes(b"left by macOS")
    assert sorted(find_cases(tmp_path)) == ["Brats18_A_1", "Brats18_B_1"]


def test_the_odd_name_of_2020(tmp_path: Path) -> None:
    folder = samples.write_patient(tmp_path, case_id="BraTS20_Training_355")
    (folder / "BraTS20_Training_355_seg.nii.gz").rename(folder / "W39_1998.09.19_Segm.nii.gz")
    same(find_cases(tmp_path)["BraTS20_Training_355"], samples.make_patient())


def test_decathlon(tmp_path: Path) -> None:
    write_decathlon(tmp_path, 2)
    (tmp_path / "imagesTr" / "._BRATS_000.nii.gz").write_bytes(b"left by macOS")
    cases = find_cases(tmp_path)
    assert sorted(cases) == ["BRATS_000", "BRATS_001"]
    same(cases["BRATS_001"], make_patient(1))


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    for grade in ("HGG", "LGG"):
        samples.write_patient(tmp_path / grade, case_id="P1")
    with pytest.raises(RequestError, match=r"HGG.*P1_seg.* and .*LGG.*P1_seg"):
        find_cases(tmp_path)


def test_no_patient(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no labelled case"):
        find_cases(tmp_path)


def test_all_that_is_wrong_with_a_patient_is_named(tmp_path: Path) -> None:
    folder = samples.write_patient(tmp_path, case_id="P1")
    (folder / "P1_t1.nii.gz").write_bytes(b"no image")
    flair = read_volume(folder / "P1_flair.nii.gz")
    write_volume(flair.with_array(np.zeros_like(flair.array)), folder / "P1_flair.nii.gz")
    seg = read_volume(folder / "P1_seg.nii.gz")
    wrong = seg.array[:-1].copy()
    wrong[0, 0, 0] = 9
    write_volume(seg.with_array(wrong), folder / "P1_seg.nii.gz")
    with pytest.raises(InputError) as caught:
        find_cases(tmp_path)["P1"].load(MODALITIES)
    for part in ("P1_t1.nii.gz cannot be read", "P1_flair.nii.gz) is zero everywhere", "P1_seg.nii.gz has shape", "9"):
        assert part in str(caught.value)


def test_a_missing_sequence_is_named(tmp_path: Path) -> None:
    samples.write_patient(tmp_path, case_id="P1", modalities=("t1", "flair"))
    case = find_cases(tmp_path)["P1"]
    with pytest.raises(InputError, match=r"P1 holds no T1ce; .*P1 holds no T2\."):
        case.load(MODALITIES)
    assert case.load(("flair",))[0].modalities == ("t1", "flair")  # only what the recipe asks for must be there


@pytest.mark.parametrize(("shift", "refused"), [(0.01, False), (0.8, True)])
def test_a_segmentation_elsewhere_is_refused(tmp_path: Path, shift: float, refused: bool) -> None:
    """Rounding in the header is no other place."""
    folder = samples.write_patient(tmp_path, case_id="P1")
    seg = read_volume(folder / "P1_seg.nii.gz")
    affine = seg.affine.copy()
    affine[0, 3] += shift
    write_volume(Volume(seg.array, affine), folder / "P1_seg.nii.gz")
    case = find_cases(tmp_path)["P1"]
    if refused:
        with pytest.raises(InputError, match=r"P1_seg.nii.gz lies 0\.8 mm beside"):
            case.load()
    else:
        loaded, labels = case.load()
        assert np.array_equal(labels.affine, loaded.reference_volume.affine)


def test_a_random_fifth_validates(tmp_path: Path) -> None:
    split = read_split(tmp_path, NAMES, folds=5, fold=-1)
    assert len(split.validation) == 4
    assert split.monitoring == ()
    assert split.measured == split.validation
    assert sorted(split.training + split.validation) == NAMES
    assert read_split(tmp_path, NAMES[::-1], folds=5, fold=-1) == split  # whatever the order of the files


@pytest.mark.parametrize("stored", [False, True])
def test_folds_part_the_training_patients(tmp_path: Path, stored: bool) -> None:
    if stored:
        parts = {"train": NAMES[4:], "validation": NAMES[:3]}  # P03 is in neither
        (tmp_path / "split.json").write_text(json.dumps(parts))
    whole = read_split(tmp_path, NAMES, folds=5, fold=-1)
    splits = [read_split(tmp_path, NAMES, folds=5, fold=fold) for fold in range(5)]
    held_out = [name for split in splits for name in split.monitoring]
    assert sorted(held_out) == sorted(whole.training)  # each once
    for split in splits:
        assert split.validation == whole.validation
        assert sorted(split.training + split.monitoring) == sorted(whole.training)
        assert not set(split.training) & set(split.monitoring)
        assert not set(held_out) & set(split.validation)
        assert split.measured == split.monitoring
    if stored:
        assert whole.validation == tuple(NAMES[:3])
        assert "P03" not in whole.training


def test_fewer_patients_for_a_learning_curve(tmp_path: Path) -> None:
    whole = read_split(tmp_path, NAMES, folds=3, fold=0)
    few, more = (read_split(tmp_path, NAMES, folds=3, fold=0, training_patients=count) for count in (2, 4))
    assert (len(few.training), len(more.training)) == (2, 4)
    assert set(few.training) < set(more.training) <= set(whole.training)
    assert few.monitoring == more.monitoring == whole.monitoring and few.validation == whole.validation
    assert read_split(tmp_path, NAMES, folds=3, fold=0, training_patients=99) == whole


@pytest.mark.parametrize(
    ("stored", "expected"),
    [({}, ("P18", "P19")), ({"test": ["P05", "P04"]}, ("P04", "P05")), ({"test": []}, ())],
    ids=["folder", "named", "none"],
)
def test_the_test_patients_are_those_of_the_split_or_else_of_the_folder(
    tmp_path: Path, stored: dict[str, list[str]], expected: tuple[str, ...]
) -> None:
    """Of the folder only those whom the split does not use for something else."""
    (tmp_path / "split.json").write_text(json.dumps({"train": NAMES[8:18], "validation": NAMES[:3], **stored}))
    given = {"train": NAMES[:10], "validation": NAMES[10:17], "test": NAMES[17:]}
    split = read_split(tmp_path, NAMES, folds=5, fold=-1, given=given)
    assert split.part("test") == expected and split.validation == tuple(NAMES[:3])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["no split"]),
        ("[]", ["no split"]),
        ('{"train": ["P00"]}', ["no split", "validation"]),
        ('{"train": ["P00", "P01", "P90"], "validation": ["P01", "P00", "P91"]}', ["P00, P01", "P90, P91"]),
        ('{"train": ["P00", "P01"], "validation": ["P02"], "test": ["P01", "P92"]}', ["and test: P01", "P92"]),
        ('{"train": ["P00", "P01"], "validation": ["P02"], "test": ["P02"]}', ["validation and test: P02"]),
        ('{"train": ["P00", "P01"], "validation": ["P02"], "test": 3}', ["no split"]),
    ],
)
def test_a_wrong_split_is_refused_with_all_names(tmp_path: Path, content: str, words: list[str]) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(RequestError) as caught:
        read_split(tmp_path, NAMES, folds=5, fold=-1)
    assert all(word in str(caught.value) for word in ("split.json", *words))


@pytest.mark.parametrize(("count", "folds", "fold"), [(1, 5, -1), (2, 5, 0), (3, 5, 4)])
def test_too_few_patients(tmp_path: Path, count: int, folds: int, fold: int) -> None:
    with pytest.raises(RequestError, match="too few"):
        read_split(tmp_path, NAMES[:count], folds=folds, fold=fold)


def test_patient_355_of_brats_2020_is_found_under_its_odd_name(tmp_path: Path) -> None:
    patient = make_patient(1)
    folder = samples.write_patient(tmp_path, patient, case_id="BraTS20_Training_355")
    (folder / "BraTS20_Training_355_seg.nii.gz").rename(folder / "W39_1998.09.19_Segm.nii.gz")
    (case,) = find_brats(tmp_path).cases.values()
    np.testing.assert_array_equal(case.load()[1].array, patient.labels.array)


def test_one_convention_holds_for_all_label_maps(tmp_path: Path) -> None:
    """A map without ET is of either convention; the others decide, and 3 beside 4 decides nothing."""
    for seed, (name, style) in enumerate((("A", "brats2021"), ("B", "brats2021"))):
        samples.write_patient(tmp_path, make_patient(seed), case_id=name, style=style)
    assert find_brats(tmp_path).labels == "brats2021"
    samples.write_patient(tmp_path, make_patient(2), case_id="C", style="brats2023")
    with pytest.raises(RequestError, match="two ways") as caught:
        find_brats(tmp_path)
    assert "brats2024" in caught.value.remedy
    named = find_brats(tmp_path, "brats2024")
    assert named.labels == "brats2024" and not (named.cases["A"].load()[1].array == 3).any()  # 4 is the cavity there


def test_labels_of_the_decathlon_are_its_own(tmp_path: Path) -> None:
    """Nothing is assumed of them, so nothing is reported as decided."""
    write_decathlon(tmp_path, 1)
    for labels in ("auto", "decathlon"):
        found = find_brats(tmp_path, labels)
        assert not found.labels
        same(found.cases["BRATS_000"], make_patient(0))
    with pytest.raises(RequestError, match=r"Decathlon.*not brats2021"):
        find_brats(tmp_path, "brats2021")


@pytest.mark.parametrize("kind", sorted(FINDERS.keys() - {"brats"}))
def test_labels_that_a_kind_of_data_cannot_follow_are_refused(tmp_path: Path, kind: str) -> None:
    recipe = load_recipe(
        write_recipe(tmp_path / "r.toml", {"fold = 0": f'fold = 0\nkind = "{kind}"\nlabels = "brats2021"'})
    )
    with pytest.raises(RequestError, match=f"data.labels.*{kind}"):
        find_data(recipe, tmp_path)
