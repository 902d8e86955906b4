"""What a file or folder is said to be before it is added, and what is asked of it, as data."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import CancelledError, CheckpointError, RequestError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.models.catalogue import add, inspect, models_folder
from BrainTumorSegLib.models.importers.findings import Findings
from BrainTumorSegLib.models.importers.wishes import Question, Wishes
from Testing.monai_samples import AUTO_ORDER, METADATA, auto3dseg_config, write_auto3dseg, write_bundle
from Testing.nnunet_samples import write_model
from Testing.samples import write_oracle

UNNAMED = {str(number): f"channel {number}" for number in range(4)}
STRANGE = {"background": 0, "lesion": [1, 2, 3], "tumor core": [1, 3], "bright, inner": 3}


def asked(found: Findings, option: str) -> Question:
    return next(question for question in found.questions if question.option == option)


def test_of_a_model_that_says_all_nothing_is_open(tmp_path: Path) -> None:
    write_model(tmp_path / "in", folds=2)
    archive = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", tmp_path / "in"))
    found = inspect(archive)
    assert (found.kind, found.dimensions, found.networks) == ("nnU-Net v2", 3, 2)
    assert found.modalities == ("t1", "t1ce", "t2", "flair") and found.outputs == ("ET", "TC", "WT")
    assert found.id == "Dataset001_Tiny-3d_fullres" and found.bytes > 10_000 and found.licence == ""
    assert not found.open and not found.replaces
    assert asked(found, "folds").choices == ("0", "1") and asked(found, "source").known == ("",)
    assert not models_folder().exists(), "nothing was added"
    add(archive)
    assert inspect(archive).replaces


def test_what_lies_in_an_archive_is_named_by_its_place_there(tmp_path: Path) -> None:
    """Not by the folder that it was unpacked to, which is gone by then."""
    write_model(tmp_path / "in", channels=UNNAMED)
    nnunet = shutil.make_archive(str(tmp_path / "nn"), "zip", tmp_path / "in")
    dataset = next(path for path in (tmp_path / "in").rglob("dataset.json"))
    place = f"nn.zip/{dataset.relative_to(tmp_path / 'in').as_posix()}"
    (question,) = inspect(nnunet).open
    assert question.text.startswith(f"{tmp_path}/{place} does not say which")
    dataset.write_text("{}")
    write_bundle(tmp_path / "b", config={})
    write_auto3dseg(tmp_path / "a" / "x" / "model.pt", auto3dseg_config(normalize_mode="other"))
    for name, source, wanted in (("nn", "in", place), ("flat", "b", "flat.zip/"), ("auto", "a", "auto.zip/x/")):
        archive = shutil.make_archive(str(tmp_path / name), "zip", tmp_path / source)
        for ask in (add, inspect):
            with pytest.raises(RequestError) as caught:
                ask(archive)
            said = caught.value.sentence()
            assert f"{tmp_path}/{wanted}" in said and "braintumorseg-" not in said, said


def test_a_bundle_right_in_an_archive_is_called_as_the_archive(tmp_path: Path) -> None:
    write_bundle(tmp_path / "in")
    assert inspect(shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path / "in")).id == "tiny"


def test_all_that_is_missing_is_asked_at_once(tmp_path: Path) -> None:
    write_model(tmp_path, channels=UNNAMED, labels=STRANGE)
    found = inspect(tmp_path)
    channels, labels = found.open
    assert channels.option == "channels" and channels.names == tuple(UNNAMED.values()) and not any(channels.known)
    assert labels.names == ("lesion", "tumor core", "bright, inner") and labels.known == ("", "TC", "")
    assert not found.modalities and not found.outputs, "what is not known is not said"
    options = {"channels": channels.answer(("flair", "t1", "t2", "t1ce")), "labels": labels.answer(("WT", "TC", "ET"))}
    assert cli.main(["models", "add", str(tmp_path), "--id", "mine", *(f"--{k}={v}" for k, v in options.items())]) == 0
    assert inspect(models_folder() / "mine.safetensors").modalities == ("flair", "t1", "t2", "t1ce")


def test_which_of_several_is_asked_first(tmp_path: Path) -> None:
    write_model(tmp_path, 3, channels=UNNAMED)
    write_model(tmp_path / "more", 2)
    found = inspect(tmp_path)
    (only,) = found.open
    assert only.decides and len(only.choices) == 2 and found.title == ""
    full = next(choice for choice in only.choices if choice.endswith("3d_fullres"))
    assert [question.option for question in inspect(tmp_path, Wishes(configuration=full)).open] == ["channels"]
    assert not inspect(tmp_path, Wishes(configuration="2d")).open


def test_one_of_the_models_of_an_auto3dseg_training(tmp_path: Path) -> None:
    for fold in range(2):
        write_auto3dseg(tmp_path / f"segresnet_{fold}" / "model" / "model.pt", auto3dseg_config())
    assert inspect(tmp_path).open[0].choices == ("segresnet_0/model/model.pt", "segresnet_1/model/model.pt")
    wishes = Wishes(configuration="segresnet_1", channels=AUTO_ORDER)
    added = add(tmp_path, wishes).description
    assert added.modalities == AUTO_ORDER and added.id == "segresnet_1", "every training has its model in model/"
    archive = shutil.make_archive(f"{tmp_path}-all", "zip", tmp_path.parent, tmp_path.name)
    assert len(inspect(archive).open[0].choices) == 2, "in an archive of the folder, too"


def test_adding_can_be_followed_and_ended(tmp_path: Path) -> None:
    """Fold by fold; where it is ended nothing is left."""
    write_model(tmp_path, folds=3)
    heard: list[tuple[float, str]] = []
    add(tmp_path, Wishes(id="whole"), Progress(lambda _, fraction, message: heard.append((fraction, message))))
    shares = [fraction for fraction, _ in heard]
    assert shares == sorted(shares) and len(set(shares)) >= 7 and any("fold_2" in message for _, message in heard)

    def end(stage: str, fraction: float, message: str) -> None:
        if "fold_1" in message:
            progress.cancelled.set()

    progress = Progress(end)
    with pytest.raises(CancelledError):
        add(tmp_path, Wishes(id="other"), progress)
    assert [path.name for path in models_folder().iterdir()] == ["whole.safetensors"]


def test_labels_of_one_meaning_are_asked_again(tmp_path: Path) -> None:
    """Necrosis and what does not enhance are both NCR by their names; one of them is something else here."""
    labels = {"background": 0, "necrosis": 1, "non-enhancing": 2, "enhancing tumor": 3}
    write_model(tmp_path, labels=labels)
    (question,) = inspect(tmp_path).open
    assert question.option == "labels" and "one meaning" in question.text and all(question.known)
    assert not inspect(tmp_path, Wishes(labels={"2": "ED"})).open


def test_what_is_said_of_a_label_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Else a slip of the pen leaves a label with the meaning that its name suggests."""
    write_model(tmp_path, labels={"background": 0, "tumor": 1, "edema": 2})
    for ask in (add, inspect):
        with pytest.raises(RequestError, match="'tumour'") as caught:
            ask(tmp_path, Wishes(labels={"tumour": "own"}))
        assert caught.value.option == "labels" and "tumor (1), edema (2)" in caught.value.remedy
    assert add(tmp_path, Wishes(labels={"Tumor": "own"})).description.own[0].name == "tumor"
    listed = Wishes(labels={"1": "own", "2": "ED", "core": "TC"})
    assert not inspect(tmp_path, listed).open, "where all is said, what fits another model of a list does no harm"


