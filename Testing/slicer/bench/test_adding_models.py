"""Models come to the panel: files, folders and archives of several programs, and public ones by a download."""

from __future__ import annotations

import copy
import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib.models.catalogue import installed
from BrainTumorSegLib.models.public_models import VARIABLE, find_public, pinned
from Testing.model_server import Served, serving
from Testing.monai_samples import BUNDLE, auto3dseg_config, write_auto3dseg, write_bundle
from Testing.nnunet_samples import write_model

from .driving import Panel, only_message

UNNAMED = {str(number): f"channel {number}" for number in range(4)}
STRANGE = {"background": 0, "lesion": [1, 2, 3], "middle": [1, 3], "bright": 3}
ORDER = ("flair", "t1", "t2", "t1ce")
# What a person does with a dialogue: fills it in, and clicks Add or Cancel.
Answer = Callable[[Any], bool]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server with a small model of nnU-Net."""
    write_model(tmp_path / "made")
    (tmp_path / "made" / "more.bin").write_bytes(random.Random(0).randbytes(600_000))  # it takes a while to come
    with serving() as state:
        state.content = archive(tmp_path / "made").read_bytes()
        yield state


def archive(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


@pytest.fixture
def listed(request: pytest.FixtureRequest, tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list names that model alone; made before the panel opens."""
    changes = getattr(request, "param", {})
    monkeypatch.setenv(VARIABLE, str(served.write_list(tmp_path / "list.json", **changes)))


def widget(dialog: Any, name: str) -> Any:
    import qt

    found = dialog.findChild(qt.QWidget, name)
    assert found is not None, f"the dialogue has no {name}"
    return found


def select(dialog: Any, name: str, value: str) -> None:
    box = widget(dialog, f"{name}Selector")
    box.currentIndex = [box.itemData(index) for index in range(box.count)].index(value)


def text(dialog: Any, name: str) -> str:
    return str(widget(dialog, f"{name}Label").text).replace("\u200b", "")


def click(dialog: Any, name: str = "addButton") -> bool:
    """Whether the dialogue then was accepted."""
    button = widget(dialog, name)
    assert button.enabled, button.toolTip
    button.click()
    return bool(dialog.result())


def says(*values: str, option: str = "channels") -> Answer:
    """Choose these in the order of what is asked of, and click Add."""

    def fill(dialog: Any) -> bool:
        for number, value in enumerate(values):
            select(dialog, f"{option}{number}", value)
        return click(dialog)

    return fill


def add(panel: Panel, path: Path, *answers: Any) -> None:
    """Choose it by the menu of Add…, answer what is asked, and wait until nothing runs."""
    panel.desk.answer(str(path), *answers)
    menu = panel.ui.addModelButton.menu()
    next(action for action in menu.actions() if ("Folder" in action.text) == path.is_dir()).trigger()
    wait(panel)


def wait(panel: Panel) -> None:
    panel.raise_uncaught()
    panel.wait_until(lambda: not panel.widget.models.work.busy)


def own(home: Path) -> set[str]:
    """Files in the user's folder of models, hidden ones, too."""
    return {path.name for path in (home / "models").iterdir()}


def chosen(panel: Panel) -> str:
    return str(panel.widget.models.model)


def test_a_checkpoint_is_shown_added_and_removed(panel: Panel, models: dict[str, Path], home: Path) -> None:
    panel.choose_model("whole")
    panel.desk.answer("Ok")
    panel.click("removeModelButton")
    assert "whole" in only_message(panel.desk).text and "whole.safetensors" not in own(home)
    seen: list[str] = []

    def look(dialog: Any) -> bool:
        seen.append(text(dialog, "modelFound"))
        assert "whole.safetensors" not in own(home), "nothing is added before it was shown"
        return click(dialog)

    add(panel, models["whole"], look)
    assert "BrainTumorSeg: Model whole" in seen[0] and "gives WT" in seen[0] and "Apache-2.0" in seen[0]
    assert "whole.safetensors" in own(home) and chosen(panel) == "whole"
    assert "Added whole" in panel.ui.modelStatusLabel.text
    panel.desk.take()


