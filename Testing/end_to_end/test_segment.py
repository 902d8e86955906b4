"""``braintumorseg segment`` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.errors import CheckpointError, error_of

from .making import AFFINE, SHAPE_XYZ, Cli, make_images, make_model, write_case


def flags(folder: Path) -> list[object]:
    """``--t1 FILE …`` for a case folder."""
    return [
        item
        for name in ("t1", "t1ce", "t2", "flair")
        for item in (f"--{name}", folder / f"{folder.name}_{name}.nii.gz")
    ]


def values(path: Path) -> np.ndarray:
    return np.asanyarray(nibabel.load(path).dataobj)


def test_sequences_by_name_and_folder_give_the_same_result_on_the_input_grid(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path
) -> None:
    by_name = cli("segment", *flags(case_folder), "-o", tmp_path / "a.nii.gz", "--model", model)
    assert by_name.returncode == 0, by_name.stderr
    by_folder = cli("segment", case_folder, "-o", tmp_path / "b.nii.gz", "--model", model)
    assert by_folder.returncode == 0, by_folder.stderr
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == SHAPE_XYZ
    assert np.abs(image.affine - AFFINE).max() < 1e-4
    assert image.get_data_dtype() == np.uint8
    assert set(np.unique(values(tmp_path / "a.nii.gz"))) <= {0, 1, 2, 3}
    assert np.array_equal(values(tmp_path / "a.nii.gz"), values(tmp_path / "b.nii.gz"))
    assert "WT" in by_name.stdout and "mL" in by_name.stdout
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_brats_2023_names_and_the_other_formats(cli: Cli, model: Path, case_folder: Path, tmp_path: Path) -> None:
    names = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}
    folder = write_case(tmp_path / "BraTS-GLI-00042-000", "{case}-{name}.nii.gz", names)
    assert cli("segment", folder, "-o", tmp_path / "new.nrrd", "--model", model).returncode == 0
    assert cli("segment", case_folder, "-o", tmp_path / "old.nii.gz", "--model", model).returncode == 0
    written = sitk.ReadImage(str(tmp_path / "new.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(written).transpose(), values(tmp_path / "old.nii.gz"))
    assert np.allclose(written.GetOrigin(), [-10, -20, -30])  # LPS has the opposite sign of RAS in x and y
    assert np.allclose(written.GetSpacing(), [1, 1, 1.5])


def test_decathlon_file_has_its_channels_in_the_decathlon_order(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path
) -> None:
    images = make_images()
    stack = np.stack([images[name] for name in ("flair", "t1", "t1ce", "t2")], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stack, AFFINE), tmp_path / "BRATS_001.nii.gz")
    assert cli("segment", tmp_path / "BRATS_001.nii.gz", "-o", tmp_path / "d.nii.gz", "--model", model).returncode == 0
    assert cli("segment", case_folder, "-o", tmp_path / "c.nii.gz", "--model", model).returncode == 0
    assert np.array_equal(values(tmp_path / "d.nii.gz"), values(tmp_path / "c.nii.gz"))


def test_labels_probabilities_report_and_facts(cli: Cli, model: Path, case_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "seg.nii.gz"
    done = cli(
        "segment", case_folder, "-o", out, "--model", model, "--labels", "brats2021",
        "--probabilities", tmp_path / "maps", "--report", tmp_path / "report.html", "--progress", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    labels = values(out)
    assert 3 not in labels
    maps = {region: values(tmp_path / "maps" / f"{region}.nii.gz") for region in ("ET", "TC", "WT")}
    assert np.array_equal(maps["WT"] >= 0.5, labels > 0)
    assert np.array_equal(maps["ET"] >= 0.5, labels == 4)
    assert (maps["ET"] <= maps["TC"]).all() and (maps["TC"] <= maps["WT"]).all()
    facts = json.loads((tmp_path / "out" / "seg.json").read_text())
    assert facts["labels"] == {"0": "background", "1": "NCR", "2": "ED", "4": "ET"}
    assert facts["measurements"]["WT"]["volume_ml"] == round(np.count_nonzero(labels) * 1.5 / 1000, 3)
    assert "not for clinical use" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_json_progress_never_falls_and_ends_in_the_result(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path
) -> None:
    done = cli("segment", case_folder, "-o", tmp_path / "o.nii.gz", "--model", model, "--progress", "json")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    fractions = [line["fraction"] for line in lines[:-1]]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert {"stage", "fraction", "message"} == set(lines[0])
    assert lines[-1]["result"]["output"] == str(tmp_path / "o.nii.gz")
    failed = cli("segment", case_folder, "-o", tmp_path / "p.nii.gz", "--model", "nosuch", "--progress", "json")
    assert failed.returncode == 2
    last = json.loads(failed.stdout.splitlines()[-1])
    assert "nosuch" in last["error"] and last["remedy"] and last["code"] == "checkpoint"
    assert set(last) == {"error", "code", "remedy"}
    rebuilt = error_of(last["code"], last["error"], last["remedy"])
    assert isinstance(rebuilt, CheckpointError) and rebuilt.exit_code == 2


@pytest.mark.parametrize("codes", [(0, 0), (1, 1)])
def test_every_program_shows_the_result_over_its_image(
    cli: Cli, model: Path, tmp_path: Path, codes: tuple[int, int]
) -> None:
    """Neither form is set, or the qform lies elsewhere: ITK reads image, label map and probabilities at one place."""
    folder = write_case(tmp_path / "case")
    for path in folder.iterdir():
        image = nibabel.load(path)
        qform = image.affine.copy()
        qform[:3, 3] += (12, -7, 5)
        image.set_qform(qform, 1)
        image.header["qform_code"], image.header["sform_code"] = codes
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)
    maps = ["--probabilities", tmp_path / "p"]
    done = cli("segment", folder, "-o", tmp_path / "o.nii.gz", "--model", model, *maps)
    assert done.returncode == 0, done.stderr
    source = sitk.ReadImage(str(folder / "case_t1ce.nii.gz"))
    for result in (tmp_path / "o.nii.gz", *sorted((tmp_path / "p").iterdir())):
        header = nibabel.load(result).header
        assert (int(header["qform_code"]), int(header["sform_code"])) == codes
        read = sitk.ReadImage(str(result))
        assert read.GetOrigin() == source.GetOrigin() and read.GetDirection() == source.GetDirection()
    assert "sform" in done.stderr
    assert any("sform" in line for line in json.loads((tmp_path / "o.json").read_text())["warnings"])
    done = cli("segment", folder, "-o", tmp_path / "o.nrrd", "--model", model)
    assert done.returncode == 0 and "o.nrrd has one position only" in done.stderr


def test_slice_wise_model_and_tta(cli: Cli, case_folder: Path, tmp_path: Path) -> None:
    flat = make_model(tmp_path / "tiny2d.safetensors", dimensions=2)
    plain = cli("segment", case_folder, "-o", tmp_path / "plain.nii.gz", "--model", flat)
    assert plain.returncode == 0, plain.stderr
    mirrored = cli("segment", case_folder, "-o", tmp_path / "tta.nii.gz", "--model", flat, "--tta")
    assert mirrored.returncode == 0, mirrored.stderr
    assert json.loads((tmp_path / "tta.json").read_text())["provenance"]["tta"] is True
    assert values(tmp_path / "plain.nii.gz").shape == values(tmp_path / "tta.nii.gz").shape == SHAPE_XYZ


def test_a_named_file_settles_what_names_leave_open(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path / "twice")
    extra = folder / "twice_t1w.nii.gz"
    extra.write_bytes((folder / "twice_t1.nii.gz").read_bytes())
    refused = cli("segment", folder, "-o", tmp_path / "o.nii.gz", "--model", model)
    assert refused.returncode == 2 and "T1" in refused.stderr
    settled = cli("segment", folder, "--t1", extra, "-o", tmp_path / "o.nii.gz", "--model", model)
    assert settled.returncode == 0, settled.stderr


def test_terms_of_weights_are_reported_once(cli: Cli, case_folder: Path, tmp_path: Path) -> None:
    model = make_model(tmp_path / "bound.safetensors", weights_licence="CC BY-NC-SA 4.0")
    arguments = ("segment", case_folder, "-o", tmp_path / "out.nii.gz", "--model", model, "--progress", "json")
    first, second = cli(*arguments), cli(*arguments)
    assert first.returncode == second.returncode == 0, first.stderr
    reported = [line for line in first.stderr.splitlines() if "CC BY-NC-SA 4.0" in line]
    assert len(reported) == 1 and "bound" in reported[0] and "accept" in reported[0]
    assert "CC BY-NC-SA" not in second.stderr
