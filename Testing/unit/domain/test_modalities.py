from __future__ import annotations

from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import ModalityError
from BrainTumorSegLib.domain.modalities import assign, from_name, is_image, reference_of, stem

SPELLINGS = {
    "t1": ["t1", "t1n", "t1w", "t1_pre", "T1-Pre"],
    "t1ce": ["t1c", "t1ce", "t1gd", "t1post", "t1_post", "t1km", "T1_KM", "t1-gd", "T1 CE", "t1_c"],
    "t2": ["t2", "t2w"],
    "flair": ["t2f", "flair", "fla", "T2_FLAIR", "t2-flair"],
}
CASES = [(name, modality) for modality, names in SPELLINGS.items() for name in names]


@pytest.mark.parametrize(("name", "modality"), CASES)
@pytest.mark.parametrize("form", ["{}.nii.gz", "BraTS-GLI-00001-000-{}.nii.gz", "P 7_{}.nrrd", "{}", "sub-01_{}.MHA"])
def test_spellings(name: str, modality: str, form: str) -> None:
    for spelled in (name, name.upper(), name.lower()):
        assert from_name(form.format(spelled)) == modality


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("BraTS-GLI-00001-000-t1c.nii.gz", "t1ce"),
        ("BraTS-GLI-00001-000-t1n.nii.gz", "t1"),
        ("BraTS-GLI-00001-000-t2f.nii.gz", "flair"),
        ("BraTS-GLI-00001-000-t2w.nii.gz", "t2"),
        ("BraTS20_Training_001_t1ce.nii", "t1ce"),
        ("BraTS2021_00000_flair.nii.gz", "flair"),
        ("sub-01_T1w.nii.gz", "t1"),
        ("UPENN-GBM-00001_11_T1GD.nii.gz", "t1ce"),
        ("UPENN-GBM-00001_11_FLAIR.nii.gz", "flair"),
        ("patient.1 T1", "t1"),  # a node's name: what follows the dot is no suffix
        ("T1_study_flair", "flair"),  # the last word decides
        ("sub-01_ce-gadolinium_T1w.nii.gz", "t1ce"),  # BIDS
        ("sub-01_ses-2_ce-gd_run-1_T1w.nii.gz", "t1ce"),
        ("sub-01_ce-none_T1w.nii.gz", "t1"),
        ("sub-01_ce-gadolinium_FLAIR.nii.gz", "flair"),
        ("sub-ce_T1w.nii.gz", "t1"),
        ("5: T1 MPRAGE SAG GD", "t1ce"),  # series descriptions of scanners
        ("AX T1 POST GAD", "t1ce"),
        ("post-contrast T1", "t1ce"),
        ("T1 with contrast", "t1ce"),
        ("T1 without contrast", "t1"),
        ("T1_pre_contrast", "t1"),
        ("non-contrast T1", "t1"),
        ("postop_GD_12_t1.nii.gz", "t1"),  # initials, not an agent
        ("post-op_12_t1.nii.gz", "t1"),
        ("12345.nii.gz", None),
        ("adt1x.nii.gz", None),
        ("BraTS2021_00000_seg.nii.gz", None),
        ("T1-cohort_007_seg.nii.gz", None),
        ("T1-cohort_007-SEG.nii.gz", None),
        ("P1_t1_mask.nii.gz", None),
        ("", None),
    ],
)
def test_names(name: str, modality: str | None) -> None:
    assert from_name(name) == modality


def test_two_files_for_one_modality_are_refused() -> None:
    with pytest.raises(ModalityError) as caught:
        assign([Path("a_t1ce.nii.gz"), Path("a_t1gd.nii.gz"), Path("a_t2.nii.gz")])
    assert "a_t1ce.nii.gz" in str(caught.value) and "a_t1gd.nii.gz" in str(caught.value)
    assert "--t1ce" in caught.value.remedy


def test_assignment_is_in_canonical_order_and_leaves_others_out() -> None:
    found = assign([Path("a_flair.nii"), Path("a_seg.nii"), Path("a_t1.nii"), Path("notes.nii"), Path("a_t2.nii")])
    assert list(found) == ["t1", "t2", "flair"]
    assert found["t1"] == Path("a_t1.nii")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b.nii.gz", "b"), ("b.NII.GZ", "b"), ("b.nrrd", "b"), ("b.c.mha", "b.c"), ("b.png", "b"), ("b", "b")],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected


def test_images_by_suffix() -> None:
    assert all(map(is_image, ("a.nii", "a.nii.gz", "A.NII.GZ", "a.nrrd", "a.mha", "a.mhd", "a.nhdr")))
    assert not any(map(is_image, ("a.gz", "a.png", "a.nii.gz.part", "a.dcm", "a")))


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        (("t1", "t1ce", "t2", "flair"), "t1ce"),
        (("t1", "t2", "flair"), "t1"),
        (("t2", "flair"), "flair"),
        (("t2",), "t2"),
    ],
)
def test_the_reference_is_the_first_of_t1ce_t1_flair_t2(given: tuple[str, ...], reference: str) -> None:
    assert reference_of(given) == reference
    assert reference_of(reversed(given)) == reference