def test_what_nnunet_leaves_open_is_asked(panel: Panel, tmp_path: Path) -> None:
    """Channels and labels in one dialogue; it is added only when all is answered."""
    write_model(tmp_path / "results", channels=UNNAMED, labels=STRANGE, folds=2)

    def fill(dialog: Any) -> bool:
        assert "nnU-Net v2" in text(dialog, "modelFound") and "2 networks" in text(dialog, "modelFound")
        assert not widget(dialog, "addButton").enabled and "sequence" in widget(dialog, "addButton").toolTip
        for number, name in enumerate(ORDER):
            select(dialog, f"channels{number}", name)
        assert not widget(dialog, "addButton").enabled
        for number, region in enumerate(("WT", "TC", "ET")):
            select(dialog, f"labels{number}", region)
        widget(dialog, "idEdit").text = "mine"
        widget(dialog, "licenceEdit").text = "CC BY 4.0, by its makers"
        widget(dialog, "folds-1CheckBox").checked = False
        return click(dialog)

    add(panel, tmp_path / "results", fill)
    d = installed()[0]["mine"].description
    assert d.modalities == ORDER and d.regions == ("ET", "TC", "WT") and not d.members
    assert d.weights_licence == "CC BY 4.0, by its makers" and chosen(panel) == "mine"
    assert "Needs FLAIR, T1, T2, T1ce" in panel.ui.modelInfoLabel.text.replace("\u200b", "")
    panel.desk.take()


def test_labels_of_its_own(panel: Panel, tmp_path: Path) -> None:
    labels = {"background": 0, "meningioma, solid": 1, "dural tail": 2}
    write_model(tmp_path / "men", labels=labels)
    add(panel, tmp_path / "men", says("own", "own", option="labels"))
    added = installed()[0][chosen(panel)].description
    assert [region.name for region in added.own] == ["meningioma, solid", "dural tail"]
    panel.desk.take()


def test_which_of_several_models(panel: Panel, tmp_path: Path) -> None:
    write_model(tmp_path / "results", 3)
    write_model(tmp_path / "results" / "more", 2, channels=UNNAMED)
    steps: list[str] = []

    def choose(dialog: Any) -> bool:
        steps.append(widget(dialog, "addButton").text)
        box = widget(dialog, "configuration0Selector")
        box.currentIndex = next(index for index in range(box.count) if box.itemText(index).endswith("2d"))
        return click(dialog)

    def fill(dialog: Any) -> bool:
        steps.append(widget(dialog, "addButton").text)
        assert "2D" in text(dialog, "modelFound")
        return says(*ORDER)(dialog)

    add(panel, tmp_path / "results", choose, fill)
    assert steps == ["Continue", "Add"]
    assert installed()[0][chosen(panel)].description.dimensions == 2
    panel.desk.take()


