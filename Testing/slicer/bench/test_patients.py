"""Several patients in one scene, and images over time: each is chosen as the source of all four inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Testing import samples

from .driving import Panel, mask
from .test_inputs import add_volume, chosen

NAMES = ("T1", "T1ce", "T2", "FLAIR")


def entries(panel: Panel) -> list[str]:
    box = panel.ui.patientSelector
    return [box.itemText(index) for index in range(box.count)]


def take(panel: Panel, title: str) -> None:
    """As a person does, which says so with another signal than code does."""
    box = panel.ui.patientSelector
    box.currentIndex = entries(panel).index(title)
    box.activated.emit(box.currentIndex)
    panel.raise_uncaught()


def add_patient(name: str, *studies: str) -> None:
    """Four images in each study, called as those of any other patient."""
    import slicer

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), name)
    for study in studies:
        item = tree.CreateStudyItem(patient, study)
        for sequence in NAMES:
            tree.SetItemParent(tree.GetItemByDataNode(add_volume(f"{name} {study} {sequence}")), item)


def test_each_patient_can_be_chosen(panel: Panel) -> None:
    assert not panel.ui.patientSelector.visible
    add_patient("Anna", "2019")
    panel.wait_until(lambda: len(entries(panel)) == 2, 5)
    assert not panel.ui.patientSelector.visible, "there is nothing to choose"
    add_patient("Bert", "2018", "2020")
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    assert entries(panel) == ["All of the scene", "Anna", "Bert", "Bert: 2018", "Bert: 2020"]
    for title, prefix in (("Anna", "Anna 2019"), ("Bert: 2018", "Bert 2018"), ("Bert: 2020", "Bert 2020")):
        take(panel, title)
        assert set(chosen(panel).values()) == {f"{prefix} {name}" for name in NAMES}
    take(panel, "Anna")
    panel.ui.flairSelector.setCurrentNode(None)
    panel.click("assignButton")
    assert set(chosen(panel).values()) == {f"Anna 2019 {name}" for name in NAMES}, "the button keeps to the patient"


def test_nothing_of_another_patient_stays_chosen(panel: Panel) -> None:
    import slicer

    add_patient("Anna", "2019")
    add_patient("Bert", "2018")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("Bert 2018 T2"))
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    take(panel, "Anna")
    take(panel, "Bert")
    assert chosen(panel) == {"t1": "Bert 2018 T1", "t1ce": "Bert 2018 T1ce", "t2": None, "flair": "Bert 2018 FLAIR"}


def test_a_closed_scene_forgets_its_patients(panel: Panel) -> None:
    import slicer

    add_patient("Anna", "2019")
    add_patient("Bert", "2018")
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    take(panel, "Bert")
    slicer.mrmlScene.Clear(0)
    panel.raise_uncaught()
    assert entries(panel) == ["All of the scene"]
    add_patient("Carl", "2017")
    add_patient("Dora", "2016")
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    take(panel, "Dora")
    assert chosen(panel)["t1"] == "Dora 2016 T1"


@pytest.fixture
def visits(panel: Panel, patient: samples.Patient) -> Any:
    """The sample patient on day 0, three slices lower on day 90; the browser of the sequences."""
    import slicer

    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Visits")
    for name, image in patient.images.items():
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"P1_{name}")
        sequence.SetIndexName("day")
        sequence.SetIndexUnit("")
        for day, array in (("0", image.array), ("90", np.roll(image.array, 3, axis=0))):
            volume = slicer.util.addVolumeFromArray(array, image.affine)
            sequence.SetDataNodeAtValue(volume, day)
            slicer.mrmlScene.RemoveNode(volume)
        browser.AddSynchronizedSequenceNode(sequence)
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    return browser


def test_a_point_in_time_is_the_source_of_all_four(panel: Panel, visits: Any, patient: samples.Patient) -> None:
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    assert entries(panel)[1:] == ["Visits: day 0", "Visits: day 90"]
    take(panel, "Visits: day 90")
    assert visits.GetSelectedItemNumber() == 1
    assert set(chosen(panel).values()) == {f"P1_{name}" for name in patient.images}
    made = panel.segment()
    panel.desk.take()
    assert made.GetName() == "P1_t1ce day 90 tumour"
    assert "P1_flair day 90" in made.GetAttribute("BrainTumorSeg.provenance")
    expected = np.roll(patient.labels.array, 3, axis=0) > 0
    np.testing.assert_array_equal(mask(made, "WT", panel.ui.t1ceSelector.currentNode()), expected)


def test_browsing_while_it_runs_is_said(panel: Panel, visits: Any) -> None:
    panel.wait_until(lambda: panel.ui.patientSelector.visible, 5)
    take(panel, "Visits: day 0")
    panel.click("applyButton")
    visits.SetSelectedItemNumber(1)
    panel.wait_to_end()
    panel.desk.take()
    assert "shows another point in time now; the result is that of day 0" in panel.ui.resultInfoLabel.text
