"""How names of files, series and nodes spell the four sequences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

T1, T1CE, T2, FLAIR = "t1", "t1ce", "t2", "flair"
MODALITIES = (T1, T1CE, T2, FLAIR)

# What a node that was loaded from a file may still bear in its name.
_NODE_SUFFIX = re.compile(r"\.(?:nii|nii\.gz|nrrd|nhdr|mha|mhd)$")

_SPELLINGS: dict[str, tuple[str, ...]] = {
    T1: ("t1", "t1n", "t1w", "t1pre", "t1tirm", "t1flair"),
    T1CE: ("t1c", "t1ce", "t1gd", "t1post", "t1km", "t1wce", "ce_t1", "t1gado", "t1mdc", "cet1"),
    T2: ("t2", "t2w"),
    FLAIR: ("flair", "t2f", "fla", "t2flair", "flairt2", "flairt2w", "darkfluid", "dafl", "tirm", "t2tirm"),
}
# What stands for a sequence only where nothing else does: FL is FLAIR in FL_to_SRI, and FLASH in t1_fl_3d; techniques
# that weight by T1 are so called after other words too ("T2 VIBE").
_WEAK: dict[str, tuple[str, ...]] = {
    FLAIR: ("fl",),
    T1: ("mprage", "mp2rage", "bravo", "spgr", "fspgr", "vibe", "tfl3d"),
}

# Names of contrast agents, and what stands for one; behind a T1 as in "T1 MPRAGE Gd", and before it, where short ones
# may be initials. BIDS says it by an entity, as in sub-01_ce-gadolinium_T1w or sub-01_acq-gd_T1w.
_PRODUCTS = {
    *("gadovist", "gadavist", "dotarem", "clariscan", "magnevist", "magnograf", "prohance", "multihance", "omniscan"),
    *("optimark", "vueway", "elucirem", "primovist", "eovist", "vasovist", "artirem", "cyclolux"),
    *("gadobutrol", "gadoterate", "gadobenate", "gadodiamide", "gadoteridol", "gadopiclenol", "gadopentetate"),
}
_AGENT_BEFORE = _PRODUCTS | {"contrast", "contraste", "kontrast", "postcontrast", "gadolinium", "gado", "mdc"}
_AGENT_BEHIND = _AGENT_BEFORE | {"ce", "gd", "gad", "km", "post", "postgd", "postgad", "enhanced", "injected", "inj"}
_AGENT_DENIED = {
    *("pre", "no", "non", "none", "without", "wo", "minus", "before", "sans", "avant", "ohne", "vor", "sin", "senza"),
}
# What may stand between a denial and what it denies: "w/o IV contrast", "without gadolinium contrast".
_DENIED_WITH = _PRODUCTS | {"iv", "gd", "gad", "gado", "gadolinium"}
_NATIVE = _AGENT_DENIED | {"native", "nativ", "precontrast", "noncontrast", "unenhanced", "nc"}
_BIDS_AGENT = re.compile(r"(?:^|_)ce-([a-z0-9]+)")
_BIDS_ACQUISITION = re.compile(r"(?:^|_)acq-(?:ce|post|contrast|[a-z0-9]*?(?:gd|gad|gado|postcontrast))(?:_|$)")

# Signs that say it, and how programs that write files spell "w/o". "W/WO contrast" is of a protocol that has both.
_BOTH = re.compile(r"(?<![a-z0-9])w[ /\\_]+w[/\\_-]?o(?![a-z0-9])")
_GIVEN = re.compile(r"\+ ?(?=c\b|gd|km|gado)|(?<=c)\+(?= |_|$)")
_DENIED = re.compile(
    r"w[/\\]o(?![a-z0-9])|(?<![a-z0-9])w[_-]o(?![a-z0-9])"
    r"|(?<![a-z0-9])(?:c|gd)-(?=[ _]|$)|(?<= )-(?:c|gd)(?![a-z0-9])"
)

# A name that ends so is a label map or a mask, whatever its case is called.
# Before a sequence they make it a mask of it; others there are mostly names of patients or studies.
_BEFORE = {"mask", "masks", "brainmask"}
_MASKS = {"mask", "masks", "brainmask", "seg", "segm", "segmentation", "label", "labels"}
_NO_SEQUENCE = {
    *("seg", "segm", "segmentation", "segmented", "dseg", "aseg", "label", "labels", "labelmap", "gt"),
    *("mask", "masks", "brainmask", "roi", "lesion", "lesions", "pred", "prediction", "annotation", "overlay"),
}
# What is brought onto another stands before these words.
_ONTO = {"to", "onto"}
_COREGISTERED = {"reg", "coreg", "registered", "coregistered"}
# Label maps that say so at the end of their names: ``<case>_seg``, ``<case>-seg``, Slicer's ``<case>.seg``, and the
# ``_Segm`` of BraTS 2020's patient 355; in BIDS ``_dseg``, behind what else tells label maps of one session apart.
_SEGMENTATION = re.compile(r"(?:(?:^|[-_. ])seg(?:m|mentation)?|(?:_(?:space|desc)-[a-z0-9]+)*_dseg)$", re.IGNORECASE)
# Words beside a sequence's that make it something else: susceptibility, maps, diffusion.
_OTHERWISE = {
    *("swi", "swan", "hemo", "heme", "haemo", "map", "maps", "mapping", "mapit", "adc", "dwi", "mip"),
    *("perfusion", "perf", "dsc", "dce", "phase", "subtraction", "localizer", "localiser", "scout"),
    *("diffusion", "dti", "asl", "bold", "biasfield", "prob", "probs", "probability", "probabilities"),
}
# What stands between a patient's name and the sequence's, and tells of neither.
_ACQUISITION = re.compile(
    r"(?:^|[-_. :])(?:(?:ce|acq|run|rec|desc|part|echo|space|inv|res)-[a-z0-9]+|ax|axi|axial|tra|sag|sagittal|cor|"
    r"coronal|[23]d|iso|se|tse|fse|tfe|gre|ir|mprage|space|cube|vista|bravo|spgr|"
    + "|".join(sorted(_AGENT_BEHIND | _NATIVE))
    + r")$"
)
# Series that are none of the four by themselves, without a sequence's word beside them.
_OTHER_SERIES = {
    *("t2star", "t2starw", "tof", "mra", "mrv", "angio", "qsm", "fieldmap", "fmap", "trace", "tracew", "ep2d", "csi"),
    *("rcbv", "rcbf", "cbv", "cbf", "mtt", "ttp", "survey"),
}
# With these a T2 is a gradient echo, as a T1 is too, which stays a T1.
_T2_STAR = {"star", "gre", "fl2d", "fl3d", "ffe", "medic"}


def stem(path: Path | str) -> str:
    """File name without its suffix, which is double where the file is a gzip."""
    name = Path(path).name
    return Path(name[:-3] if name.lower().endswith(".gz") else name).stem


def is_segmentation(name: str) -> bool:
    """Whether a file or node name says that it is a label map or a mask."""
    return bool(words := _words(_bare(name))) and words[-1] in _NO_SEQUENCE


def case_of_segmentation(path: Path | str) -> str | None:
    """The case that a file is the segmentation of, by what its name ends with; None for other files and for masks.

    ``P1`` for ``P1_seg.nii.gz``, ``P1-seg.nii.gz``, ``P1.seg.nrrd`` and ``P1_Segm.nii``; of BIDS, ``sub-1_ses-1`` for
    ``sub-1_ses-1_space-orig_dseg.nii.gz``.
    """
    name = stem(path)
    return _SEGMENTATION.sub("", name) if _SEGMENTATION.search(name) else None


def denies_agent(name: str) -> bool:
    """Whether a name says that no contrast agent was given."""
    return any(word in _NATIVE for word in _words(_bare(name)))


def gives_agent(text: str) -> bool:
    """Whether a contrast agent's field in a header names one, and does not say "none"."""
    letters = re.sub(r"[^a-z]", "", text.lower())
    return letters not in ("", "na", "nil") and not _NATIVE & set(_words(text.lower()))


