"""Cohorts: in this process and in several, failures, cancelling; tables of them."""

from __future__ import annotations

import csv
import json
import math
import pickle
import threading
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import CancelledError, InputError, RequestError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.evaluation import Evaluation, Settings, compare_volumes, evaluate_pairs, paired_evaluations
from BrainTumorSegLib.evaluation.tables import (
    aligned,
    as_json,
    brats_lines,
    check_table_name,
    empty_lines,
    text,
    write_table,
)

Pairs = dict[str, tuple[Path, Path]]


def cohort(settings: Settings | None = None, cases: int = 4, title: str = "net", shift: int = 0) -> Evaluation:
    """Case ``k`` has a tumour of 4 columns in the reference, of which ``k − shift`` and up to 4 are predicted."""
    settings = settings or Settings()
    results = {}
    for number in range(cases):
        reference, prediction = np.zeros((2, 6, 6, 6), np.uint8)
        reference[..., :4] = 3
        prediction[..., : max(number + 1 - shift, 0)] = 3
        results[f"case{number}"] = compare_volumes(f"case{number}", prediction, reference, (1, 1, 1), settings)
    return Evaluation(settings, results, title=title)


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """Five cases on disk; the fourth prediction is no image."""
    found = {}
    for number in range(5):
        files = tmp_path / f"p{number}.nii.gz", tmp_path / f"r{number}.nii.gz"
        array = np.zeros((5, 5, 5), np.uint8)
        array[1:3, 1:3, : number + 1] = 3
        for file in files:
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), file)
        found[f"case{number}"] = files
    found["case3"][0].write_bytes(b"broken")
    return found


def test_one_bad_case_does_not_keep_the_others_and_processes_change_nothing(pairs: Pairs) -> None:
    reported: list[tuple[float, str]] = []
    here = evaluate_pairs(pairs, progress=Progress(lambda _, fraction, message: reported.append((fraction, message))))
    assert list(here.results) == ["case0", "case1", "case2", "case4"]
    assert isinstance(here.failures["case3"], InputError) and here.failures["case3"].remedy
    assert reported[-1] == (1.0, "Compared 5 of 5 (case4)")
    apart = evaluate_pairs(pairs, jobs=2)
    assert apart.results == here.results and list(apart.results) == list(here.results)
    assert apart.failures["case3"].sentence() == here.failures["case3"].sentence()
    assert pickle.loads(pickle.dumps(apart)).results == here.results


def test_half_of_a_run(pairs: Pairs) -> None:
    reported: list[float] = []
    evaluate_pairs(pairs, progress=Progress(lambda _, fraction, __: reported.append(fraction)).part(0.5, 1.0))
    assert reported[0] == 0.5 and reported[-1] == 1.0


@pytest.mark.parametrize("jobs", [1, 2])
def test_cancelling(pairs: Pairs, jobs: int) -> None:
    progress = Progress()
    progress.listener = lambda *_: progress.cancelled.set()
    before = threading.active_count()
    with pytest.raises(CancelledError):
        evaluate_pairs(pairs, jobs=jobs, progress=progress)
    assert threading.active_count() <= before  # nothing is left working


def test_means_columns_and_summary() -> None:
    evaluation = cohort(Settings(("dice", "miou")))
    assert [(region, measure.name) for region, measure in evaluation.columns()] == [
        ("ET", "dice"), ("TC", "dice"), ("WT", "dice"), ("all", "miou"),
    ]  # fmt: skip
    dice = [2 * k / (4 + k) for k in (1, 2, 3, 4)]
    assert evaluation.values("ET", "dice") == pytest.approx(dice)
    assert evaluation.means()["ET"]["dice"] == pytest.approx(np.mean(dice))
    found = evaluation.summary("WT", "dice")
    assert (found.n, found.sd) == (4, pytest.approx(np.std(dice))) and not found.empties


def test_the_published_shape() -> None:
    lines = brats_lines(cohort(Settings(("sensitivity", "specificity", "hd95"))))
    assert [line[0] for line in lines] == ["", "Mean", "StdDev", "Median", "25quantile", "75quantile"]
    expected = [
        f"{name}_{region}" for name in ("Sensitivity", "Specificity", "Hausdorff95") for region in ("ET", "WT", "TC")
    ]
    assert lines[0][1:] == expected
    sensitivity, hd95 = [line[1] for line in lines[1:]], [line[7] for line in lines[1:]]
    assert sensitivity == ["0.6250", "0.2795", "0.6250", "0.4375", "0.8125"]  # of 1/4, 2/4, 3/4, 4/4
    assert hd95 == ["1.50", "1.12", "1.50", "0.75", "2.25"]  # of 3, 2, 1, 0 mm