def test_a_bundle_and_a_file_that_stands_for_its_folder(panel: Panel, tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    add(panel, tmp_path / "tiny" / "configs" / "metadata.json", lambda dialog: click(dialog))
    assert chosen(panel) == "tiny"
    seen: list[str] = []

    def look(dialog: Any) -> bool:
        seen.append(text(dialog, "modelProblem"))
        return click(dialog, "cancelButton")

    add(panel, tmp_path / "tiny", look)
    assert "takes the place of your model tiny" in seen[0]
    panel.desk.take()


def test_an_archive_of_auto3dseg(panel: Panel, tmp_path: Path) -> None:
    write_auto3dseg(tmp_path / "brats-x" / "model.pt", auto3dseg_config())
    add(panel, archive(tmp_path / "brats-x"), says(*ORDER))
    assert installed()[0]["brats-x"].description.modalities == ORDER and chosen(panel) == "brats-x"
    panel.desk.take()


def test_wrong_answers_are_asked_again(panel: Panel, tmp_path: Path) -> None:
    """A sequence twice; regions that do not lie within each other; the other answers stay."""
    write_model(tmp_path / "results", channels=UNNAMED, labels=STRANGE)
    problems: list[str] = []

    def first(dialog: Any) -> bool:
        for number, region in enumerate(("ET", "TC", "WT")):
            select(dialog, f"labels{number}", region)
        return says("t1", "t1", "t2", "flair")(dialog)

    def second(dialog: Any) -> bool:
        problems.append(text(dialog, "modelProblem"))
        return says(*ORDER)(dialog)

    def third(dialog: Any) -> bool:
        problems.append(text(dialog, "modelProblem"))
        assert [widget(dialog, f"channels{n}Selector").currentIndex for n in range(4)] == [3, 0, 2, 1]
        return says("WT", "TC", "ET", option="labels")(dialog)

    add(panel, tmp_path / "results", first, second, third)
    assert "t1, t1" in problems[0] and "does not lie within" in problems[1]
    assert installed()[0][chosen(panel)].description.modalities == ORDER
    panel.desk.take()


def test_who_cancels_the_dialogue_adds_nothing(panel: Panel, tmp_path: Path, home: Path) -> None:
    write_model(tmp_path / "results")
    before, model = own(home), chosen(panel)
    add(panel, tmp_path / "results", lambda dialog: click(dialog, "cancelButton"))
    assert own(home) == before and chosen(panel) == model
    panel.desk.take()
    panel.desk.answer("")
    panel.ui.addModelButton.menu().actions()[0].trigger()
    assert not panel.widget.models.work.busy and len(panel.desk.take()) == 1, "no file was chosen"


def test_a_refusal_is_one_sentence(panel: Panel, tmp_path: Path, home: Path) -> None:
    before = own(home)
    config = copy.deepcopy(BUNDLE)
    config["network_def"] = {"_target_": "ViT"}
    write_bundle(tmp_path / "tiny", config)
    add(panel, tmp_path / "tiny")
    assert "ViT" in panel.desk.take()[-1].text
    (tmp_path / "broken.safetensors").write_bytes(b"no checkpoint")
    add(panel, tmp_path / "broken.safetensors")
    assert "broken.safetensors" in panel.desk.take()[-1].text
    (tmp_path / "empty").mkdir()
    add(panel, tmp_path / "empty")
    assert "empty" in panel.desk.take()[-1].text
    assert own(home) == before and "failed" in panel.ui.modelStatusLabel.text


def test_cancel_leaves_nothing(panel: Panel, tmp_path: Path, home: Path) -> None:
    write_model(tmp_path / "results", folds=3)
    before = own(home)
    panel.desk.answer(str(tmp_path / "results"), lambda dialog: click(dialog))
    panel.ui.addModelButton.menu().actions()[1].trigger()
    panel.wait_until(lambda: len(panel.desk.shown) == 2)  # it is being added
    assert not panel.ui.addModelButton.enabled and "being added" in panel.ui.addModelButton.toolTip
    panel.ui.cancelModelButton.click()
    wait(panel)
    assert own(home) == before and panel.ui.modelStatusLabel.text == "Cancelled."
    panel.desk.take()


def test_one_run_at_a_time(panel: Panel, case: Path, tmp_path: Path) -> None:
    panel.load(case)
    write_model(tmp_path / "results")
    panel.desk.answer(str(tmp_path / "results"), lambda dialog: click(dialog))
    panel.ui.addModelButton.menu().actions()[1].trigger()
    assert not panel.ui.applyButton.enabled and panel.ui.applyButton.toolTip == "A model is being added."
    wait(panel)
    panel.desk.take()
    panel.choose_model("slow")
    panel.click("applyButton")
    assert not panel.ui.addModelButton.enabled and "segmentation is running" in panel.ui.addModelButton.toolTip
    panel.click("cancelButton")
    panel.wait_to_end()
    assert panel.ui.addModelButton.enabled


@pytest.mark.usefixtures("listed")
class TestDownloads:
    """Models of a list, from a server on this machine."""

    def test_nothing_is_asked_of_the_network_before_download(self, served: Served, panel: Panel, home: Path) -> None:
        """Opening the panel, looking at cards, and saying no."""
        panel.ui.publicModelsCollapsibleButton.collapsed = False
        shown = panel.ui.publicModelCardBrowser.toPlainText()
        words = ("Tiny", "Tests", "T1, T1ce, T2, FLAIR", "WT, TC, ET", "CC-BY-4.0", "none (nowhere)", " kB", "SHA-256")
        assert not [word for word in words if word not in shown]
        panel.widget.onReload()
        panel.desk.answer("Cancel")
        panel.click("downloadModelButton")
        question = only_message(panel.desk).text
        assert "127.0.0.1" in question and "CC-BY-4.0" in question
        assert not served.asked and not panel.widget.models.work.busy and not (home / "cache").exists()

    def test_a_model_whose_digest_is_stated(self, served: Served, panel: Panel) -> None:
        panel.desk.answer("Ok")
        panel.click("downloadModelButton")
        wait(panel)
        assert chosen(panel) == "tiny" and len(served.asked) == 1 and not find_public("tiny").file.exists()
        assert "It is installed." in panel.ui.publicModelCardBrowser.toPlainText()
        assert len(panel.desk.take()) == 1, "no other question"

    @pytest.mark.parametrize("listed", [{"sha256": "", "sha1": "", "bytes": 0}], indirect=True)
    def test_a_digest_that_nobody_states_needs_consent(self, served: Served, panel: Panel, home: Path) -> None:
        digest = hashlib.sha256(served.content).hexdigest()
        panel.desk.answer("Ok", "No")
        panel.click("downloadModelButton")
        wait(panel)
        assert digest in panel.desk.take()[-1].text.replace("\u2060", "")
        assert not pinned() and chosen(panel) == "exact" and not list((home / "cache" / "downloads").iterdir())
        panel.desk.answer("Ok", "Yes")
        panel.click("downloadModelButton")
        wait(panel)
        assert pinned() == {"tiny": digest} and chosen(panel) == "tiny"
        assert digest in panel.ui.publicModelCardBrowser.toPlainText()
        panel.desk.take()

    def test_a_cancelled_download_goes_on(self, served: Served, panel: Panel, home: Path) -> None:
        served.pause, before = 0.3, own(home)
        panel.desk.answer("Ok", "Ok")
        panel.click("downloadModelButton")
        part = home / "cache" / "downloads" / "tiny.zip.part"
        panel.wait_until(lambda: part.is_file() and part.stat().st_size > 0)
        assert panel.ui.applyButton.toolTip != "A model is being added.", "a download leaves the engine to others"
        panel.ui.cancelModelButton.click()
        wait(panel)
        assert panel.ui.modelStatusLabel.text == "Cancelled." and own(home) == before
        there, served.pause = part.stat().st_size, 0.0
        panel.click("downloadModelButton")
        wait(panel)
        assert served.asked[1][1] == f"bytes={there}-" and chosen(panel) == "tiny"
        panel.desk.take()

    def test_a_server_that_is_not_there(self, served: Served, panel: Panel, home: Path) -> None:
        before, served.breaks = own(home), [0] * 9
        panel.desk.answer("Ok")
        panel.click("downloadModelButton")
        wait(panel)
        assert "cannot be downloaded" in panel.desk.take()[-1].text and own(home) == before

    @pytest.mark.parametrize("listed", [{"labels": {"1": "WT"}, "sha1": ""}], indirect=True)
    def test_what_the_list_does_not_know_is_asked(
        self, tmp_path: Path, served: Served, panel: Panel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_model(tmp_path / "strange", labels=STRANGE)
        served.content = archive(tmp_path / "strange").read_bytes()
        changes = {"labels": {}, "sha1": "", "channels": []}
        monkeypatch.setenv(VARIABLE, str(served.write_list(tmp_path / "list.json", **changes)))
        panel.widget.onReload()
        panel.desk.answer("Ok", says("WT", "TC", "ET", option="labels"))
        panel.click("downloadModelButton")
        wait(panel)
        d = installed()[0]["tiny"].description
        assert d.regions == ("ET", "TC", "WT") and d.weights_licence == "CC-BY-4.0" and len(served.asked) == 1
        panel.desk.take()

    def test_it_waits_for_a_segmentation(self, served: Served, panel: Panel, case: Path) -> None:
        panel.load(case)
        panel.choose_model("slow")
        panel.click("applyButton")
        panel.desk.answer("Ok")
        panel.click("downloadModelButton")
        panel.wait_until(lambda: "when nothing else runs" in panel.ui.modelStatusLabel.text)
        assert "tiny" not in installed()[0]
        panel.click("cancelButton")
        wait(panel)
        panel.wait_to_end()
        assert chosen(panel) == "tiny"
        panel.desk.take()


def test_the_shipped_list(panel: Panel) -> None:
    box = panel.ui.publicModelSelector
    titles = {box.itemData(index): box.itemText(index) for index in range(box.count)}
    assert titles["auto3dseg-brats-men"] == "Meningioma (Auto3DSeg)" and len(titles) >= 6
    for index in range(box.count):
        box.currentIndex = index
        shown = panel.ui.publicModelCardBrowser.toPlainText()
        assert find_public(box.itemData(index)).licence in shown and "https://" in shown


def test_a_list_that_cannot_be_read(panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel opens all the same, and says it."""
    (tmp_path / "list.json").write_text("{")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "list.json"))
    panel.widget.onReload()
    assert "list.json" in only_message(panel.desk).text
    assert panel.ui.publicModelSelector.count == 0 and not panel.ui.downloadModelButton.enabled
    assert panel.ui.modelSelector.count > 0


def test_the_dialogue_is_as_narrow_as_the_panel(panel: Panel, tmp_path: Path) -> None:
    """Whatever channels and labels are called."""
    import ctk
    import qt
    import slicer

    long = "a_name_without_any_place_to_break_" * 3
    channels = {str(number): f"{long}{number}" for number in range(4)}
    labels = {"background": 0, **{f"{number}_{long}": number for number in range(1, 13)}}
    write_model(tmp_path / "results", channels=channels, labels=labels)

    def look(dialog: Any) -> bool:
        dialog.findChild(ctk.ctkCollapsibleButton).collapsed = False
        slicer.app.processEvents()
        assert dialog.width <= 400 and dialog.minimumSizeHint().width() <= 400 and dialog.height <= 700
        for box in dialog.findChildren(qt.QComboBox):
            assert box.sizeAdjustPolicy == qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        return click(dialog, "cancelButton")

    add(panel, tmp_path / "results", look)
    panel.desk.take()
