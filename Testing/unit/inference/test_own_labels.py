"""Models with labels of their own: a made meningioma model gives segments of its names, with sizes and colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib import cli
from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.result_record import ResultRecord, read_record
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.models.catalogue import add, load_model
from BrainTumorSegLib.models.ensemble import average_of
from BrainTumorSegLib.models.importers.wishes import Wishes
from Testing.nnunet_samples import predict, write_model
from Testing.samples import Patient

OPTIONS = RunOptions(device="cpu", precision="fp32", preprocess="none", tta=True)
CLASSES: dict[str, Any] = {"background": 0, "meningioma": 1, "oedema around it": 2, "dural tail": 3}
NESTED: dict[str, Any] = {"background": 0, "whole lesion": [1, 2, 3], "solid part": [1, 3], "calcified": 3}
SAID = dict.fromkeys(("meningioma", "oedema around it", "dural tail", "whole lesion", "solid part", "calcified"), "own")


def images_of(patient: Patient) -> np.ndarray:
    return np.stack([patient.images[name].array for name in ("t1", "t1ce", "t2", "flair")]).astype(np.float32)


@pytest.mark.parametrize("labels", [CLASSES, NESTED], ids=["classes", "nested"])
def test_a_meningioma_model_has_segments_of_its_names(tmp_path: Path, patient: Patient, labels: dict[str, Any]) -> None:
    networks = write_model(tmp_path, labels=labels)
    with pytest.raises(CheckpointError, match="of which it is not known what it is"):
        add(tmp_path)
    add(tmp_path, Wishes(id="men", labels=SAID))
    result = segment_case(patient.case(), load_model("men"), OPTIONS)
    names = [name for name in labels if name != "background"]
    assert list(result.segments) == names and result.regions == ()
    assert len({region.colour for region in result.own}) == 3
    wanted = predict(networks, images_of(patient), (16, 16, 16), (0, 1, 2), softmax=labels is CLASSES)
    for name in names:
        those = labels[name] if isinstance(labels[name], list) else [labels[name]]
        assert np.mean(result.mask(name) != np.isin(wanted, those)) < 1e-3
        sizes = result.measurements[name]
        assert sizes.volume_ml == pytest.approx(result.mask(name).sum() * 1e-3)
        assert sizes.share == pytest.approx(result.mask(name).sum() / (result.labels.array > 0).sum())
    assert any("labels of its own" in warning for warning in result.warnings)


def test_own_labels_beside_those_of_brats(tmp_path: Path, patient: Patient) -> None:
    """As after treatment: the cavity is in no region, and the regions are what they are without it."""
    labels = {"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "resection cavity": 4}
    write_model(tmp_path, labels=labels)
    d = add(tmp_path, Wishes(id="post", labels={"resection cavity": "own"})).description
    assert d.regions == ("ET", "TC", "WT") and [region.name for region in d.own] == ["resection cavity"]
    result = segment_case(patient.case(), load_model("post"), OPTIONS)
    assert set(result.measurements) == {"ET", "TC", "WT", "resection cavity"}
    assert not (result.mask("resection cavity") & result.mask("WT")).any()
    assert set(np.unique(result.labels.array)) <= {0, 1, 2, 3, 8}


def test_a_class_that_makes_up_no_region_keeps_its_name(tmp_path: Path) -> None:
    """Oedema alone is neither whole tumour nor core."""
    write_model(tmp_path, labels={"background": 0, "meningioma": 1, "edema": 2})
    d = add(tmp_path, Wishes(labels={"meningioma": "own"})).description
    assert [region.name for region in d.own] == ["meningioma", "edema"] and d.regions == ()


def test_files_and_records(tmp_path: Path, write_case: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model", labels=CLASSES)
    add(tmp_path / "model", Wishes(id="men", labels=SAID))
    output = tmp_path / "out" / "men.nii.gz"
    arguments = ["segment", str(write_case()), "-o", str(output), "--model", "men", "--device", "cpu"]
    assert cli.main([*arguments, "--labels", "brats2021", "--report", str(tmp_path / "out" / "men.html")]) == 0
    values = set(np.unique(read_volume(output).array).tolist())
    record = read_record(output.with_name("men.json"))
    assert {str(value) for value in values} <= set(record.labels)
    assert {**record.labels, "0": "background"} == {
        "0": "background",
        "5": "meningioma",
        "6": "oedema around it",
        "7": "dural tail",
    }
    assert [region.name for region in record.own_regions] == ["meningioma", "oedema around it", "dural tail"]
    assert record.own["dural tail"].labels == (7,) and len(record.own["dural tail"].colour) == 3
    again = ResultRecord.of_json(json.loads(json.dumps(record.as_json())))
    assert again.own == record.own
    assert "dural tail" in (tmp_path / "out" / "men.html").read_text("utf-8")
    capsys.readouterr()
    assert cli.main(["models", "info", "men"]) == 0
    assert "dural tail (its own)" in capsys.readouterr().out


def test_a_record_without_own_labels_is_as_before(patient: Patient, tmp_path: Path) -> None:
    write_model(tmp_path)
    add(tmp_path, Wishes(id="tiny"))
    record = ResultRecord.of(segment_case(patient.case(), load_model("tiny"), OPTIONS))
    assert "own" not in record.as_json() and record.own_regions == ()


def test_names_that_regions_have_are_refused(tmp_path: Path) -> None:
    labels = {"background": 0, "wt": 1, "other": 2}
    write_model(tmp_path, labels=labels)
    with pytest.raises(CheckpointError, match="names of their own"):
        add(tmp_path, Wishes(labels={"wt": "own", "other": "own"}))


def test_they_are_not_averaged_with_others(tmp_path: Path) -> None:
    write_model(tmp_path, labels=CLASSES)
    add(tmp_path, Wishes(id="men", labels=SAID))
    add(tmp_path, Wishes(id="other", labels=SAID))
    with pytest.raises(CheckpointError, match="cannot be averaged"):
        average_of([load_model("men"), load_model("other")], "both")