def test_the_terminal_has_no_line_beyond_its_width() -> None:
    usual = text(cohort())
    assert len(usual.split("\n\n")) == 2  # one block, and the conventions
    for shown in (usual, text(cohort(Settings(("all",), tissues=True)))):
        assert max(map(len, shown.splitlines())) <= 120
    assert "\nmean " in usual and "\nsd " in usual and "\nmedian " in usual
    alone = text(cohort(cases=1))
    assert "case0" in alone and "mean" not in alone
    lines = usual.splitlines()
    # Titles stand over the first column of theirs.
    assert lines[0].index("Dice") <= lines[1].index("ET") < lines[0].index("Sensitivity") <= lines[1].index("ET", 50)


def test_empties_are_reported_with_how_they_counted() -> None:
    said = empty_lines(cohort(Settings(("dice", "hd95")), shift=1))
    assert said[0] == "ET: empty in the prediction alone in 1 case, counted as Dice 0.0000, HD95 10.39 mm"
    said = empty_lines(cohort(Settings(("dice", "hd95"), convention="nnunet"), shift=2))
    assert said[0] == "ET: empty in the prediction alone in 2 cases, counted as Dice 0.0000, HD95 left out"
    assert empty_lines(cohort()) == []


def test_tables_in_files(tmp_path: Path) -> None:
    evaluation = cohort(Settings(("dice", "hd95"), convention="monai"), shift=1)
    for suffix in (".csv", ".md", ".json"):
        write_table(tmp_path / f"t{suffix}", suffix, evaluation)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["case0", "case1", "case2", "case3", "mean", "sd", "median", "q25", "q75"]
    assert rows["case0"]["hd95 ET"] == "nan" and float(rows["case1"]["dice ET"]) == pytest.approx(0.4)
    assert float(rows["mean"]["hd95 WT"]) == pytest.approx(2)  # of 3, 2 and 1 mm
    marked = (tmp_path / "t.md").read_text("utf-8").splitlines()
    assert marked[2].startswith("| case0 | 0.0000 |") and "| – |" in marked[2]
    assert any("left out" in line for line in marked) and any("MONAI" in line for line in marked)
    values = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert values["cases"]["case0"]["ET"] == {"dice": 0.0, "hd95": None}
    assert values["summary"]["ET"]["hd95"]["n"] == 3 and values["summary"]["ET"]["hd95"]["left_out"] == 1
    assert values["empty_masks"]["case0"] == {region: "prediction" for region in ("ET", "TC", "WT")}
    assert values["settings"]["convention"] == "monai"
    for name in ("t.xls", "t", "t.CSV"):
        with pytest.raises(RequestError, match="no kind of table"):
            check_table_name(Path(name))


def test_two_methods_case_by_case(tmp_path: Path) -> None:
    settings = Settings(("dice", "hd95"))
    better, worse = cohort(settings), cohort(settings, cases=3, title="other", shift=1)
    found = paired_evaluations(better, worse)
    pair = found["ET"]["dice"]
    assert pair.n == 3  # the cases that both have
    dice = [[2 * k / (4 + k) for k in ks] for ks in ((1, 2, 3), (0, 1, 2))]
    assert pair.difference == pytest.approx(np.mean(dice[0]) - np.mean(dice[1]))
    write_table(tmp_path / "t.csv", ".csv", better, pairing=found, other=worse)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["measure"], row["region"]) for row in rows][:4] == [
        ("dice", "ET"),
        ("dice", "TC"),
        ("dice", "WT"),
        ("hd95", "ET"),
    ]
    assert float(rows[0]["net"]) - float(rows[0]["other"]) == pytest.approx(float(rows[0]["difference"]))
    write_table(tmp_path / "t.json", ".json", better, pairing=found, other=worse)
    values = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert values["paired"]["ET"]["dice"]["n"] == 3 and values["other"]["title"] == "other"
    with pytest.raises(RequestError, match="paired"):
        paired_evaluations(better, cohort(Settings(("dice",))))
    with pytest.raises(RequestError, match="paired"):
        paired_evaluations(better, Evaluation(settings, {}))


def test_columns_in_line() -> None:
    shown = aligned([["", "A long title", "", "B"], ["case", "ET", "TC", "all"], ["x", "0.5", "–", "1"]])
    assert shown.splitlines() == [
        "      A long title  B",
        "case   ET       TC  all",
        "x     0.5        –    1",
    ]


