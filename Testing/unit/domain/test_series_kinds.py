"""What tags of DICOM series say, in the words of scanners."""

from __future__ import annotations

import pytest

from BrainTumorSegLib.domain.modalities import recognise
from BrainTumorSegLib.domain.series_kinds import other_kind

T1 = {"EchoTime": "9", "RepetitionTime": "550"}
T2 = {"EchoTime": "95", "RepetitionTime": "5000"}
FLAIR = {"EchoTime": "120", "RepetitionTime": "9000", "InversionTime": "2500"}


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"SeriesDescription": "3-Plane Localizer"}, "localiser"),
        ({"SeriesDescription": "AAHScout", "ImageType": "ORIGINAL\\PRIMARY\\M\\NORM\\LOCALIZER"}, "localiser"),
        ({"SeriesDescription": "Survey"}, "localiser"),
        ({"SeriesDescription": "ASSET calibration"}, "calibration"),
        ({"SeriesDescription": "TOF_3D_multi-slab"}, "angiogram"),
        ({"SeriesDescription": "3D", "ImageType": "ORIGINAL\\PRIMARY\\TOF\\VASCULAR"}, "angiogram"),
        ({"SeriesDescription": "3D gre", "AngioFlag": "Y"}, "angiogram"),
        ({"SeriesDescription": "ep2d_diff_3scan_trace_p2_ADC"}, "diffusion"),
        ({"SeriesDescription": "Ax b", "ImageType": "DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\ND"}, "diffusion"),
        ({"SeriesDescription": "AX T2", "DiffusionBValue": "1000"}, "diffusion"),
        ({"SeriesDescription": "PERF DSC t1"}, "perfusion"),
        ({"SeriesDescription": "relCBV", "ImageType": "DERIVED\\PRIMARY\\PERFUSION\\RCBV"}, "perfusion"),
        ({"SeriesDescription": "t2_swi_tra"}, "susceptibility"),
        ({"SeriesDescription": "3D AX", "ImageType": "ORIGINAL\\PRIMARY\\M\\SWI\\NORM"}, "susceptibility"),
        ({"SeriesDescription": "Pha_Images", "ImageType": "ORIGINAL\\PRIMARY\\P\\ND"}, "phase"),
        ({"SeriesDescription": "t1 tra SUB", "ImageType": "DERIVED\\SECONDARY\\SUB"}, "subtraction"),
        ({"SeriesDescription": "t1_mprage_sag", "ImageType": "DERIVED\\SECONDARY\\MPR\\CSA MPR"}, "reformat"),
        ({"SeriesDescription": "t1_mprage_MPR_tra"}, "reformat"),
        ({"SeriesDescription": "t1_mpr_sag_MPR_tra"}, "reformat"),
        ({"SeriesDescription": "t1_mpr_sag_p2_iso", "ImageType": "DERIVED\\SECONDARY\\MPR\\CSA MPR"}, "reformat"),
        ({"SeriesDescription": "T1 AX", "ImageType": "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE"}, "reformat"),
        ({"SeriesDescription": "MIP", "ImageType": "DERIVED\\PRIMARY\\PROJECTION IMAGE\\MIP"}, "projection"),
        ({"SeriesDescription": "T1 map"}, "map"),
        ({"SeriesDescription": "MOLLI", "ImageType": "DERIVED\\PRIMARY\\T1 MAP\\ND"}, "map"),
        ({"SeriesDescription": "t2_fl2d_tra"}, "something else"),
        ({"SeriesDescription": "T2 SAG", "BodyPartExamined": "CSPINE"}, "cspine"),
        ({"SeriesDescription": "AX", "ScanningSequence": "EP\\SE"}, "echo-planar"),
        ({"SeriesDescription": "t2_tirm_cor", "EchoTime": "60", "InversionTime": "160"}, "STIR"),
        ({"SeriesDescription": "AX PD+T2", "EchoTime": "15", "RepetitionTime": "3000"}, "proton density"),
    ],
)
def test_series_that_are_none_of_the_four(tags: dict[str, str], kind: str) -> None:
    assert kind in other_kind({**T1, **tags})
    assert recognise("", {**T1, **tags}) is None


@pytest.mark.parametrize(
    ("tags", "modality"),
    [
        ({**T1, "SeriesDescription": "t1_se_tra", "ImageType": "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D"}, "t1"),
        ({**T1, "SeriesDescription": "t1_se_tra", "ImageType": "DERIVED\\PRIMARY\\OTHER"}, "t1"),
        ({**T1, "SeriesDescription": "AX T1", "BodyPartExamined": "HEAD"}, "t1"),
        ({**T1, "SeriesDescription": "t1_mpr_sag_p2_iso"}, "t1"),
        ({**T1, "SeriesDescription": "t1_mpr_ns_sag_p2_iso_KM"}, "t1ce"),
        ({**T1, "SeriesDescription": "T1 MPR Gd"}, "t1ce"),
        ({**T1, "SeriesDescription": "AX T1 W/O CONTRAST", "ContrastBolusAgent": "Gadovist"}, "t1"),
        ({"SeriesDescription": "MPRAGE", "EchoTime": "3", "RepetitionTime": "2300", "InversionTime": "900"}, "t1"),
        ({**T1, "SeriesDescription": "sag", "ProtocolName": "T1 post Gd"}, "t1ce"),
        # A T1 by its times, however it is called: its fluid is dark since its inversion time is short.
        ({"SeriesDescription": "Ax T1 FLAIR", "EchoTime": "22", "InversionTime": "860"}, "t1"),
        ({**FLAIR, "SeriesDescription": "t2_tirm_tra_dark-fluid"}, "flair"),
        ({**FLAIR, "SeriesDescription": "t2_space_sag"}, "flair"),
        ({**T2, "SeriesDescription": "t2_tse_tra"}, "t2"),
        ({**T2, "SeriesDescription": "AX"}, "t2"),
        ({"SeriesDescription": "t2_tirm_cor", "EchoTime": "60"}, "flair"),
    ],
)
def test_series_that_are_one_of_the_four(tags: dict[str, str], modality: str) -> None:
    assert other_kind(tags) == ""
    known = recognise("", tags)
    assert known is not None and known.modality == modality and known.reason
