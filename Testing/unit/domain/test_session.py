from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib.domain.modalities import recognise
from BrainTumorSegLib.domain.session import Candidate, Origin, Session, choose_session, mixed

SEQUENCES = ("T1", "T1 post", "T2", "FLAIR")


def image(name: str, study: str = "", date: str = "", patient: str = "", size: float = 1.0, **more: Any) -> Candidate:
    """An image of thick or thin slices, known by its name."""
    origin = Origin(patient, study, date, f"study {study}" if study else "", more.pop("time", ""))
    return Candidate(name, name, recognise(name, more.pop("tags", None)), origin, (size, 0.9, 0.9), **more)


def study(name: str, date: str, sequences: tuple[str, ...] = SEQUENCES, patient: str = "P") -> list[Candidate]:
    return [image(f"{sequence} {name}", name, date, patient) for sequence in sequences]


def names(session: Session) -> dict[str, str]:
    return {modality: each.name for modality, each in session.chosen.items()}


def reasons(session: Session) -> dict[str, str]:
    return {each.name: reason for each, reason in session.left_out}


def test_nothing_is_recognised() -> None:
    found = choose_session([image("localizer"), image("image", unusable="")])
    assert not found.chosen
    assert not found.warnings
    assert set(reasons(found)) == {"localizer", "image"}


def test_of_two_complete_studies_the_latest() -> None:
    for order in (1, -1):
        found = choose_session([*study("a", "20180301"), *study("b", "20190506")][::order])
        assert names(found) == {"t1": "T1 b", "t1ce": "T1 post b", "t2": "T2 b", "flair": "FLAIR b"}
        assert reasons(found) == {f"{name} a": "of another study (2018-03-01)" for name in SEQUENCES}
        assert not found.warnings


def test_the_most_complete_study_and_that_a_later_one_holds_less() -> None:
    found = choose_session([*study("a", "20180301"), *study("b", "20190506", ("T1 post", "FLAIR"))])
    assert all(name.endswith(" a") for name in names(found).values())
    assert reasons(found)["FLAIR b"] == "of another study (2019-05-06)"
    (warning,) = found.warnings
    assert "2019-05-06" in warning
    assert "T1ce and FLAIR only" in warning


def test_sequences_of_another_day_or_patient_never_fill_a_gap() -> None:
    main = study("a", "20180301", ("T1", "T1 post", "T2"))
    others = [image("FLAIR b", "b", "20190506", "P"), image("FLAIR c", "c", "20180301", "Q")]
    found = choose_session([*others, *main])
    assert "flair" not in found.chosen
    assert reasons(found)["FLAIR c"] == "of another patient (Q)"


def test_a_study_of_the_same_day_fills_a_gap_and_says_so() -> None:
    found = choose_session([*study("a", "20180301", ("T1", "T1 post", "T2")), image("FLAIR b", "b", "20180301", "P")])
    assert names(found)["flair"] == "FLAIR b"
    assert len(found.warnings) == 1
    assert "2 studies" in found.warnings[0]


def test_an_image_that_tells_nothing_fills_a_gap_and_is_named() -> None:
    found = choose_session([*study("a", "20180301", ("T1", "T1 post", "T2")), image("FLAIR"), image("T2")])
    assert names(found)["flair"] == "FLAIR"
    assert reasons(found) == {"T2": "a second T2; T2 a is of the study itself"}
    assert "FLAIR (FLAIR)" in found.warnings[0]


def test_by_names_alone_one_case_is_chosen() -> None:
    """Two cases of a public data set, loaded from files."""
    found = choose_session([image(f"{case}_{name}") for case in ("P1", "P2") for name in ("t1", "t1ce", "flair")])
    assert set(names(found).values()) == {"P1_t1", "P1_t1ce", "P1_flair"}
    assert reasons(found)["P2_flair"] == "of another case"
    more = choose_session([image("P1_t1"), image("P1_flair"), *(image(f"P2_{n}") for n in ("t1", "t2", "flair"))])
    assert set(names(more).values()) == {"P2_t1", "P2_t2", "P2_flair"}


@pytest.mark.parametrize("place", ["{case}/{name}.nii.gz", "{case}/{name}/image.nii.gz"])
def test_by_folders_where_the_names_of_two_cases_are_the_same(place: str) -> None:
    """The thinner T1 of one is none for the other, which lacks nothing; nor does it fill a gap."""

    def case(which: str, *sequences: str, size: float = 1.0) -> list[Candidate]:
        return [
            image(f"{name} {which}", size=size, file=Path("data", place.format(case=which, name=name)))
            for name in sequences
        ]

    found = choose_session([*case("P1", "T1", "FLAIR", size=0.5), *case("P2", "T1", "T1ce", "FLAIR")])
    assert set(names(found).values()) == {"T1 P2", "T1ce P2", "FLAIR P2"}
    assert reasons(found)["T1 P1"] == "of another case"
    lacking = choose_session([*case("P1", "T2", "FLAIR"), *case("P2", "T1", "T1ce", "FLAIR")])
    assert set(names(lacking).values()) == {"T1 P2", "T1ce P2", "FLAIR P2"}


