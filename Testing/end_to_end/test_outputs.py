"""Outputs that would destroy something: refused before any work, every byte as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.models.description import PreprocessingSpec
from Testing import samples

from .making import Cli, write_case
from .test_segment import flags


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "outputs",
    [
        ["-o", "case/case_t1.nii.gz"],
        ["-o", "link.nii.gz"],
        ["-o", "case/case_t1.nii"],  # whose record would be the image's own description
        ["-o", "out.nii", "--report", "case/case_t2.nii.gz"],
        ["-o", "out.nii", "--report", "link.html"],
        ["-o", "out.nii", "--report", "other.nii.gz"],
        ["-o", "d/ET.nii.gz", "--probabilities", "d"],
        ["-o", "foreign.nii.gz"],
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_nothing_is_overwritten(cli: Cli, model: Path, tmp_path: Path, outputs: list[str], by_name: bool) -> None:
    folder = write_case(tmp_path / "case")
    (folder / "case_t1.json").write_text('{"EchoTime": 0.1}')
    (tmp_path / "foreign.json").write_text('{"EchoTime": 0.1}')
    (tmp_path / "link.nii.gz").symlink_to(folder / "case_t1.nii.gz")
    (tmp_path / "link.html").symlink_to(folder / "case_t2.nii.gz")
    (tmp_path / "other.nii.gz").write_bytes(b"another patient's")
    before = content(tmp_path)
    placed = [word if word.startswith("-") else str(tmp_path / word) for word in outputs]
    given = flags(folder) if by_name else [folder]
    done = cli("segment", *given, *placed, "--model", model)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Reading" not in done.stderr
    assert content(tmp_path) == before


def test_files_behind_the_links_of_a_case_folder_stay(cli: Cli, model: Path, tmp_path: Path) -> None:
    source = samples.write_patient(tmp_path, case_id="P")
    linked = tmp_path / "study" / "P"
    linked.mkdir(parents=True)
    for file in source.iterdir():
        (linked / file.name).symlink_to(file)
    before = content(tmp_path)
    for name in ("P_t1.nii.gz", "P_seg.nii.gz"):
        done = cli("segment", linked, "-o", source / name, "--model", model)
        assert done.returncode == 2 and f"{source / name} is the input" in done.stderr
        assert content(tmp_path) == before


def test_labels_on_other_grids_replace_no_file_of_others(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path / "case")
    where = ["-o", tmp_path / "P.nii.gz", "--native", "all", "--model", model]
    foreign = tmp_path / "P_on_flair.nii.gz"
    foreign.write_bytes(b"an expert's")
    refused = cli("segment", folder, *where)
    assert refused.returncode == 2 and "P_on_flair.nii.gz is there already" in refused.stderr
    assert foreign.read_bytes() == b"an expert's" and not (tmp_path / "P.nii.gz").exists()
    foreign.unlink()
    for _ in range(2):
        done = cli("segment", folder, *where)
        assert done.returncode == 0, done.stderr


def test_probability_maps_replace_no_file_of_others(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder, expert = write_case(tmp_path / "P"), tmp_path / "maps" / "ET.nii.gz"
    expert.parent.mkdir()
    expert.write_bytes(b"drawn by an expert")
    command = ("segment", folder, "-o", tmp_path / "o.nii.gz", "--model", model, "--probabilities", expert.parent)
    before = content(tmp_path)
    done = cli(*command)
    assert done.returncode == 2 and f"{expert} is there already" in done.stderr, done.stderr
    assert content(tmp_path) == before
    expert.unlink()
    for _ in range(2):  # maps of our own are replaced
        assert cli(*command).returncode == 0


def test_a_run_can_be_repeated(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path / "case")
    more = ["--probabilities", folder, "--report", folder / "r.html", "--native", "all", "--preprocessed", folder / "b"]
    for _ in range(2):
        done = cli("segment", folder, "-o", folder / "case_seg.nii.gz", *more, "--model", model)
        assert done.returncode == 0, done.stderr
    assert (folder / "case_seg_on_flair.nii.gz").is_file()


def test_a_result_that_was_mended_by_hand_stays(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path / "case")
    result = tmp_path / "mended.nii.gz"
    command = ("segment", folder, "-o", result, "--labels", "brats2021", "--model", model)
    assert cli(*command).returncode == 0
    labels = read_volume(result)
    array = labels.array.copy()
    array[0, 0, 0] = 2 if not array[0, 0, 0] else 0  # one voxel
    write_volume(labels.with_array(array), result)
    before = content(tmp_path)
    refused = cli(*command)
    assert refused.returncode == 2 and "mended.nii.gz was changed since it was made" in refused.stderr
    array[0, 0, 0] = 9  # no label of that convention
    write_volume(labels.with_array(array), result)
    assert cli(*command).returncode == 2
    result.rename(tmp_path / "kept.nii.gz")
    assert cli(*command).returncode == 0 and content(tmp_path)[str(result)] != before[str(result)]


def test_an_experts_segmentation_beside_images_given_by_name_stays(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = samples.write_patient(tmp_path, case_id="case")
    before = content(tmp_path)
    done = cli("segment", *flags(folder), "-o", folder / "case_seg.nii.gz", "--model", model)
    assert done.returncode == 2 and "case_seg.nii.gz lies beside" in done.stderr
    assert content(tmp_path) == before


def test_masks_that_an_expert_drew_stay(cli: Cli, tmp_path: Path) -> None:
    model = samples.write_oracle(
        tmp_path / "flat.safetensors",
        dimensions=2,
        outputs="whole",
        modalities=("flair",),
        preprocessing=PreprocessingSpec(spacing=(0.0, 0.0, 0.0)),
    )
    images = tmp_path / "images"
    images.mkdir()
    flair = samples.make_patient().images["flair"].array
    for z in (8, 9):
        Image.fromarray((flair[z] / 6).astype(np.uint8)).save(images / f"s{z}.png")
    expert = images / "s8_mask.png"
    Image.fromarray(np.zeros(flair[8].shape, np.uint8)).save(expert)
    before = content(images)
    paths = [images / "s8.png", images / "s9.png"]
    refused = cli("segment", *paths, "-o", images, "--model", model)
    assert refused.returncode == 2 and "s8_mask.png" in refused.stderr
    assert content(images) == before
    expert.unlink()
    for _ in range(2):  # masks of our own are replaced
        done = cli("segment", *paths, "-o", images, "--model", model)
        assert done.returncode == 0, done.stderr


def test_evaluate_overwrites_neither_labels_nor_its_own_table(cli: Cli, tmp_path: Path) -> None:
    patient = samples.write_patient(tmp_path)
    labels = next(patient.glob("*_seg.nii.gz"))
    prediction = tmp_path / "P.nii.gz"
    prediction.write_bytes(labels.read_bytes())
    (tmp_path / "P.json").write_text("{}")
    before = content(tmp_path)
    table = tmp_path / "t.json"
    for options in (["-o", tmp_path / "P.json"], ["-o", table, "--report", table], ["--report", prediction]):
        done = cli("evaluate", prediction, labels, *options)
        assert done.returncode == 2, done.stderr
        assert content(tmp_path) == before


def test_tables_and_changes_replace_no_json_of_others(cli: Cli, tmp_path: Path) -> None:
    labels = next(samples.write_patient(tmp_path).glob("*_seg.nii.gz"))
    other = tmp_path / "later.nii.gz"
    other.write_bytes(labels.read_bytes())
    record = tmp_path / "of_another.json"
    commands = {
        "evaluate": ("evaluate", other, labels, "--measures", "dice"),
        "compare": ("compare", labels, other, "--labels", "brats2021"),
    }
    for command in commands.values():
        record.write_text('{"case": "A", "measurements": {}, "provenance": {}, "use": ""}')
        before = content(tmp_path)
        done = cli(*command, "-o", record)
        assert done.returncode == 2 and f"{record} is there already" in done.stderr, done.stderr
        assert content(tmp_path) == before
    for name, command in commands.items():
        for _ in range(2):  # our own is replaced
            done = cli(*command, "-o", tmp_path / f"{name}.json")
            assert done.returncode == 0, done.stderr


def test_a_table_that_cannot_be_written_ends_the_run_before_its_work(cli: Cli, tmp_path: Path) -> None:
    labels = next(samples.write_patient(tmp_path).glob("*_seg.nii.gz"))
    (tmp_path / "file").touch()
    done = cli("evaluate", labels, labels, "-o", tmp_path / "file" / "table.csv")
    assert done.returncode == 2 and "Comparing" not in done.stderr and not done.stdout