def words_of(name: str) -> list[str]:
    """The words of a name or description, in lower case."""
    return _words(_bare(name))


def is_something_else(name: str) -> bool:
    """Whether a name says that the image is none of the four, but, say, a label map, SWI or diffusion."""
    if from_name(name) is not None:
        return False
    words = set(_words(_bare(name)))
    t2_star = bool(words & _T2_STAR) and bool(words & {"t2", "t2w"})
    return is_segmentation(name) or t2_star or bool(words & (_OTHERWISE | _OTHER_SERIES | _MASKS))


def case_of_sequence(path: Path | str) -> str:
    """The case that an image's name begins with, up to the words of its sequence; empty where it begins with those.

    ``P1`` for ``P1_t1.nii.gz``, ``P1-AX_T1_post.nii`` and ``P1_FLAIR_to_T1c.nii.gz``; ``sub-01`` for
    ``sub-01_ce-gd_T1w.nii.gz``.
    """
    name = stem(path)
    found = list(re.finditer(r"[a-z0-9]+", name.lower()))
    words = [word[0] for word in found]
    places = (_place(part, spellings) for spellings in (_SPELLINGS, _WEAK) for part in _parts(words))
    begin = next((place[0] for place in places if place), 0)
    case = name[: found[begin].start()].rstrip("-_. :") if found else ""
    while acquisition := _ACQUISITION.search(case.lower()):
        case = case[: acquisition.start()].rstrip("-_. :")
    return case


