"""DICOM series in, a DICOM segmentation out, by the command line; what is wrong with series, in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import HTJ2KLossless

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.longitudinal import read_time_point
from Testing import samples
from Testing.dicom_series import change, write_series, write_study
from Testing.dicom_tools import read_segments, violations

from .making import Cli
from .test_outputs import content


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds the tumour of the samples' patient."""
    return samples.write_oracle(tmp_path_factory.mktemp("models") / "oracle.safetensors")


@pytest.fixture
def patient_folder(tmp_path: Path) -> Path:
    """A patient's four series, each in its folder, with a localiser and a map among them."""
    images = samples.make_patient().images
    write_study(images, tmp_path / "P7")
    write_series(images["t1"], tmp_path / "P7" / "9", number=9, SeriesDescription="localizer")
    write_series(images["t2"], tmp_path / "P7" / "10", number=10, SeriesDescription="T2 map")
    return tmp_path / "P7"


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_segmentation_is_that_of_the_nifti_output(cli: Cli, oracle: Path, tmp_path: Path, enhanced: bool) -> None:
    write_study(samples.make_patient().images, tmp_path / "P7", enhanced=enhanced, plane="sagittal")
    before = content(tmp_path / "P7")
    for name in ("d/o.dcm", "n/o.nii.gz"):
        done = cli("segment", tmp_path / "P7", "-o", tmp_path / name, "--model", oracle)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"o.dcm", "o.json", "o.csv", "o_measurements.dcm"}
    image = nibabel.load(tmp_path / "n" / "o.nii.gz")
    labels = np.asarray(image.dataobj).transpose()
    onto = Volume(labels, image.affine)
    masks = read_segments(tmp_path / "d" / "o.dcm", tmp_path / "read", onto)
    for region, members in (("ET", (3,)), ("TC", (1, 3)), ("WT", (1, 2, 3))):
        assert masks[region].any() and np.array_equal(masks[region], np.isin(labels, members))
    assert violations(tmp_path / "d" / "o.dcm") == [] and violations(tmp_path / "d" / "o_measurements.dcm") == []
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("d/o.json", "n/o.json"))
    assert first["measurements"] == second["measurements"]
    assert first["convention"] == "segments" and list(first["labels"]) == ["1", "2", "3"]
    assert content(tmp_path / "P7") == before


def test_where_label_maps_are_read_an_image_is_refused(cli: Cli, tmp_path: Path) -> None:
    dicom, *_ = write_series(samples.make_patient().images["flair"], tmp_path / "series", "flair")
    labels = next(samples.write_patient(tmp_path).glob("*_seg.nii.gz"))
    before = content(tmp_path)
    for arguments in (
        ("compare", labels, dicom, "-o", tmp_path / "change.json"),
        ("evaluate", dicom, labels),
        ("evaluate", labels, labels, "--against", dicom),
    ):
        done = cli(*arguments, "--progress", "none")
        assert done.returncode == 2 and f"{dicom} is a DICOM file, but no segmentation." in done.stderr, done.stderr
        assert "--t1" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert content(tmp_path) == before