def test_conventions_in_words() -> None:
    words = " ".join(Settings(("all",), convention="brats2023", hd95="surfel", tolerance=2, resample=True).words())
    for expected in ("BraTS 2023", "weighted by area", "2 mm", "BraTS 2023 GLI", "nearest neighbour"):
        assert expected in words
    assert "HD95" not in " ".join(Settings(("dice",)).words())
    assert math.isnan(cohort(Settings(("dice",)), cases=1).summary("ET", "dice").interval[0])


def write_pairs(folder: Path, predictions: list[tuple[int, ...]], references: list[tuple[int, ...]]) -> Pairs:
    """A case for each pair of label maps, given by their labels along x."""
    found = {}
    for number, both in enumerate(zip(predictions, references, strict=True)):
        files = folder / f"p{number}.nii.gz", folder / f"r{number}.nii.gz"
        for file, columns in zip(files, both, strict=True):
            array = np.broadcast_to(np.array(columns, np.uint8)[:, None, None], (len(columns), 4, 4))
            nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), np.eye(4)), file)
        found[f"case{number}"] = files
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_label_convention_for_all_references(tmp_path: Path, jobs: int) -> None:
    pairs = write_pairs(tmp_path, [(0, 3, 1, 2), (0, 1, 2, 2)], [(0, 4, 1, 2), (0, 1, 2, 2)])
    found = evaluate_pairs(pairs, Settings(("dice",)), jobs=jobs)
    assert (found.settings.prediction_labels, found.settings.reference_labels) == ("brats2023", "brats2021")
    assert found.values("ET", "dice") == [1, 1]
    said = as_json(found)
    assert said["labels"] == {
        "prediction": "brats2023", "reference": "brats2021", "assumed": ["prediction", "reference"],
    }  # fmt: skip
    for part in (text(found), " ".join(said["conventions"])):
        assert "brats2021" in part and "assumed" in part and "brats2024" in part  # what 4 may be besides
    write_table(tmp_path / "t.csv", ".csv", found)
    rows = list(csv.reader((tmp_path / "t.csv").open(newline="")))
    assert [row[-2:] for row in rows[:3]] == [
        ["prediction labels", "reference labels"],
        *[["brats2023", "brats2021"]] * 2,
    ]
    write_table(tmp_path / "t.md", ".md", found)
    assert "brats2021" in (tmp_path / "t.md").read_text()
    named = evaluate_pairs(pairs, Settings(("dice",), reference_labels="brats2024"), jobs=jobs)
    assert named.values("ET", "dice")[0] == 0  # 4 is a cavity now, and what was found there false
    assert named.settings.assumed == ("prediction",)


def test_references_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    mixed = write_pairs(tmp_path, [(0, 1), (0, 1)], [(0, 1, 2, 3)[:2], (0, 1)])
    with pytest.raises(InputError) as caught:
        evaluate_pairs(mixed)
    assert "whole" in caught.value.remedy and "--ref-labels" in caught.value.remedy
    mixed = write_pairs(tmp_path, [(0, 1, 3), (0, 1, 3)], [(0, 1, 3), (0, 1, 4)])
    with pytest.raises(InputError, match=r"r0\.nii\.gz.*r1\.nii\.gz") as caught:
        evaluate_pairs(mixed)
    assert "brats2024" in caught.value.remedy and "brats2021" in caught.value.remedy


def test_a_folder_against_itself(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, [(0, 4, 1, 2)], [(0, 4, 1, 2)])
    twice = {case: (reference, reference) for case, (_, reference) in pairs.items()}
    assert evaluate_pairs(twice, Settings(("dice",))).values("ET", "dice") == [1]


@pytest.mark.parametrize("convention", ["nnunet", "monai"])
def test_nothing_predicted_and_nothing_there_is_undefined_without_a_warning(tmp_path: Path, convention: str) -> None:
    pairs = write_pairs(tmp_path, [(0, 0), (0, 0)], [(0, 0), (0, 0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate_pairs(pairs, Settings(("all",), convention=convention))
        means = found.means()
        said = text(found)
        values = json.loads(json.dumps(as_json(found), allow_nan=False))
        write_table(tmp_path / "t.csv", ".csv", found)
        assert paired_evaluations(found, found)["WT"]["dice"].n == 0
    assert math.isnan(means["WT"]["dice"]) and values["mean"]["WT"]["dice"] is None
    assert values["mean"]["all"]["miou"] is None and values["summary"]["ET"]["hd95"]["n"] == 0
    assert "–" in said