@pytest.mark.parametrize("folders", [("a", "a", "a"), ("a", "b", "c"), ("a", "a", "b")])
def test_folders_tell_nothing_where_no_sequence_is_there_twice(folders: tuple[str, ...]) -> None:
    """A folder a sequence, as converters make it."""
    given = zip(("T1", "T1ce", "FLAIR"), folders, strict=True)
    found = choose_session([image(name, file=Path(folder, f"{name}.nii")) for name, folder in given])
    assert set(names(found).values()) == {"T1", "T1ce", "FLAIR"}


def test_images_of_the_same_name_are_two() -> None:
    found = choose_session([image("T1", size=5), image("T1", size=1)])
    assert found.chosen["t1"].spacing[0] == 1
    assert reasons(found) == {"T1": "a second T1; T1 has thinner slices"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_surer_then_the_finer_image_of_a_sequence(order: int) -> None:
    timing = {"EchoTime": "100", "RepetitionTime": "4000"}
    guessed = image("7", "a", "20180301", size=1, tags=timing)
    thick = image("T2 tra", "a", "20180301", size=5)
    thin = image("T2 space", "a", "20180301", size=1)
    found = choose_session([guessed, thick, thin][::order])
    assert names(found) == {"t2": "T2 space"}
    assert reasons(found) == {
        "7": "a second T2; T2 space is surer",
        "T2 tra": "a second T2; T2 space has thinner slices",
    }


def test_of_equals_the_first() -> None:
    found = choose_session([image("T2 one", "a"), image("T2 two", "a")])
    assert names(found) == {"t2": "T2 one"}
    assert reasons(found) == {"T2 two": "a second T2; T2 one came first"}


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        ({"fault": "lacks slices"}, "is sound, since this one lacks slices"),
        ({"reach_mm": 60.0, "time": "120000"}, "covers the head"),
        ({"derived": True, "time": "120000"}, "is an original"),
        ({"size": 5, "time": "120000"}, "has thinner slices"),
        ({"time": "090000.5"}, "was acquired later"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_what_decides_between_images_of_a_sequence(worse: dict[str, Any], reason: str, order: int) -> None:
    better: dict[str, Any] = {"reach_mm": 150.0, "time": "100000"}
    one, other = image("T2 one", "a", "20180301", **better), image("T2 other", "a", "20180301", **(better | worse))
    found = choose_session([one, other][::order])
    assert names(found) == {"t2": "T2 one"}
    assert reasons(found) == {"T2 other": f"a second T2; T2 one {reason}"}


@pytest.mark.parametrize("native", ["AX T1 W/O CONTRAST", "T1 WO CONTRAST", "T1_c-"])
def test_a_native_image_is_never_that_with_contrast_agent(native: str) -> None:
    found = choose_session([image(native, "a", size=1), image("AX T1 W/ CONTRAST", "a", size=5)])
    assert names(found) == {"t1": native, "t1ce": "AX T1 W/ CONTRAST"}
    assert names(choose_session([image(native, "a")])) == {"t1": native}


def test_a_faulty_image_is_chosen_where_there_is_no_other_but_counts_for_no_study() -> None:
    broken = image("T2 a", "a", "20190506", fault="lacks slices")
    assert names(choose_session([broken])) == {"t2": "T2 a"}
    found = choose_session([broken, image("T1 a", "a", "20190506"), *study("b", "20180301", ("T1", "T2"))])
    assert names(found) == {"t1": "T1 b", "t2": "T2 b"}


def test_a_study_that_is_settled_is_not_chosen_anew() -> None:
    found = choose_session([*study("a", "20180301", ("T1",)), *study("b", "20190506")], study="a")
    assert names(found) == {"t1": "T1 a"}


def test_what_cannot_be_an_input_is_none_whatever_it_is_called() -> None:
    found = choose_session([image("FLAIR", unusable="made by a run"), image("FLAIR thick", size=6)])
    assert names(found) == {"flair": "FLAIR thick"}
    assert reasons(found) == {"FLAIR": "made by a run"}


EARLIER, LATER = Origin("A", "x", "20180301"), Origin("A", "y", "20190506")


@pytest.mark.parametrize(
    ("origins", "words"),
    [
        ({"t1": Origin("A"), "t2": Origin("B", "x", "20180301")}, ("different patients", "T1: A, T2: B")),
        ({"t1": EARLIER, "t2": EARLIER, "flair": LATER}, ("T1 and T2 of 2018-03-01", "FLAIR of 2019-05-06")),
        ({"t1": Origin("A", "x"), "t2": Origin("A", "y")}, ("2 studies", "T1; T2")),
    ],
)
def test_mixtures_are_told(origins: dict[str, Origin], words: tuple[str, ...]) -> None:
    (sentence,) = mixed(origins)
    assert all(word in sentence for word in words)


def test_what_agrees_or_tells_nothing_is_no_mixture() -> None:
    assert mixed({"t1": EARLIER, "t2": EARLIER, "flair": Origin()}) == ()
    assert mixed({}) == ()
