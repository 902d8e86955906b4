"""The module in the application: what it tells of itself, models, folders of patients, reload."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.io.registry import read_volume, write_volume
from Testing import samples

from .driving import Panel, Traces, idle_engine, mask, only_message, snapshot


def test_what_the_module_tells_of_itself(bench: SimpleNamespace, application: Traces) -> None:
    import slicer

    from Testing.slicer.harness.neighbours import SampleDataLogic

    module = slicer.modules.braintumorseg
    assert module.title == "Brain Tumour Segmentation"
    assert module.categories == ["Segmentation"]
    assert "not for clinical use" in module.helpText
    assert "BraTS" in module.acknowledgementText
    assert module.contributors
    sample = SampleDataLogic.sources["BraTS-GLI-00001-000"]
    assert len(sample["uris"]) == 4
    assert all(len(checksum) == len("SHA256:") + 64 for checksum in sample["checksums"])
    assert Path(sample["thumbnail"]).is_file()


def test_its_own_test_passes(application: Traces) -> None:
    """What *Reload and Test* runs."""
    import BrainTumorSeg

    test = BrainTumorSeg.BrainTumorSegTest()
    test.setUp()
    test.test_missingModalityIsRefused()


def test_reload(panel: Panel, case: Path) -> None:
    """The code is read anew, the parts as well; the choices stay, since they are in the scene."""
    nodes = panel.load(case)
    widget, part = panel.widget, sys.modules["BrainTumorSegPanel.results"]
    panel.widget.onReload()
    assert panel.widget is not widget
    assert type(panel.widget) is not type(widget)
    assert sys.modules["BrainTumorSegPanel.results"] is not part
    assert panel.ui.flairSelector.currentNode() is nodes["flair"]
    panel.choose_model("exact")
    assert panel.ui.applyButton.enabled
    panel.ui.t1Selector.setCurrentNode(None)
    panel.raise_uncaught()
    assert "T1" in panel.ui.applyButton.toolTip


def test_leaving_and_coming_back(panel: Panel, case: Path) -> None:
    import slicer

    nodes = panel.load(case)
    slicer.util.selectModule("SegmentEditor")
    nodes["t2"].SetName("other")
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.t2Selector.currentNode() is nodes["t2"]
    slicer.util.selectModule("SegmentEditor")
    slicer.mrmlScene.Clear(0)
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.t2Selector.currentNode() is None
    assert not panel.ui.applyButton.enabled


def test_closing_the_scene_again_and_again(panel: Panel, case: Path) -> None:
    """No observer stays, no parameter node is doubled."""
    import slicer

    counts = []
    for _ in range(4):
        panel.load(case)
        slicer.mrmlScene.Clear(0)
        panel.raise_uncaught()
        counts.append((slicer.mrmlScene.GetNumberOfNodes(), len(panel.widget.Observations)))
    assert len(set(counts)) == 1, counts


def test_model_and_device_are_remembered(panel: Panel) -> None:
    import slicer

    panel.choose_model("whole")
    panel.ui.deviceSelector.currentIndex = 1
    slicer.modules.braintumorseg.close()
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.modelSelector.itemData(panel.ui.modelSelector.currentIndex) == "whole"
    assert panel.ui.deviceSelector.currentText == "CPU"


def test_cards_of_the_models(panel: Panel) -> None:
    panel.choose_model("brats-unet2d")
    assert "Needs any of T1, T1ce, T2, FLAIR" in panel.ui.modelInfoLabel.text
    assert "brats-unet2d" in panel.ui.modelCardBrowser.toPlainText()
    assert not panel.ui.removeModelButton.enabled, "it is included"
    panel.choose_model("flair-only")
    assert "Needs FLAIR" in panel.ui.modelInfoLabel.text
    panel.choose_model("brats-segresnet")
    assert "Needs any of T1, T1ce, T2, FLAIR; gives ET, TC, WT." in panel.ui.modelInfoLabel.text
    panel.choose_model("lgg-unet")
    assert "Needs FLAIR, optional: T1, T1ce; gives WT." in panel.ui.modelInfoLabel.text


def test_restrictive_terms_are_shown_once(panel: Panel, case: Path) -> None:
    panel.load(case)
    panel.choose_model("terms")
    before = snapshot()
    panel.desk.answer("No")
    panel.click("applyButton")
    text = only_message(panel.desk).text
    assert "CC-BY-NC-4.0" in text
    assert "only for research" in text
    assert snapshot() == before
    panel.desk.answer("Yes")
    assert panel.segment() is not None
    panel.desk.take()
    panel.click("applyButton")
    panel.click("cancelButton")
    panel.wait_to_end()
    assert not panel.desk.take(), "not asked again"


def test_the_engine_stays_until_it_is_not_needed(panel: Panel, case: Path, tmp_path: Path) -> None:
    """From run to run, and from a patient of a folder to the next; not when caches are cleared or the panel goes."""
    panel.load(case)
    panel.segment()
    first = idle_engine()
    panel.segment()
    shutil.copytree(case, tmp_path / "patients" / "A")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert first is not None and idle_engine() == first
    panel.desk.answer("Ok")
    panel.click("clearCachesButton")
    assert idle_engine() is None
    panel.desk.take()
    panel.segment()
    assert idle_engine() not in (None, first)
    panel.widget.onReload()
    assert idle_engine() is None
    panel.desk.take()


def test_a_folder_of_patients(panel: Panel, case: Path, tmp_path: Path) -> None:
    patients, output = tmp_path / "patients", tmp_path / "out"
    for name in ("A", "B", "C"):
        shutil.copytree(case, patients / name)
    next((patients / "B").glob("*t2f*")).unlink()
    (patients / "no images").mkdir()
    assert not panel.ui.cohortRunButton.enabled
    panel.ui.cohortInputPath.currentPath = str(patients)
    panel.ui.cohortOutputPath.currentPath = str(output)
    before = snapshot()
    panel.click("cohortRunButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    states = {row[0]: row[1] for row in panel.table("cohortTable")[1:]}
    assert states["A"] == states["C"] == "done"
    assert states["B"].startswith("failed")
    assert "FLAIR" in states["B"]
    assert sorted(path.name for path in output.glob("*.nii.gz")) == ["A.nii.gz", "C.nii.gz"]
    with (output / "results.csv").open() as file:
        rows = {row["case"]: float(row["WT_volume_ml"]) for row in csv.DictReader(file)}
    assert set(rows) == {"A", "C"} and all(rows.values())
    assert snapshot() == before
    opened = open_first(panel)
    assert opened.GetName() == "A"
    sizes = panel.widget.logic.measurements(opened)
    assert sizes["WT"].volume_ml == pytest.approx(rows["A"], rel=0.01)


def open_first(panel: Panel, key: str = "") -> Any:
    """Double-click the first patient, or press a key on it; the segmentation that is shown."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    table = panel.ui.cohortTable
    assert not table.tabKeyNavigation, "Tab leaves the table"
    table.styleSheet = "activate-on-singleclick: 1"  # as some desktops have it
    for part in (panel.ui.advancedCollapsibleButton, panel.ui.cohortCollapsibleButton):
        part.collapsed = False
    place = table.visualItemRect(table.item(0, 0)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert panel.widget.results.node is None, "a click chooses"
    if key:
        table.activateWindow()
        table.setFocus()
        QTest.keyClick(table, Qt.Key[key])
    else:
        QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    panel.raise_uncaught()
    assert not panel.desk.shown, panel.desk.shown
    return panel.widget.results.node


@pytest.mark.parametrize(("kind", "key"), [("flat", ""), ("nnunet", "Key_Return"), ("decathlon", "Key_Enter")])
def test_patients_of_any_layout_are_opened(
    panel: Panel, case: Path, patient: samples.Patient, tmp_path: Path, kind: str, key: str
) -> None:
    """Several in one folder, by names, numbers or channels; an overlay of the views goes."""
    import slicer
    from BrainTumorSegPanel.views import reference_volume

    root = tmp_path / "patients" / ("flat" if kind == "flat" else "imagesTr")
    root.mkdir(parents=True)
    channels = ("t1", "t1ce", "t2", "flair")
    for name in ("A", "B"):
        if kind == "decathlon":
            samples.write_decathlon(root / f"{name}.nii.gz", patient)
            continue
        for number, modality in enumerate(channels):
            end = f"_{number:04}" if kind == "nnunet" else f"_{modality}"
            write_volume(patient.images[modality], root / f"{name}{end}.nii.gz")
    if kind == "nnunet":
        names = {str(number): modality for number, modality in enumerate(channels)}
        (root.parent / "dataset.json").write_text(json.dumps({"channel_names": names}))
    nodes = panel.load(case)
    panel.ui.ttaCheckBox.checked = True
    panel.click("alignmentButton")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert [row[:2] for row in panel.table("cohortTable")[1:]] == [["A", "done"], ["B", "done"]]
    opened = open_first(panel, key)
    reference = reference_volume(opened)
    assert opened.GetName() == "A" and reference not in nodes.values()
    np.testing.assert_array_equal(mask(opened, "WT", reference), patient.labels.array > 0)
    assert json.loads(opened.GetAttribute("BrainTumorSeg.provenance"))["tta"], "as the panel says"
    assert not panel.ui.alignmentButton.checked
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == reference.GetID() and not composite.GetForegroundVolumeID()


def test_the_engine_looks_for_the_patients(
    panel: Panel, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the application, whose window would stand still; what is no patient, and that there is none, is said."""
    patients = tmp_path / "patients"
    (patients / "notes").mkdir(parents=True)
    panel.ui.cohortInputPath.currentPath = str(patients)
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("BrainTumorSegLib.cohort.discovery.find_cases", None)
        panel.click("cohortRunButton")
        panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert "holds no case. notes: it holds no image." in only_message(panel.desk).text
    assert panel.ui.cohortStatusLabel.text == "It failed." and len(panel.table("cohortTable")) == 1
    with pytest.raises(InputError, match="holds no case"):
        panel.widget.logic.segmentFolder(patients, tmp_path / "out")
    shutil.copytree(case, patients / "A")
    panel.click("cohortRunButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert [row[:2] for row in panel.table("cohortTable")[1:]] == [["A", "done"]]
    assert "Left out: notes" in panel.ui.cohortStatusLabel.text
    assert "notes (it holds no image)" in panel.ui.logText.plainText


def test_tables_that_cannot_be_written_are_said(panel: Panel, case: Path, tmp_path: Path) -> None:
    """Though each patient is done."""
    shutil.copytree(case, tmp_path / "patients" / "A")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    panel.wait_until(lambda: panel.ui.cohortTable.rowCount == 1)
    (tmp_path / "out" / "results.csv").mkdir(parents=True)
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert [row[:2] for row in panel.table("cohortTable")[1:]] == [["A", "done"]]
    assert "results.csv" in only_message(panel.desk).text


def test_images_that_were_replaced_since_are_not_shown_with_the_result(
    application: Traces, logic: Any, case: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    from BrainTumorSegPanel.folder import open_case

    folder = tmp_path / "patients" / "A"
    shutil.copytree(case, folder)
    run = logic.segmentFolder(folder.parent, tmp_path / "out", models["exact"], "cpu")
    other = samples.make_patient((30, 40, 44), radii=(4.5, 7.0, 10.0))
    write_volume(other.images["t1ce"], next(folder.glob("*t1c*")))
    before = snapshot()
    with pytest.raises(InputError, match="others now"):
        open_case(run.cases[0])
    assert snapshot() == before


def test_a_result_that_somebody_mended_is_opened_as_edited(
    application: Traces, logic: Any, case: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """What the model expected of its own one is not said of it, and no run replaces it unasked."""
    from BrainTumorSegPanel.folder import open_case
    from BrainTumorSegPanel.segments import examine

    from BrainTumorSegLib.io import mrml

    shutil.copytree(case, tmp_path / "patients" / "A")
    run = logic.segmentFolder(tmp_path / "patients", tmp_path / "out", models["exact"], "cpu")
    opened = open_case(run.cases[0])
    assert examine(opened).expected_dice and not mrml.holds_other_work(opened)
    file = tmp_path / "out" / "A.nii.gz"
    labels = read_volume(file)
    write_volume(replace(labels, array=np.where(labels.array == 1, 3, labels.array)), file)
    opened = open_case(run.cases[0])
    assert "edited since the run" in examine(opened).warnings[-1] and not examine(opened).expected_dice
    assert mrml.holds_other_work(opened)


def test_studies_of_one_folder_are_opened_each_with_its_images(
    application: Traces, logic: Any, patient: samples.Patient, models: dict[str, Path], tmp_path: Path
) -> None:
    import slicer
    from BrainTumorSegPanel.folder import open_case
    from BrainTumorSegPanel.sources import origin_of

    from Testing.dicom_series import write_series

    for day in ("20180301", "20190506"):
        for name, image in patient.images.items():
            folder, names = tmp_path / "patients" / "P", f"{day}-{name}-{{}}"
            write_series(image, folder, name, names=names, StudyInstanceUID=f"1.2.{day}", StudyDate=day)
    run = logic.segmentFolder(tmp_path / "patients", tmp_path / "out", models["exact"], "cpu")
    assert {one.name: one.state for one in run.cases} == {"P_20180301": "done", "P_20190506": "done"}
    for one in run.cases:
        slicer.mrmlScene.Clear(0)
        assert open_case(one).GetName() == one.name
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        assert {origin_of(node).date for node in volumes} == {one.name[2:]} and len(volumes) == 4
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        nodes = (*volumes, *slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
        assert len({tree.GetItemParent(tree.GetItemByDataNode(node)) for node in nodes}) == 1, "all below the study"


def test_the_last_patient_is_heard_of(
    panel: Panel, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine ends right after the panel has asked it."""
    shutil.copytree(case, tmp_path / "patients" / "A")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    run = panel.widget.cohort._run
    poll = run.poll

    def poll_before_the_end() -> None:
        poll()
        while run.state == "running":
            time.sleep(0.01)

    monkeypatch.setattr(run, "poll", poll_before_the_end)
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert panel.table("cohortTable")[1][:2] == ["A", "done"]


def test_what_is_done_of_a_folder_stays(panel: Panel, case: Path, tmp_path: Path) -> None:
    """BIDS, with a result from before."""
    anat = tmp_path / "patients" / "sub-1" / "anat"
    shutil.copytree(case, anat)
    for file in anat.iterdir():
        file.rename(anat / f"sub-1_{file.name.rsplit('-', 1)[1]}")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    times = []
    for _ in range(2):
        panel.click("cohortRunButton")
        panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
        assert panel.table("cohortTable")[1][:2] == ["sub-1", "done"]
        times.append((tmp_path / "out" / "sub-1.nii.gz").stat().st_mtime_ns)
    assert times[0] == times[1]


def test_a_folder_is_cancelled_within_two_seconds(panel: Panel, case: Path, tmp_path: Path) -> None:
    for name in ("A", "B"):
        shutil.copytree(case, tmp_path / "patients" / name)
    panel.choose_model("slow")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    panel.wait_until(lambda: any(tmp_path.glob("out/.bts-*")))  # a case is under way
    since = time.monotonic()
    panel.click("cohortCancelButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    assert time.monotonic() - since < 10
    assert {row[1] for row in panel.table("cohortTable")[1:]} == {"cancelled"}
    assert not list(tmp_path.glob("out/*.nii.gz"))


def test_patients_in_one_folder(panel: Panel, case: Path, tmp_path: Path) -> None:
    patients, output = tmp_path / "patients", tmp_path / "out"
    patients.mkdir()
    for file in case.iterdir():
        for name in ("A", "B"):
            shutil.copy(file, patients / f"{name}-{file.name.rsplit('-', 1)[1]}")
    shutil.copy(patients / "B-t1c.nii.gz", patients / "B-t1gd.nii.gz")
    panel.ui.cohortInputPath.currentPath = str(patients)
    panel.ui.cohortOutputPath.currentPath = str(output)
    panel.click("cohortRunButton")
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    states = {row[0]: row[1] for row in panel.table("cohortTable")[1:]}
    assert states["A"] == "done" and "B-t1gd" in states["B"] and states["B"].startswith("failed")
    assert [path.name for path in output.glob("*.nii.gz")] == ["A.nii.gz"]
    assert "B-t1gd" in (output / "failures.csv").read_text()


def test_one_run_at_a_time(panel: Panel, case: Path, tmp_path: Path) -> None:
    panel.load(case)
    shutil.copytree(case, tmp_path / "patients" / "A")
    panel.ui.cohortInputPath.currentPath = str(tmp_path / "patients")
    panel.ui.cohortOutputPath.currentPath = str(tmp_path / "out")
    panel.click("cohortRunButton")
    assert not panel.ui.applyButton.enabled
    assert panel.ui.applyButton.toolTip == "Patients are being segmented."
    panel.wait_until(lambda: not panel.ui.cohortCancelButton.enabled)
    panel.click("applyButton")
    assert not panel.ui.cohortRunButton.enabled
    assert panel.ui.cohortRunButton.toolTip == "A segmentation is running."
    panel.wait_to_end()
    assert panel.ui.cohortRunButton.enabled
