from __future__ import annotations

from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import ModalityError
from BrainTumorSegLib.domain.modalities import (
    assign,
    case_of_segmentation,
    case_of_sequence,
    from_name,
    recognise,
    reference_of,
    stem,
)

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


REAL_NAMES = {
    "flair": [
        "t2_tirm_tra_dark-fluid", "t2_tirm_tra_da-fl", "t2_space_dark-fluid_sag_p2_iso", "T2 TIRM", "Ax FLAIR T2",
        "FLAIR_reg_to_T1c.nii.gz", "FL_to_SRI.nii.gz", "P1_FLAIR_coreg_T1c.nii.gz", "FLAIR_to_SRI_brain.nii.gz",
        "3D FLAIR +C", "AX T2 FLAIR FS", "UCSF-PDGM-0004_FLAIR.nii.gz", "sub-01_acq-gd_FLAIR.nii.gz",
        "AXIAL_FLAIR_RF2_150", "BraTS-MET-00001-000-t2f.nii.gz", "T1_study_flair", "t2_da-fl",
    ],
    "t1ce": [
        "T1 GADO", "T1_MDC", "T1 +C", "T1+C", "AX T1 C+", "T1 CON CONTRASTE", "t1_mprage_Gadovist", "T1 Dotarem tra",
        "T1_Magnevist", "T1 ProHance", "T1 MultiHance", "T1 Omniscan", "T1_Clariscan", "T1 Vueway", "GADO T1 SE",
        "sub-01_acq-gd_T1w.nii.gz", "sub-01_ses-2_acq-mprageGd_T1w.nii.gz", "T1CE_to_SRI.nii.gz", "T1 Gadobutrol",
        "Gadolinium T1w", "T1c_reg_to_FLAIR.nii.gz", "T1 +Gd", "t1_tse_km", "UCSF-PDGM-0004_T1c.nii.gz",
        "t1_mpr_ns_sag_p2_iso_KM", "T1 MPR Gd", "AX T1 W/ CONTRAST", "AX T1 W/WO CONTRAST", "T1-Gd-P1", "P1 - T1 - Gd",
        "sub-01_ce-gadavist_T1w.nii.gz", "T1 SE MDC TRA", "MPRAGE GD", "Ax FSPGR +C", "VIBE post", "Ax T1 FLAIR +C",
    ],
    "t1": [
        "T1 sin contraste", "T1 senza mdc", "T1 ohne KM", "T1_sans_gado", "T1_to_SRI.nii.gz", "T1_star_vibe", "T1 GRE",
        "T1_reg_to_T1c.nii.gz", "sub-01_acq-mprage_T1w.nii.gz", "t1_fl2d_tra", "T1 prior to contrast",
        "t1_tirm_tra", "Nguyen_To_t1.nii.gz", "Ax T1 FLAIR", "Sag MPRAGE", "3D BRAVO", "t1_flair_tra",
        "AX T1 W/O CONTRAST", "T1 WO CONTRAST", "SAG T1 W/O GAD", "T1 minus contrast", "T1_c-", "T1_Gd-", "AX T1 C-",
        "AX_T1_W_O_CONTRAST.nii.gz", "AX T1W/O CONTRAST", "T1 w\\o contrast", "AX T1 -C", "T1 W/O IV CONTRAST",
        "T1 without gadolinium contrast", "t1_mpr_sag_p2_iso",
    ],
    "t2": ["T2_to_SRI.nii.gz", "t2_tse_tra_512", "T2 TSE AX", "T2w_reg_to_T1.nii.gz", "P1_T2_brain.nii.gz", "t2_vibe"],
    None: [
        "T2_star", "T2star", "T2*", "AX T2* GRE", "t2_fl2d_hemo", "T2_SWI", "SWI", "SWI_T2", "T1_map", "T2_map", "ADC",
        "T2_ADC", "P1_t1_seg.nii.gz", "P1_t1_segm.nii", "P1_flair_pred.nii.gz", "sub-01_T1w_dseg.nii.gz",
        "sub-01_FLAIR_lesion.nii.gz", "P1_t1_roi.nii.gz", "P1-t1-label.nrrd", "P1_t2_mask_v2.nii.gz",
        "W39_1998.09.19_Segm.nii", "T1.seg.nrrd", "DWI_to_T1.nii.gz", "T1 subtraction", "mask_T1.nii.gz",
        "MPRAGE map", "P1_mprage_seg.nii.gz", "P1_t1ce tumour ET probability", "P1_flair_prob.nii.gz",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "modality"), [(n, m) for m, names in REAL_NAMES.items() for n in names])