def test_segmentations_are_evaluated_and_compared(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    for name in ("o.dcm", "o.nii.gz"):
        done = cli("segment", patient_folder, "-o", tmp_path / name.split(".")[1] / name, "--model", oracle)
        assert done.returncode == 0, done.stderr
    dicom, volume, table = tmp_path / "dcm" / "o.dcm", tmp_path / "nii" / "o.nii.gz", tmp_path / "scores.json"
    for pair in ((dicom, volume), (volume, dicom)):
        done = cli("evaluate", *pair, "-o", table)
        assert done.returncode == 0, done.stderr
        mean = json.loads(table.read_text())["mean"]
        assert {region: values["dice"] for region, values in mean.items()} == dict.fromkeys(("ET", "TC", "WT"), 1.0)
    done = cli("compare", volume, dicom, "-o", tmp_path / "change.json")
    assert done.returncode == 0, done.stderr
    change = json.loads((tmp_path / "change.json").read_text())["regions"]
    assert all(region["change_ml"] == 0 and region["later"]["volume_ml"] > 0 for region in change.values())


def test_a_result_remembers_its_series(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    """So that a comparison of examinations finds the images by itself, whatever the result was written as."""
    for output in (tmp_path / "o.dcm", tmp_path / "n" / "o.nii.gz"):
        assert cli("segment", patient_folder, "-o", output, "--model", oracle).returncode == 0
        point = read_time_point(output)
        record = json.loads(output.with_name("o.json").read_text())["provenance"]
        assert point.image is not None and Path(record["series_file"]).is_file()
        assert point.image.source in record["inputs"][record["reference"]]
        assert np.array_equal(point.labels.affine, point.image.affine)


def test_the_choice_is_printed_and_recorded(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    done = cli("segment", patient_folder, "-o", tmp_path / "o.dcm", "--model", oracle, "--report", tmp_path / "o.html")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["left_out"] == {'series 9 "localizer"': "a localiser", 'series 10 "T2 map"': "a map"}
    assert "contrast agent Gadovist" in record["provenance"]["inputs"]["t1ce"]
    for text in (*record["left_out"], *record["provenance"]["inputs"].values()):
        assert text in done.stdout
    assert "contrast agent Gadovist" in (tmp_path / "o.html").read_text(encoding="utf-8")


def test_the_choice_can_be_overridden(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    other = patient_folder / "10" / "IM0003"
    done = cli("segment", patient_folder, "--t2", other, "-o", tmp_path / "o.nii.gz", "--model", oracle)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o.json").read_text())
    assert 'series 10 "T2 map"' in record["provenance"]["inputs"]["t2"]
    assert "another one was named" in record["left_out"]['series 3 "AX T2 TSE"']


def test_a_batch_has_a_result_a_study_of_a_folder(cli: Cli, oracle: Path, tmp_path: Path) -> None:
    for number, day in enumerate(("20230501", "20240510")):
        for place, (modality, image) in enumerate(samples.make_patient(seed=number).images.items()):
            folder, names = tmp_path / "root" / "P7", f"{day}{place}-{{}}"
            write_series(image, folder, modality, names=names, StudyDate=day, StudyInstanceUID=f"1.2.{day}")
    out = tmp_path / "out"
    done = cli("batch", tmp_path / "root", "-o", out, "--model", oracle, "--report", "--workers", 1)
    assert done.returncode == 0 and "2 of 2 cases are done" in done.stdout, done.stderr
    for day, other in (("20230501", "2024-05-10"), ("20240510", "2023-05-01")):
        record = json.loads((out / f"P7_{day}.json").read_text())
        assert set(record["left_out"].values()) == {f"of another study ({other})"}
        assert record["case"] == f"P7_{day}" and (out / f"P7_{day}.nii.gz").is_file()
    page = (out / "report.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 2
    again = cli("batch", tmp_path / "root", "-o", out, "--model", oracle, "--dry-run")
    assert "0 of 2 cases would be run" in again.stdout and "--study=1.2.20230501" in again.stdout


def test_no_dicom_segmentation_of_other_images(cli: Cli, oracle: Path, tmp_path: Path) -> None:
    folder = samples.write_patient(tmp_path)
    done = cli("segment", folder, "-o", tmp_path / "out" / "o.dcm", "--model", oracle)
    assert done.returncode == 2 and "refers to DICOM images" in done.stderr
    assert not (tmp_path / "out").exists() and "Running" not in done.stderr


def test_no_file_of_a_series_is_replaced_but_a_result_in_their_folder_is(
    cli: Cli, oracle: Path, patient_folder: Path
) -> None:
    (patient_folder / "1-t1" / "0003").rename(patient_folder / "1-t1" / "a.dcm")
    before = content(patient_folder)
    done = cli("segment", patient_folder, "-o", patient_folder / "1-t1" / "a.dcm", "--model", oracle)
    assert done.returncode == 2 and "is a file of the input" in done.stderr
    assert content(patient_folder) == before
    for _ in range(2):
        done = cli("segment", patient_folder, "-o", patient_folder / "o.dcm", "--model", oracle)
        assert done.returncode == 0, done.stderr


def test_files_behind_the_links_of_a_series_stay(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    """Of every file, not of a series' first alone."""
    source = tmp_path / "archive"
    (patient_folder / "1-t1").rename(source)
    (patient_folder / "1-t1").mkdir()
    for file in sorted(source.iterdir()):
        (patient_folder / "1-t1" / file.name).symlink_to(file.rename(file.with_suffix(".dcm")))
    last = sorted(source.iterdir())[-1]
    before = content(tmp_path)
    done = cli("segment", patient_folder, "-o", last, "--model", oracle)
    assert done.returncode == 2 and f"{last} is the input" in done.stderr
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", ["P9.csv", "P9_measurements.dcm"])
def test_what_lies_beside_a_segmentation_replaces_no_file_of_others(
    cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("age,sex")
    done = cli("segment", patient_folder, "-o", tmp_path / "P9.dcm", "--model", oracle)
    assert done.returncode == 2 and f"{name} is there already" in done.stderr
    assert (tmp_path / name).read_text() == "age,sex" and not (tmp_path / "P9.dcm").exists()


def files(folder: Path, series: str = "2-t1ce") -> Sequence[Path]:
    return sorted((folder / series).iterdir())


def missing_slices(folder: Path) -> None:
    for file in files(folder)[6:8]:
        file.unlink()


def four_dimensions(folder: Path) -> None:
    volume = samples.make_patient().images["t1ce"]
    (first, *_) = files(folder)
    uid = str(pydicom.dcmread(first).SeriesInstanceUID)
    for name in ("a{}", "b{}"):
        write_series(volume, folder / "2-t1ce", "t1ce", number=2, names=name, SeriesInstanceUID=uid)


def corrupted(folder: Path) -> None:
    file = files(folder)[5]
    file.write_bytes(file.read_bytes()[:-200])


def computed_tomography(folder: Path) -> None:
    for series in folder.iterdir():
        change(sorted(series.iterdir()), Modality="CT")


def unknown_compression(folder: Path) -> None:
    for file in files(folder):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = pydicom.encaps.encapsulate([bytes(100)])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(file)


def two_patients(folder: Path) -> None:
    change(files(folder, "4-flair"), PatientID="P2")


def no_images(folder: Path) -> None:
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        file.write_bytes(bytes(128) + b"DICM" + bytes(100))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (missing_slices, "lacks 2 slices"),
        (four_dimensions, "4D"),
        (corrupted, "is damaged"),
        (computed_tomography, "no MR images, only CT"),
        (unknown_compression, "High-Throughput JPEG 2000"),
        (two_patients, "2 patients: P1 and P2"),
        (no_images, "no MR images"),
    ],
)
def test_one_sentence_and_nothing_written(
    cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(patient_folder)
    before = content(tmp_path)
    done = cli("segment", patient_folder, "-o", tmp_path / "out" / "o.dcm", "--model", oracle)
    assert done.returncode == 2, done.stderr
    *progress, sentence = done.stderr.strip().splitlines()
    assert sentence.startswith("error: ") and told in sentence
    assert set(progress) <= {"Reading the images"}
    assert content(tmp_path) == before


def test_a_corrupted_file_that_is_not_missed(cli: Cli, oracle: Path, patient_folder: Path, tmp_path: Path) -> None:
    (patient_folder / "2-t1ce" / "spare").write_bytes(files(patient_folder)[5].read_bytes()[:200])
    done = cli("segment", patient_folder, "-o", tmp_path / "o.dcm", "--model", oracle)
    assert done.returncode == 0, done.stderr
    assert "damaged" in json.loads((tmp_path / "o.json").read_text())["left_out"]["2-t1ce/spare"]
    assert "spare" in done.stderr + done.stdout