def from_name(name: str) -> str | None:
    """The modality a file or node name speaks of, or None.

    The name is cut into words at anything but letters and digits; the last word (or pair of words) that
    spells a modality decides, because a name begins with the case and ends with the sequence. Of an image that was
    brought onto another (``FLAIR_reg_to_T1c``) what stands before ``to`` counts. Names of segmentations and masks speak
    of none, nor do those of maps and of susceptibility. A T1 is one with contrast agent (T1ce) where words around it
    say so.
    """
    bare = _bare(name)
    words = _words(bare)
    if not words or words[-1] in _NO_SEQUENCE:
        return None
    for spellings in (_SPELLINGS, _WEAK):
        for part in _parts(words):
            found = _spelt(bare, part, spellings)
            if found is not None:
                return found or None
    return None


def _bare(name: str) -> str:
    return _NODE_SUFFIX.sub("", name.lower())


def _words(bare: str) -> list[str]:
    """Words of a name; ``+C``, ``C-``, ``w/o`` and ``T2*`` say something by signs that are no letters."""
    spoken = _DENIED.sub(" without ", _BOTH.sub(" ", _GIVEN.sub(" contrast ", bare))).replace("*", " star ")
    return [word for word in re.split(r"[^a-z0-9]+", spoken) if word]


def _parts(words: list[str]) -> list[list[str]]:
    """The words to look at first, then the others: those before ``to``, then all."""
    ends = [i for i, word in enumerate(words) if i > 0 and (word in _ONTO or _is_onto(words, i))]
    if not ends:
        return [words]
    before = words[: ends[0]]
    return [before] if before[-1] in _OTHERWISE | _COREGISTERED else [before, words]


def _is_onto(words: Sequence[str], index: int) -> bool:
    """Whether a word says that the sequence right before it was registered to what follows: ``FLAIR_coreg_T1c``."""
    named = {spelling for spellings in _SPELLINGS.values() for spelling in spellings}
    return words[index] in _COREGISTERED and words[index - 1] in named


def _spelt(bare: str, words: Sequence[str], spellings: Mapping[str, tuple[str, ...]]) -> str | None:
    """The modality that words spell; empty where the last one that they spell is something else."""
    place = _place(words, spellings)
    if place is None:
        return None
    begin, end, modality = place
    if _is_otherwise(modality, words, begin, end):
        return ""
    return T1CE if modality == T1 and _tells_of_agent(bare, words, begin, end) else modality


def _place(words: Sequence[str], spellings: Mapping[str, tuple[str, ...]]) -> tuple[int, int, str] | None:
    """Begin and end of the last words that spell a modality, and which."""
    for end in range(len(words), 0, -1):
        for length in (2, 1):
            begin = max(end - length, 0)
            for modality, known in spellings.items():
                if "".join(words[begin:end]) in known:
                    return begin, end, modality
    return None


def _is_otherwise(modality: str, words: Sequence[str], begin: int, end: int) -> bool:
    """Whether words behind those from ``begin`` to ``end``, or right before them, make the sequence another one."""
    around = {*words[end:], *words[max(begin - 1, 0) : begin]}
    if (begin and words[begin - 1] in _BEFORE) or _MASKS & set(words[end:]):
        return True
    return bool(around & _OTHERWISE) or (modality == T2 and bool(around & _T2_STAR))


def _tells_of_agent(name: str, words: Sequence[str], begin: int, end: int) -> bool:
    """Whether a name, or the words around those from ``begin`` to ``end`` that spell T1, tell of contrast agent."""
    entity = _BIDS_AGENT.search(name)
    if (entity and entity[1] not in _AGENT_DENIED) or _BIDS_ACQUISITION.search(name):
        return True
    for i, word in enumerate(words):
        telling = _AGENT_BEFORE if i < begin else _AGENT_BEHIND if i >= end else ()
        if word in telling and not _is_denied(words[:i]):
            return True
    return False


def _is_denied(before: Sequence[str]) -> bool:
    """Whether the words before that of an agent say that there was none."""
    spoken = [word for word in before if word not in _DENIED_WITH]
    return bool(spoken) and spoken[-1] in _AGENT_DENIED
