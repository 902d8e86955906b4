"""The page about a cohort: its figures are those of the evaluation, and it stands alone."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import itertools
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.cli import main
from BrainTumorSegLib.domain.errors import CheckpointError, InputError
from BrainTumorSegLib.domain.result_record import ModelRecord, Provenance, ResultRecord, read_record
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import CaseResult, Evaluation, Settings, paired_evaluations
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.model_card import CardSection, CardTable, ModelCard
from BrainTumorSegLib.report import ReportOptions, write_cohort_report
from BrainTumorSegLib.report.batch import Segmented, write_batch_report
from BrainTumorSegLib.report.origin import origin_of, shared_facts
from BrainTumorSegLib.report.page import render
from BrainTumorSegLib.report.words import DISCLAIMER

MODEL = "brats-segresnet"


def evaluation(
    dice: dict[str, tuple[float, float, float]], *, measures: tuple[str, ...] = ("dice", "hd95"), **more: object
) -> Evaluation:
    """Cases with these Dice of ET, TC, WT; ET is empty in the prediction where its Dice is 0."""
    results = {}
    for case, values in dice.items():
        found = {
            region: {"dice": value, "hd95": 373.13 if value == 0 else 10 * (1 - value)}
            for region, value in zip(("ET", "TC", "WT"), values, strict=True)
        }
        results[case] = CaseResult(
            case,
            {region: {name: row[name] for name in measures} for region, row in found.items()},
            {region: "prediction" if row["dice"] == 0 else "" for region, row in found.items()},
            {region: (10 * row["dice"], 10.0) for region, row in found.items()},
            (155, 240, 240),
            (1.0, 1.0, 1.0),
        )
    return Evaluation(Settings(measures=measures), results, **more)  # type: ignore[arg-type]


COHORT = {"p1": (0.5, 0.8, 0.9), "p2": (0.0, 0.7, 0.8), "p3": (0.7, 0.9, 0.7)}


class Page(HTMLParser):
    """Tags with attributes; sections, tables and their cells as text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = ""
        self._open: list[str] = []
        self._caption = ""
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "path", "use", "rect"):
            self._open.append(tag)
        if tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self.tables[self._caption].append([]) if self._caption else None
        elif tag in ("td", "th") and self._caption:
            self.tables[self._caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "use", "rect"):
            return
        assert self._open.pop() == tag
        if tag == "table":
            self._caption = ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.text += data + "\n"
        if "caption" in self._open[-1:]:
            self._caption = data
            self.tables[data] = []
        elif self._caption and ("td" in self._open or "th" in self._open) and self.tables[self._caption]:
            self.tables[self._caption][-1][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder: Path, found: Evaluation, options: ReportOptions | None = None) -> Page:
    path = folder / ".1.part-report.html"
    write_cohort_report(found, path, options)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of :data:`COHORT`."""
    return page_of(tmp_path_factory.mktemp("page"), evaluation(COHORT))


def test_page_stands_alone(page: Page) -> None:
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
        if (attributes.get("href") or "#") != "#":
            assert (attributes["href"] or "")[1:] in anchors
    assert not re.search(r"https?:|@import|url\((?!#)", page.source)


def test_nothing_but_the_pages_own_script_may_run(page: Page) -> None:
    policy = next(str(m["content"]) for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    script = page.source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert len(script) < 1500


def test_page_is_fit_for_phones_readers_and_paper(page: Page) -> None:
    assert page.of("html")[0]["lang"] == "en" and len(page.of("h1")) == 1
    assert all(cell.get("scope") in ("row", "col", "rowgroup", "colgroup") for cell in page.of("th"))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.of("svg"))
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert "@media print" in page.source and "prefers-color-scheme: dark" in page.source
    assert page.text.count(DISCLAIMER) >= 2


def test_summary_is_that_of_the_evaluation(page: Page) -> None:
    table = page.tables["Summary over the cases"]
    rows = {row[0].strip(): row[1:] for row in table[1:5]}  # Dice comes first
    assert rows["TC"][:3] == ["3", "0.8000", f"{np.std([0.8, 0.7, 0.9]):.4f}"]
    assert rows["TC"][4:9] == ["0.8000", "0.7500", "0.8500", "0.7000", "0.9000"] and rows["TC"][9] == "none"
    assert rows["ET"][1] == "0.4000" and rows["ET"][9] == "1 × prediction empty: 0.0000"
    low, high = evaluation(COHORT).summary("WT", "dice").interval
    assert rows["WT"][3] == f"{low:.4f} to {high:.4f}"


def test_every_case_has_its_row_and_marks(page: Page) -> None:
    table = page.tables["Every case"]
    assert [cell.strip() for cell in table[0]] == ["Case", "Dice", "HD95 (mm)"]
    assert [cell.strip() for cell in table[1]] == ["ET", "TC", "WT"] * 2
    assert table[2:] == [
        ["p1", "0.5000", "0.8000", "0.9000", "5.00", "2.00", "1.00"],
        ["p2", "0.0000†", "0.7000", "0.8000", "373.13†", "3.00", "2.00"],
        ["p3", "0.7000", "0.9000", "0.7000", "3.00", "1.00", "3.00"],
    ]


def test_agreement_of_volumes_by_hand(page: Page) -> None:
    table = page.tables["Agreement of the volumes"]
    tumour_core = next(row for row in table if row[0].strip() == "TC")
    # Predicted 8, 7, 9 of 10 mL each: differences −2, −3, −1, standard deviation 1; t(2) = 4.3027.
    assert tumour_core[1:4] == ["3", "10.0", "8.00"]
    assert tumour_core[4] == f"−2.00 (−{2 + 4.30265 / 3**0.5:.2f} to {4.30265 / 3**0.5 - 2:+.2f})"
    assert tumour_core[5] == "−3.96 to −0.04"


def test_conventions_are_stated(page: Page, tmp_path: Path) -> None:
    text = page.text
    for sentence in Settings(measures=("dice", "hd95")).words():
        assert sentence in text
    assert "BraTS up to 2021" in text and "the grid’s diagonal" in text
    strict = Evaluation(Settings(measures=("dice", "hd95"), convention="nnunet"), evaluation(COHORT).results)
    assert page_of(tmp_path, strict).text.count("left out") >= 5


def test_a_paired_comparison_is_that_of_the_evaluations(tmp_path: Path) -> None:
    first = evaluation(COHORT, title="ours")
    second = evaluation({case: (0.4, 0.6, 0.6) for case in COHORT}, title="theirs")
    options = ReportOptions(comparisons=(paired_evaluations(first, second), "theirs"))
    page = page_of(tmp_path, first, options)
    assert "Paired comparison with theirs" in page.text
    row = next(row for row in page.tables["Against theirs, case by case"] if row[0].strip() == "WT")
    assert row[1:5] == ["3", "0.8000", "0.6000", "0.2000"]


def test_regions_that_the_other_method_does_not_know_are_named(tmp_path: Path) -> None:
    first = evaluation(COHORT, title="ours")
    second = evaluation({case: (0.4, 0.6, 0.6) for case in COHORT}, title="theirs")
    second = dataclasses.replace(second, settings=dataclasses.replace(second.settings, unknown=("ET", "TC")))
    page = page_of(tmp_path, first, ReportOptions(comparisons=(paired_evaluations(first, second), "theirs")))
    assert "Not compared with theirs: ET and TC, which it does not know." in page.text
    turned = page_of(tmp_path, second, ReportOptions(comparisons=(paired_evaluations(second, first), "ours")))
    assert "Not compared" not in turned.text


def test_failures_and_notes_stand_at_the_top(tmp_path: Path) -> None:
    found = evaluation(COHORT, failures={"p9": InputError("p9.nii.gz cannot be read.", "Copy it again.")})
    page = page_of(tmp_path, found, ReportOptions(sources=("/a/pred", "/b/ref"), date=datetime.date(2024, 2, 9)))
    assert "p9 could not be compared: p9.nii.gz cannot be read. Copy it again." in page.text
    for expected in ("3 of 4", "/a/pred", "/b/ref", "9 February 2024"):
        assert expected in page.text


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&amp;$style"
    found = evaluation({evil: (0.5, 0.5, 0.5), "p": (0.6, 0.6, 0.6)}, title=evil)
    page = page_of(tmp_path, found, ReportOptions(sources=(evil, evil)))
    assert len(page.of("script")) == 1 and page.text.count(evil) >= 5


def test_templates_in_names_are_not_run(tmp_path: Path) -> None:
    evil = "{{ 7 * 7 }}</title><img src=x onerror=alert(1)>"
    failures = {evil: InputError(f"{evil} cannot be read.", "Copy it again.")}
    found = evaluation({evil: (0.5, 0.5, 0.5)}, title=evil, failures=failures)
    page = page_of(tmp_path, found, ReportOptions(sources=(evil, evil)))
    assert page.text.count(evil) >= 6 and not page.of("img")


@pytest.mark.parametrize("count", [1, 2])
def test_few_cases_are_no_cohort(tmp_path: Path, count: int) -> None:
    page = page_of(tmp_path, evaluation(dict(list(COHORT.items())[:count])))
    assert not re.search(r"\bnan\b", page.text) and "Every case" in page.tables
    assert ("Distributions" in page.text) == (count > 1)
    assert "Bland–Altman" not in page.source


def test_no_case_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without cases"):
        write_cohort_report(evaluation({}), tmp_path / "r.html")
    assert not list(tmp_path.iterdir())


def test_cases_with_images_are_shown_and_figures_written(tmp_path: Path) -> None:
    z, y, x = np.indices((10, 40, 40))
    image = ((y - 20) ** 2 + (x - 20) ** 2 < 300) * (100.0 + z + x)
    reference = (((y - 20) ** 2 + (x - 20) ** 2 < 60) * 2).astype(np.uint8)
    case = "odd name/../1".replace("/", "_")
    volume = Volume(image.astype(np.float32), np.diag([-1.0, -1, 1, 1]))
    write_volume(volume, tmp_path / f"{case}_flair.nii.gz")
    write_volume(volume.with_array(reference), tmp_path / f"{case}_seg.nii.gz")
    write_volume(volume.with_array(np.roll(reference, 3, 2)), tmp_path / f"{case}.nii.gz")
    one = evaluation({case: (1.0, 1.0, 0.8)}).results[case]
    files = {"prediction": tmp_path / f"{case}.nii.gz", "reference": tmp_path / f"{case}_seg.nii.gz"}
    found = Evaluation(Settings(measures=("dice", "hd95")), {case: CaseResult(**{**vars(one), **files})})
    figures = tmp_path / "figures"
    figures.mkdir()
    page = page_of(tmp_path, found, ReportOptions(figure=lambda name: figures / name))
    pictures = page.of("img")
    assert len(pictures) == 4 and all(case in (picture["alt"] or "") for picture in pictures)
    written = list(figures.iterdir())
    assert [path.suffix for path in written] == [".png"] and written[0].read_bytes().startswith(b"\x89PNG")
    twin = {name: dataclasses.replace(found.results[case], case=name) for name in ("odd name", "Odd-name", "odd_name")}
    shown = dataclasses.replace(found, results=twin)
    with staged() as staging:  # which refuses two outputs of one name
        options = ReportOptions(tmp_path, figure=lambda name: staging.path(tmp_path / "more" / name), examples=3)
        for name in twin:
            write_volume(volume, tmp_path / f"{name}_flair.nii.gz")
        write_cohort_report(shown, tmp_path / "r.html", options)
    names = {path.name for path in (tmp_path / "more").iterdir()}
    assert names > {"worst-odd-name.png", "worst-Odd-name-2.png", "best-odd_name.png"}


# --- on the command line -----------------------------------------------------------------------------------


def folders(folder: Path) -> tuple[str, str]:
    """Two cases whose predictions are half right."""
    for case in ("p1", "p2"):
        for kind, size in (("pred", 4), ("ref", 8)):
            labels = np.zeros((12, 12, 12), np.uint8)
            labels[2:10, 2 : 2 + size, 2:10] = 2
            (folder / kind).mkdir(exist_ok=True)
            write_volume(Volume(labels, np.eye(4)), folder / kind / f"{case}.nii.gz")
    return str(folder / "pred"), str(folder / "ref")


def test_evaluate_writes_report_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--measures", "dice", "--report", str(out / "r.html"), "--figures", str(out / "figures")]
    assert main(["evaluate", *folders(tmp_path), *options, "--model", MODEL]) == 0
    found = Page((out / "r.html").read_text(encoding="utf-8"))
    row = next(row for row in found.tables["Summary over the cases"] if row[0].strip() == "WT")
    assert row[1:3] == ["2", "0.6667"] and "Training cases" in found.text
    assert [path.name for path in (out / "figures").iterdir()] == ["dice.png"]
    assert "0.6667" in capsys.readouterr().out


def test_figures_replace_their_own_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places, figures, page = folders(tmp_path), tmp_path / "figures", tmp_path / "r.html"
    figures.mkdir()
    (figures / "photo.png").write_bytes(b"\x89PNG of mine")
    command = ["evaluate", *places, "--measures", "dice", "--report", str(page), "--figures", str(figures)]
    assert main(command) == main(command) == 0
    (figures / "dice.png").write_bytes(b"\x89PNG of mine")
    page.unlink()
    assert main(command) == 2 and "dice.png is there already" in capsys.readouterr().err
    assert (figures / "dice.png").read_bytes() == b"\x89PNG of mine" and not page.exists()
    assert main([*command[:-1], str(figures / "dice.png")]) == 2 and "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--figures", "{}/figures"], "--report"),
        (["--report", "{}/r.html", "--images", "{}/nowhere"], "nowhere"),
        (["--report", "{}/r.html", "--model", "no-such-model"], "no-such-model"),
        (["--report", "{}/r.docx"], ".html"),
    ],
)
def test_wrong_requests_end_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    places = folders(tmp_path)
    assert main(["evaluate", *places, *(option.format(tmp_path) for option in options)]) == 2
    shown = capsys.readouterr()
    assert word in shown.err and "Dice" not in shown.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pred", "ref"]


# --- where the predictions come from -----------------------------------------------------------------------


def record(folder: Path, case: str, **model: Any) -> Path:
    weights = ModelRecord(**{"id": MODEL, "version": "1", **model})
    provenance = Provenance(weights, device="cpu", seconds=3.0 if case == "a" else 5.0)
    ResultRecord(case, {}, "brats2023", ("WT",), {}, provenance=provenance).write(folder / f"{case}.json")
    return folder / f"{case}.nii.gz"


def test_what_all_predictions_share_stands_once(tmp_path: Path) -> None:
    origin = origin_of([record(tmp_path, "a"), record(tmp_path, "b")])
    assert origin.facts["model"] == {"id": MODEL, "version": "1"} and origin.facts["device"] == "cpu"
    assert origin.facts["seconds a case"] == "median 4.0 (from 3.0 to 5.0)" and origin.remarks == ()
    assert origin.card is None  # the record names no digest, so it may be another file of that name


def test_of_many_that_differ_the_first_are_shown_in_words() -> None:
    runs = [{"preprocessing": ["registered", f"moved by {n} mm"], "model": {"id": MODEL}} for n in range(9)]
    found = shared_facts(runs)
    assert found["model"] == {"id": MODEL} and found["preprocessing"][0] == "registered; moved by 0 mm"
    assert len(found["preprocessing"]) < 9 and "others" in found["preprocessing"][-1]
    assert len(shared_facts(runs[:3])["preprocessing"]) == 3


def test_different_models_and_missing_records_are_remarked(tmp_path: Path) -> None:
    files = [record(tmp_path, "a"), record(tmp_path, "b", version="2"), tmp_path / "c.nii.gz"]
    (tmp_path / "c.json").write_text("[1, 2", encoding="utf-8")
    origin = origin_of(files)
    assert any("different models" in remark for remark in origin.remarks)
    assert any("Only 2 of 3" in remark for remark in origin.remarks)
    assert origin_of([tmp_path / "d.nii.gz", None]).facts == {}


def test_card_of_the_very_model(tmp_path: Path) -> None:
    origin = origin_of([record(tmp_path, "a", sha256=load_model(MODEL).digest)])
    assert origin.card and origin.card.id == MODEL
    assert origin_of([record(tmp_path, "a", sha256="0" * 64)]).card is None


def test_the_card_of_another_model_than_made_the_predictions_is_called_that(tmp_path: Path) -> None:
    version = load_model(MODEL).description.version
    same = [record(tmp_path, "a", version=version)]
    assert origin_of(same, MODEL).remarks == origin_of([tmp_path / "none.nii.gz"], MODEL).remarks == ()
    (remark,) = origin_of([*same, record(tmp_path, "b", id="mine", version="7")], MODEL).remarks[1:]
    assert f"that of {MODEL} {version}" in remark and "mine 7" in remark


def test_card_of_a_named_model_is_in_the_page(tmp_path: Path) -> None:
    page = page_of(tmp_path, evaluation(COHORT), ReportOptions(model=MODEL))
    assert "Training cases" in page.text and "How accurate it is" in page.text
    with pytest.raises(CheckpointError):
        write_cohort_report(evaluation(COHORT), tmp_path / "s.html", ReportOptions(model="no-such-model"))
    assert not (tmp_path / "s.html").exists()


def test_a_card_has_its_lists_and_tables_and_is_escaped() -> None:
    evil = "<b>{{ 7 * 7 }}"
    table = CardTable(("Measure", "ET"), (("Dice", evil),))
    card = ModelCard(evil, "What it is.", evil, (CardSection(evil, (evil, ("one", evil), table)),))
    page = Page(render("card.html", card=card))
    assert page.text.count(evil) == 6 and not page.of("b")
    assert "<li>one</li>" in page.source and '<th scope="row">Dice</th>' in page.source


def test_durations_of_two_kinds_have_names_of_their_own(tmp_path: Path) -> None:
    """The table has what a case took in all, the record what it took without reading and writing."""
    found = read_record(record(tmp_path, "a").with_name("a.json"))
    write_batch_report("study", [Segmented(found, 7.0)], {}, tmp_path / "r.html", {})
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "Seconds in all" in page.text and "Seconds a case, without reading and writing" in page.text
    assert page.text.count("Seconds") == 2 and "Seconds<" not in page.source


def test_a_page_of_a_cohort_whose_folders_have_names_that_are_no_text(tmp_path: Path) -> None:
    case = os.fsdecode(b"P\xff 1")
    record = ResultRecord(case, {"0": "background"}, "brats2023", ("WT",), {})
    write_batch_report("study", [Segmented(record, 1.0, f"reports/{case}.html")], {}, tmp_path / "r.html", {})
    assert 'href="reports/P%FF%201.html"' in (tmp_path / "r.html").read_text("utf-8")
