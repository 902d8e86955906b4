"""A scene that holds more than one session: which images are chosen, what is left out, what is watched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.grid import Grid
from Testing import samples

from .driving import Panel
from .test_inputs import add_volume, choose, chosen, info


def study(
    date: str, names: tuple[str, ...] = ("T1", "T1 post", "T2", "FLAIR"), patient: str = "ANNA"
) -> dict[str, Any]:
    """Volumes that came from DICOM; nodes by the names of their series."""
    import slicer

    found = {}
    for number, name in enumerate(names):
        uid = f"9.{date}.{patient}.{number}"
        node = add_volume(f"{number}: {name} {date}")
        node.SetAttribute("DICOM.instanceUIDs", uid)
        slicer.dicomDatabase.tags[uid] = {
            "0008,103E": name, "0010,0020": patient, "0020,000D": f"1.{date}.{patient}", "0008,0020": date,
        }  # fmt: skip
        found[name] = node
    return found


def said(panel: Panel) -> str:
    return str(panel.ui.sessionInfoLabel.text)


def test_the_latest_of_complete_studies(panel: Panel) -> None:
    later = study("20190506")
    study("20180301")
    panel.click("assignButton")
    assert set(chosen(panel).values()) == {node.GetName() for node in later.values()}
    assert said(panel).startswith("Left out: 0: T1 20180301 (of another study (2018-03-01));")
    assert said(panel) in panel.ui.logText.plainText
    choose(panel, flair=None)
    assert said(panel) == "", "it was said of another choice"


def test_a_later_study_that_holds_less_is_named(panel: Panel) -> None:
    study("20180301")
    study("20190506", ("FLAIR",))
    panel.click("assignButton")
    assert str(chosen(panel)["flair"]).endswith("20180301")
    assert "later study (2019-05-06) holds FLAIR only" in said(panel)


def test_what_was_chosen_by_hand_stays_unless_it_is_something_else(panel: Panel) -> None:
    earlier, unnamed = study("20180301", ("T2",)), add_volume("image")
    later = study("20190506", ("T1", "FLAIR"))
    choose(panel, t1=later["FLAIR"], t1ce=unnamed, t2=earlier["T2"])
    panel.click("assignButton")
    names = {name: node.GetName() for name, node in later.items()}
    assert chosen(panel) == {"t1": names["T1"], "t1ce": "image", "t2": None, "flair": names["FLAIR"]}


def test_studies_of_the_subject_hierarchy(panel: Panel) -> None:
    """A saved scene on another computer: no database knows the files any more."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient A")
    for day, names in {"20200101": ("T1", "FLAIR"), "20190101": ("T1", "T2", "FLAIR")}.items():
        item = tree.CreateStudyItem(patient, f"Study {day}")
        tree.SetItemAttribute(item, "DICOM.StudyDate", day)
        for name in names:
            tree.SetItemParent(tree.GetItemByDataNode(add_volume(f"{name} of {day}")), item)
    panel.click("assignButton")
    assert chosen(panel) == {
        "t1": "T1 of 20190101", "t1ce": None, "t2": "T2 of 20190101", "flair": "FLAIR of 20190101",
    }  # fmt: skip
    assert "2020-01-01" in said(panel)


def test_mixed_days_are_watched_and_stay_with_the_result(panel: Panel, case: Path) -> None:
    import slicer

    nodes = panel.load(case)
    assert said(panel) == ""
    for number, node in enumerate(nodes.values()):
        node.SetAttribute("DICOM.instanceUIDs", f"5.{number}")
        slicer.dicomDatabase.tags[f"5.{number}"] = {
            "0010,0020": "ANNA", "0008,0022": "20190506" if number else "20180301",
        }  # fmt: skip
    choose(panel, t1=None)
    choose(panel, t1=nodes["t1"])
    assert "different days (T1 of 2018-03-01; " in said(panel)
    made = panel.segment()
    assert "different days" in panel.ui.resultInfoLabel.text
    assert "different days" in made.GetAttribute("BrainTumorSeg.provenance")


def test_two_patients_whose_files_have_the_same_names(panel: Panel, case: Path, tmp_path: Path) -> None:
    """The folders that they were loaded from tell them apart."""
    import slicer

    for patient, sequences in (("A", ("t1", "t1ce")), ("B", ("t1", "t2", "flair"))):
        (tmp_path / patient).mkdir()
        for name in sequences:
            file = tmp_path / patient / f"{name}.nii.gz"
            shutil.copy(next(case.glob(f"*{samples.STYLES['brats2023'][name]}.nii.gz")), file)
            slicer.util.loadVolume(str(file))
    panel.click("assignButton")
    nodes = {name: getattr(panel.ui, f"{name}Selector").currentNode() for name in ("t1", "t1ce", "t2", "flair")}
    assert nodes.pop("t1ce") is None
    assert {Path(node.GetStorageNode().GetFileName()).parent for node in nodes.values()} == {tmp_path / "B"}
    assert "t1ce (of another case)" in said(panel)