def test_an_id_or_axes_that_cannot_be_are_asked_again(tmp_path: Path) -> None:
    cases = [("id", "a b/c"), ("id", "../x"), ("orientation", "XYZ"), ("orientation", "LR")]
    for option, text in cases:
        with pytest.raises(RequestError, match=re.escape(text)) as caught:
            Wishes(id=text) if option == "id" else Wishes(orientation=text)
        assert caught.value.option == option


def test_nothing_is_said_of_a_checkpoint_that_says_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_oracle(tmp_path / "own.safetensors", id="own")
    for action in ("add", "inspect"):
        assert cli.main(["models", action, str(own), "--id", "other"]) == 2
        assert "--id" in capsys.readouterr().err
    assert not models_folder().exists()


def test_a_bundle_whose_channels_have_no_names(tmp_path: Path) -> None:
    metadata = copy.deepcopy(METADATA)
    metadata["network_data_format"]["inputs"]["image"]["channel_def"] = {"0": "T1", "1": "T1"}
    write_bundle(tmp_path / "tiny", metadata=metadata)
    found = inspect(tmp_path / "tiny")
    (question,) = found.open
    assert found.kind == "MONAI bundle" and question.names == ("T1", "T1", "channel 2", "channel 3")
    assert question.known == ("", "", "", ""), "two that say the same say nothing"


def test_own_files_and_what_is_none(tmp_path: Path) -> None:
    found = inspect(write_oracle(tmp_path / "own.safetensors", id="own", title="Own"))
    assert (found.kind, found.title, found.questions) == ("BrainTumorSeg", "Own", ())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        inspect(tmp_path / "nowhere")
    for path in (tmp_path, Path(shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path))):
        with pytest.raises(CheckpointError, match=r"no model of nnU-Net v2, MONAI bundle, MONAI Auto3DSeg") as caught:
            add(path)
        assert "plans.json" in caught.value.remedy
    write_model(tmp_path / "nnunet", channels=UNNAMED)
    assert inspect(tmp_path / "nnunet", Wishes(id="lgg-unet")).open[-1].option == "id", "that is an included one's"


def test_the_command_says_it_as_text_and_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path, channels=UNNAMED)
    assert cli.main(["models", "inspect", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "nnU-Net v2" in text and "--channels" in text and "ET, TC, WT" in text
    assert cli.main(["models", "--progress", "json", "inspect", str(tmp_path)]) == 0
    values = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]
    assert from_json(Findings, values) == inspect(tmp_path)
    assert cli.main(["models", "--progress", "json", "add", str(tmp_path)]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["option"] == "channels"
    assert cli.main(["models", "add", str(tmp_path), "--id", "named", "--channels", "FLAIR, T1Gd,t1n,t2w"]) == 0
    assert inspect(models_folder() / "named.safetensors").modalities == ("flair", "t1ce", "t1", "t2")