def test_names_that_hospitals_and_data_sets_give(name: str, modality: str | None) -> None:
    assert from_name(name) == modality


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("P1_seg.nii.gz", "P1"),
        ("P1-seg.nii.gz", "P1"),
        ("P1.seg.nrrd", "P1"),
        ("W39_1998.09.19_Segm.nii", "W39_1998.09.19"),
        ("P1-Segmentation.nii.gz", "P1"),
        ("P1_t1_mask.nii.gz", None),  # a mask of the brain is no expert's segmentation
        ("P1_segment2_t1.nii.gz", None),
    ],
)
def test_one_rule_for_names_of_segmentations(name: str, case: str | None) -> None:
    assert case_of_segmentation(name) == case


SHORT = {"EchoTime": "20", "RepetitionTime": "28"}  # SWI's, and within what a T1 has


def known(name: str, tags: dict[str, str]) -> tuple[str, str]:
    found = recognise(name, tags)
    assert found is not None
    return found.modality, found.agent


@pytest.mark.parametrize(
    "text",
    [
        "SWI", "swi_tra", "T2*", "t2_fl2d_hemo", "AX T2 GRE", "T1 map", "ADC", "ep2d_diff_trace", "TOF 3D", "DWI b1000",
        "P1_t1_seg", "tumour mask", "T1 subtraction", "fieldmap",
    ],
)  # fmt: skip
def test_what_says_that_it_is_something_else_is_not_known_by_its_times(text: str) -> None:
    assert known("7", SHORT)[0] == "t1"
    assert recognise(text, SHORT) is None
    assert recognise("7", {**SHORT, "SeriesDescription": text}) is None
    assert recognise(text, {"EchoTime": "90", "RepetitionTime": "9000", "InversionTime": "2500"}) is None
    assert known("FLAIR", {**SHORT, "SeriesDescription": text})[0] == "flair"  # the name was given by hand


@pytest.mark.parametrize(
    ("agent", "modality"),
    [
        ("Gadovist", "t1ce"), ("10 ml", "t1ce"), ("NONE", "t1"), ("No", "t1"), ("without", "t1"), ("no contrast", "t1"),
        ("0", "t1"), ("N/A", "t1"), ("", "t1"), ("W/O", "t1"),
    ],
)  # fmt: skip
def test_an_agent_that_was_denied_is_none(agent: str, modality: str) -> None:
    tags = {**SHORT, "ContrastBolusAgent": agent}
    for name, given in (("7", tags), ("T1 MPRAGE", tags), ("7", {**tags, "SeriesDescription": "T1 MPRAGE"})):
        assert known(name, given) == (modality, agent if modality == "t1ce" else "")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("BraTS-GLI-00001-000-t1c.nii.gz", "BraTS-GLI-00001-000"),
        ("UPENN-GBM-00001_11_T1GD_unstripped.nii.gz", "UPENN-GBM-00001_11"),
        ("P1_FLAIR_to_T1c.nii.gz", "P1"),
        ("sub-01_ses-2_ce-gd_run-1_T1w.nii.gz", "sub-01_ses-2"),
        ("P 7_AX_T1_post.nrrd", "P 7"),
        ("T1-cohort_007_t2.nii", "T1-cohort_007"),
        ("P1_FL.nii.gz", "P1"),
        ("Müller_t1.nii.gz", "Müller"),
        ("AX T1 POST GAD", ""),
        ("flair.nii.gz", ""),
    ],
)
def test_the_case_that_the_name_of_a_sequence_begins_with(name: str, case: str) -> None:
    assert case_of_sequence(name) == case
