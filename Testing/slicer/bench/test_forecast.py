"""What is said before a run: how accurate it is with these images, what is done to them, how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .driving import Panel
from .test_inputs import add_volume, choose


def told(panel: Panel) -> str:
    return str(panel.ui.forecastLabel.text).replace("\u00a0", " ")


def warns(panel: Panel) -> bool:
    return "color" in panel.ui.forecastLabel.styleSheet


def test_accuracy_is_that_of_the_images_chosen(panel: Panel) -> None:
    from BrainTumorSegLib.models import catalogue

    record = catalogue.find("brats-ensemble").description.accuracy_with(("flair",))
    assert record is not None
    panel.choose_model("brats-ensemble")
    assert told(panel).startswith("Load a patient's images")
    choose(panel, flair=add_volume("a"))
    assert told(panel).startswith(f"With FLAIR alone: mean Dice ET {record.values['ET']:.2f}")
    assert f"({record.cases} patients). Do not rely on ET and TC." in told(panel)
    assert warns(panel)
    choose(panel, t1ce=add_volume("b"), t1=add_volume("c"), t2=add_volume("d"))
    record = catalogue.find("brats-ensemble").description.accuracy_with(("t1", "t1ce", "t2", "flair"))
    assert record is not None
    figures = ", ".join(f"{region} {value:.2f}" for region, value in record.values.items())
    assert told(panel).startswith(f"With T1, T1ce, T2 and FLAIR: mean Dice {figures} (6 patients).")
    assert not warns(panel)
    panel.choose_model("lgg-unet")
    record = catalogue.find("lgg-unet").description.accuracy_with(("t1", "t1ce", "flair"))
    assert record is not None
    said = f"With T1, T1ce and FLAIR: mean Dice WT {record.values['WT']:.2f} (18 patients)."
    assert told(panel).startswith(said), "it takes no T2"
    assert panel.ui.t2InfoLabel.text == "The model does not use it."
    panel.choose_model("exact")
    assert "not measured" in told(panel)


def test_what_is_missing_is_said_where_one_looks(panel: Panel) -> None:
    choose(panel, flair=add_volume("a"))
    assert told(panel) == "Choose T1, T1ce, T2: the model “Model exact (exact)” needs it."
    assert not panel.ui.applyButton.enabled


def test_the_time_is_that_of_the_last_run_of_its_kind(panel: Panel, case: Path) -> None:
    panel.load(case)
    assert "known after the first run" in told(panel)
    panel.segment()
    panel.desk.take()
    assert "The last such run took " in told(panel)
    panel.ui.ttaCheckBox.checked = True
    assert "known after the first run" in told(panel), "averaging takes longer, nobody knows how much"
    panel.ui.ttaCheckBox.checked = False
    assert "The last such run took " in told(panel)


@pytest.mark.parametrize("kept", ["", "nan", "-3", "a while"])
def test_a_setting_that_was_spoilt(panel: Panel, kept: str) -> None:
    from BrainTumorSegPanel.forecast import Kind
    from BrainTumorSegPanel.widgets import remember

    kind = Kind("exact", "auto", False, False)
    kind.took(4)
    assert kind.seconds == 4
    remember(kind._name, kept)
    assert kind.seconds is None


def test_one_line_for_all_images(panel: Panel) -> None:
    import slicer

    from .test_preprocessing import add_head

    summary = panel.ui.imagesInfoLabel
    panel.choose_model("brats-segresnet")
    choose(panel, t1ce=add_head("a"), flair=add_head("b", 5.0))
    place = "On several grids; the result lies on that of T1ce."
    assert summary.text == f"{place} FLAIR will be registered to T1ce; all will be skull-stripped."
    panel.ui.preprocessingSelector.currentIndex = 1
    assert summary.text == f"{place} FLAIR will be resampled."
    assert "will not be skull-stripped" in panel.ui.flairInfoLabel.text
    panel.ui.preprocessingSelector.currentIndex = 0
    for name in ("a", "b"):
        voxels = slicer.util.arrayFromVolume(slicer.util.getNode(name))
        voxels[abs(voxels - 300) > 20] = 0
        slicer.util.arrayFromVolumeModified(slicer.util.getNode(name))
    choose(panel, flair=None)
    assert summary.text == "The result lies on the grid of T1ce, skull-stripped."


def test_averaging_over_mirrorings_is_passed_on(panel: Panel, case: Path) -> None:
    import json

    panel.load(case)
    panel.ui.ttaCheckBox.checked = True
    node = panel.segment()
    panel.desk.take()
    assert json.loads(node.GetAttribute("BrainTumorSeg.provenance"))["tta"] is True
