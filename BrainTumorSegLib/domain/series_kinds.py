"""What the tags of a DICOM series say it is, where that is none of the four sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .sequence_names import T2, from_name, is_something_else, words_of


class _Kind(NamedTuple):
    """A kind of series: in words, by values of Image Type (0008,0008), by words of the description."""

    title: str
    image_types: frozenset[str]
    words: frozenset[str]


def _kind(title: str, image_types: str, words: str) -> _Kind:
    return _Kind(title, frozenset(filter(None, image_types.split("|"))), frozenset(words.split()))


# Values as Siemens, GE and Philips write them. DERIVED alone says little: images are called so once they are corrected.
_KINDS = (
    _kind("a localiser", "LOCALIZER", "localizer localiser scout survey loc 3plane topogram"),
    _kind("calibration", "", "calibration cal asset shim fieldmap fmap"),
    _kind("an angiogram", "TOF|VASCULAR|ANGIO", "tof mra mrv angio venogram tricks twist pca"),
    _kind("diffusion", "DIFFUSION|ADC|TRACEW|FA|EADC", "dwi dti adc eadc trace tracew diff diffusion ep2d resolve"),
    _kind("perfusion", "PERFUSION|ASL|CBF|CBV|RCBV|RCBF|MTT|TTP|TMAX",
          "perfusion perf pwi dsc dce asl cbf cbv rcbf rcbv mtt ttp tmax"),
    _kind("susceptibility", "SWI|SWAN|MNIP|QSM", "swi swan hemo heme haemo swip qsm"),
    _kind("spectroscopy", "SPECTROSCOPY", "csi svs mrs spectroscopy"),
    _kind("functional imaging", "FMRI|MOSAIC|T_TEST", "bold fmri"),
    _kind("a phase image", "P|PHASE|PHASE MAP|I|IMAGINARY", "phase pha"),
    _kind("a map", "T1 MAP|T2 MAP|T1_MAP|T2_MAP|B0 MAP|B1|R2|T2_STAR MAP", "map maps mapping mapit t1map t2map"),
    _kind("derived from other series (a projection)", "PROJECTION IMAGE|MIP|MIN IP|MINIP", "mip minip"),
    _kind("derived from other series (a subtraction)", "SUBTRACTION|SUBTRACT|SUB", "subtraction sub subtracted"),
    _kind("derived from another series (a reformat)", "MPR|REFORMATTED|RESAMPLED", "mpr reformat reformatted recon"),
    _kind("derived from other series (a fusion)", "FUSED|ADDITION|COMPOSED", "fused fusion"),
)  # fmt: skip

# Parts of the body (0018,0015) whose images show no brain.
_BODY = (
    *("SPINE", "ABDOMEN", "CHEST", "THORAX", "PELVIS", "LIVER", "KIDNEY", "PROSTATE", "BREAST", "HEART", "KNEE", "HIP"),
    *("SHOULDER", "ANKLE", "FOOT", "HAND", "WRIST", "ELBOW", "EXTREMITY", "LEG", "ARM"),
)
# The inversion time (ms) that nulls fat, and the echo time from which such a series is no T1.
_FAT_NULLED, _LONG_ECHO = (80, 350), 25
# The shortest echo time (ms) of a T2.
_T2_ECHO = 40


def other_kind(tags: Mapping[str, str]) -> str:
    """What a series is that is none of the four sequences, in words; empty where its tags do not say so.

    Args:
        tags: values by keyword of DICOM, several of one tag joined by backslashes as there: ``SeriesDescription``,
            ``ImageType``, ``BodyPartExamined``, ``AngioFlag``, ``DiffusionBValue``, ``ScanningSequence``, ``EchoTime``,
            ``InversionTime``; those that are not known are left out.
    """
    description = tags.get("SeriesDescription", "")
    image_type = set(tags.get("ImageType", "").upper().split("\\"))
    words = set(_telling(words_of(description)))
    for kind in _KINDS:
        if kind.image_types & image_type or kind.words & words:
            return kind.title
    if is_something_else(description):
        return "something else by its description"
    if any(part in tags.get("BodyPartExamined", "").upper().split("\\")[0] for part in _BODY):
        return f"of the {tags['BodyPartExamined'].lower()}"
    if tags.get("AngioFlag", "").upper() == "Y":
        return "an angiogram"
    if tags.get("DiffusionBValue"):
        return "diffusion"
    if "EP" in tags.get("ScanningSequence", "").upper().split("\\"):
        return "echo-planar"
    inversion, echo = (number(tags.get(f"{name}Time")) or 0.0 for name in ("Inversion", "Echo"))
    if _FAT_NULLED[0] <= inversion <= _FAT_NULLED[1] and echo >= _LONG_ECHO:
        return "one with fat nulled by its inversion time (STIR)"
    if from_name(description) == T2 and 0 < echo < _T2_ECHO:
        return f"no T2 by its echo time of {echo:g} ms (proton density)"
    return ""


def _telling(words: Sequence[str]) -> list[str]:
    """Words without the ``mpr`` of ``t1_mpr_sag``, which is short for MPRAGE; the image type tells a reformat."""
    return [word for i, word in enumerate(words) if word != "mpr" or i == 0 or words[i - 1] not in ("t1", "t1w")]


def number(text: str | None) -> float | None:
    """The number that a tag holds; None where it holds none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
