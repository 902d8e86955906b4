"""Outputs never lie over inputs, over what describes them, or over each other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.cli import main
from BrainTumorSegLib.domain.errors import OutputError
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.outputs import check_derived, check_folder, check_mask, check_outputs, check_record, same_place
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.io.staging import staged

OURS = ResultRecord("P", {"0": "background"}, "brats2023", ("WT",), {}, images=("a.png",))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "case" / "P_t1.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"an image")
    return path


def test_an_input_by_any_name_is_refused(image: Path, tmp_path: Path) -> None:
    (tmp_path / "link.nii.gz").symlink_to(image)
    os.link(image, tmp_path / "hard.nii.gz")
    (tmp_path / "folder").symlink_to(image.parent, target_is_directory=True)
    names = [image, tmp_path / "link.nii.gz", tmp_path / "hard.nii.gz", tmp_path / "folder" / image.name]
    names.append(image.parent / ".." / "case" / image.name)
    for name in names:
        with pytest.raises(OutputError, match="is the input"):
            check_outputs([name], [image])
    check_outputs([tmp_path / "new.nii.gz", image.with_name("P_seg.nii.gz")], [image])


def test_no_folder_is_made_under_the_name_of_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in (".png", ".nii.gz", ".TIF", ".dcm"):
        with pytest.raises(OutputError, match="is no name of a folder"):
            check_folder(tmp_path / f"out{suffix}")
    (tmp_path / "scan.png").mkdir()
    for name in ("scan.png", "out", "P1.2"):
        check_folder(tmp_path / name)
    for modality in ("t1", "flair"):
        voxels = np.arange(1000.0).reshape(10, 10, 10)
        (tmp_path / "in").mkdir(exist_ok=True)
        write_volume(Volume(voxels, np.diag([5.0, 5, 5, 1])), tmp_path / "in" / f"{modality}.nii.gz")
    assert main(["preprocess", str(tmp_path / "in"), "-o", str(tmp_path / "out.nii.gz")]) == 2
    assert "is no name of a folder" in capsys.readouterr().err and not (tmp_path / "out.nii.gz").exists()


def test_outputs_that_are_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twin").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(OutputError, match="Two outputs"):
        check_outputs([tmp_path / "x.html", tmp_path / "twin" / "x.html"])
    check_outputs([tmp_path / "x.html", tmp_path / "y.html"])


def test_names_that_differ_in_case_are_one_where_the_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert same_place(tmp_path / "ET.nii", tmp_path / "et.nii") is (tmp_path.parent / tmp_path.name.upper()).exists()
    monkeypatch.setattr("BrainTumorSegLib.io.outputs._ignores_case", lambda folder: True)
    assert same_place(tmp_path / "ET.nii", tmp_path / "et.nii")
    assert not same_place(tmp_path / "ET.nii", tmp_path / "tc.nii")


def test_the_description_of_an_input_is_refused(image: Path) -> None:
    sidecar = image.with_name("P_t1.json")
    check_outputs([sidecar], [image])
    sidecar.write_text('{"RepetitionTime": 2}')
    for inputs in ([image], [image.parent]):
        with pytest.raises(OutputError, match=r"P_t1\.json"):
            check_outputs([sidecar], inputs)


def test_images_of_a_folder_that_is_read_are_refused_and_our_earlier_results_are_not(image: Path) -> None:
    folder = image.parent
    expert, ours = folder / "P_seg.nii.gz", folder / "result.nii.gz"
    for path in (expert, ours, folder / "report.html"):
        path.write_bytes(b"x")
    OURS.write(folder / "result.json")
    for name in (image, expert):
        with pytest.raises(OutputError, match="of the input"):
            check_outputs([name], [folder])
    check_outputs([ours, folder / "report.html", folder / "new.nii.gz"], [folder])
    with pytest.raises(OutputError):  # a table over a result's record
        check_outputs([folder / "result.json"], [folder])
    with staged([folder]) as staging:
        OURS.write(staging.path(folder / "result.json", record=True))


def test_what_our_records_tell_of_may_be_replaced_in_a_folder_that_is_read(image: Path) -> None:
    folder = image.parent
    ours = ["P_seg.nii.gz", "P_seg_on_flair.nii.gz", "P_seg_measurements.dcm", "Q_t1.nii.gz", "Q_brain_mask.nii.gz"]
    theirs = ["P_on_flair.nii.gz", "P_seg_on_flair.nii", "P_seg_on_atlas.nii.gz", "Q_seg.nii.gz", "Q_t1.nii"]
    for name in (*ours, *theirs):
        (folder / name).write_bytes(bytes(128) + b"DICM")
    for name in ours:
        with pytest.raises(OutputError, match="of the input"):
            check_outputs([folder / name], [folder])
    OURS.write(folder / "P_seg.json")
    facts = dict.fromkeys(("schema", "case", "inputs", "reference", "preprocessing", "alignment"), "")
    (folder / "Q_preprocessing.json").write_text(json.dumps(facts))
    check_outputs([folder / name for name in ours], [folder])
    for name in theirs:
        with pytest.raises(OutputError, match="of the input"):
            check_outputs([folder / name], [folder])


def test_a_segmentation_beside_an_image_that_was_given_by_name_stays(image: Path) -> None:
    expert, ours = image.with_name("P_seg.nii.gz"), image.with_name("result.nii.gz")
    check_outputs([expert], [image])
    for path in (expert, ours):
        path.write_bytes(b"x")
    OURS.write(image.with_name("result.json"))
    with pytest.raises(OutputError, match="lies beside"):
        check_outputs([expert], [image])
    check_outputs([ours, image.with_name("ET.nii.gz"), image.parent.parent / "P_seg.nii.gz"], [image])


def test_masks_of_the_pages_of_an_image_are_ours(tmp_path: Path) -> None:
    OURS.write(tmp_path / "segmentation.json")
    for name in ("a_mask.png", "a_0002_mask.png", "b_0002_mask.png"):
        (tmp_path / name).write_bytes(b"x")
    check_mask(tmp_path / "a_mask.png", tmp_path / "segmentation.json")
    check_mask(tmp_path / "a_0002_mask.png", tmp_path / "segmentation.json")
    with pytest.raises(OutputError):
        check_mask(tmp_path / "b_0002_mask.png", tmp_path / "segmentation.json")


def test_a_record_replaces_records_only(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    check_record(file)
    OURS.write(file)
    check_record(file)
    for content in ('{"EchoTime": 1}', "[]", "no json"):
        file.write_text(content)
        with pytest.raises(OutputError, match=r"x\.json"), staged() as staging:
            staging.path(file, record=True)
        assert file.read_text() == content


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    """As power cuts left them: neither the result nor its record, by which it would be known, has anything in it."""
    names = [tmp_path / name for name in ("P.nii.gz", "P.json", "P.csv", "a_mask.png")]
    for name in names:
        name.touch()
    (tmp_path / "P_t1.nii.gz").write_bytes(b"an image")
    with staged([tmp_path, tmp_path / "P_t1.nii.gz"]) as staging:
        staging.path(names[0]).write_bytes(b"x")
        OURS.write(staging.path(names[1], record=True))
        staging.derived(names[2], names[1]).write_bytes(b"x")
        staging.mask(names[3], tmp_path / "segmentation.json").write_bytes(b"x")
    assert all(name.stat().st_size for name in names)
    (tmp_path / "target.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    with pytest.raises(OutputError, match=r"link\.csv"):
        check_derived(tmp_path / "link.csv", tmp_path / "link.json")


def test_an_output_is_placed_without_opening_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series has hundreds of files, and a run many outputs."""
    series = [tmp_path / f"IM{number:04}" for number in range(3)]
    for file in (*series, tmp_path / "ours.nii.gz"):
        file.write_bytes(bytes(128) + b"DICM")
    OURS.write(tmp_path / "ours.json")
    open_path = Path.open

    def seen(path: Path, *how: Any, **more: Any) -> Any:
        assert path not in series
        return open_path(path, *how, **more)

    monkeypatch.setattr(Path, "open", seen)
    check_outputs([tmp_path / "new.nii.gz", tmp_path / "ours.nii.gz"], series)


def test_masks_of_others_stay(tmp_path: Path) -> None:
    record = tmp_path / "segmentation.json"
    for name in ("a_mask.png", "b_mask.png"):
        check_mask(tmp_path / name, record)
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(OutputError, match=name):
            check_mask(tmp_path / name, record)
    OURS.write(record)
    check_mask(tmp_path / "a_mask.png", record)
    with pytest.raises(OutputError, match="b_mask"), staged() as staging:
        staging.mask(tmp_path / "b_mask.png", record)
    assert (tmp_path / "b_mask.png").read_bytes() == b"x"


def test_a_derived_name_replaces_what_an_earlier_run_wrote_alone(tmp_path: Path) -> None:
    table, record = tmp_path / "P.csv", tmp_path / "P.json"
    check_derived(table, record)
    table.write_bytes(b"x")
    for content in ("", '{"EchoTime": 1}'):
        record.write_text(content)
        with pytest.raises(OutputError, match=r"P\.csv"), staged() as staging:
            staging.derived(table, record)
    OURS.write(record)
    with staged() as staging:
        staging.derived(table, record).write_bytes(b"y")
    assert table.read_bytes() == b"y"