def test_what_a_run_made_is_no_input(panel: Panel, case: Path, logic: Any) -> None:
    """Neither found by its name, nor taken by hand or by a script; also after the scene was saved."""
    import slicer

    from BrainTumorSegLib.domain.errors import InputError

    nodes = panel.load(case)
    panel.ui.probabilitiesCheckBox.checked = True
    panel.segment()
    made = next(node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "WT" in node.GetName())
    made.SetName("P1_flair")
    panel.click("assignButton")
    assert panel.ui.flairSelector.currentNode() is nodes["flair"]
    choose(panel, flair=made)
    assert "what a run made (probability)" in info(panel, "flair")
    assert not panel.ui.applyButton.enabled
    with pytest.raises(InputError, match="what a run made"):
        logic.segment(flair=made, model="flair-only")


def test_the_sample_case_uses_what_it_loaded(panel: Panel, case: Path) -> None:
    """A scene that holds another patient, whose images come first and are finer."""
    from Testing.slicer.harness.neighbours import SampleDataLogic

    for name in ("t1", "t1ce", "t2", "flair"):
        add_volume(f"P1_{name}", spacing=0.5)
    SampleDataLogic.folder = case
    panel.click("sampleButton")
    SampleDataLogic.folder = None
    assert all(str(name).startswith("BraTS-GLI-00001-000") for name in chosen(panel).values())


def test_a_folder_of_dicom_series_is_loaded(panel: Panel, patient: Any, tmp_path: Path) -> None:
    """Chosen as the command line chooses; where the files lie in space, and why."""
    from BrainTumorSegLib.io import mrml
    from Testing.dicom_series import write_series, write_study

    write_study(patient.images, tmp_path)
    write_series(patient.images["t1"], tmp_path / "11", "t1", number=11, SeriesDescription="ADC")
    nodes = panel.load(tmp_path)
    for name, node in nodes.items():
        volume = mrml.volume_of(node)
        shown = {tuple(np.round(corner, 2)) for corner in Grid.of(volume).corners()}
        assert shown == {tuple(np.round(corner, 2)) for corner in Grid.of(patient.images[name]).corners()}
        assert volume.array.sum() == patient.images[name].array.sum()
    assert "Gadovist" in info(panel, "t1ce")
    assert 'series 11 "ADC" (diffusion)' in said(panel)
    panel.click("assignButton")
    assert chosen(panel) == {name: node.GetName() for name, node in nodes.items()}, "the contrast agent is still known"


def test_converted_images_beside_their_dicom_are_loaded(panel: Panel, case: Path, patient: samples.Patient) -> None:
    """The command line takes the files that their names tell, too."""
    from Testing.dicom_series import write_series

    write_series(patient.images["t1"], case / "DICOM", "t1")
    assert {node.GetName() for node in panel.load(case).values()} == {
        f"{case.name}-{name}" for name in ("t1n", "t1c", "t2w", "t2f")
    }


def test_dicom_folders_of_two_patients(panel: Panel, patient: samples.Patient, tmp_path: Path) -> None:
    """Read from files that no database knows, their images are told apart all the same, also in a saved scene."""
    import slicer

    from Testing.dicom_series import write_study

    for name, day in (("ANNA", "20180301"), ("BERT", "20190506")):
        tags = {"PatientID": name, "StudyInstanceUID": f"1.2.{day}", "StudyDate": day}
        write_study(patient.images, tmp_path / name, **tags)
        panel.load(tmp_path / name)
    panel.load(tmp_path / "BERT")
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert tree.GetNumberOfItemChildren(tree.GetSceneItemID()) == 2
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    choose(panel, t1=volumes[0])
    assert said(panel).startswith("The images are of different patients (T1: ANNA, ")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.click("assignButton")
    assert "different patients" not in said(panel)
    assert said(panel).count("of another patient (ANNA)") == 4
    box = panel.ui.patientSelector
    panel.wait_until(lambda: box.count == 3, 10)
    titles = [box.itemText(index) for index in range(box.count)]
    assert sorted(titles[1:]) == ["ANNA", "BERT"]
