"""Preprocessed cases: as the engine prepares them, made once, made again when a file changes, never half there."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.preprocessing import prepare
from Testing import samples
from Testing.training_data import make_patient
from Training.datasets.brats import BratsCase, find_cases
from Training.datasets.cache import CaseCache


@pytest.fixture
def case(tmp_path: Path) -> BratsCase:
    samples.write_patient(tmp_path / "data", make_patient(0), case_id="P1")
    return find_cases(tmp_path / "data")["P1"]


@pytest.fixture
def cache(tmp_path: Path) -> CaseCache:
    return CaseCache(tmp_path / "cache", MODALITIES, PreprocessingSpec())


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the cases that were read from their files."""
    seen: list[str] = []
    load = BratsCase.load

    def noted(case: BratsCase, *rest: tuple[str, ...]) -> tuple[Case, Volume]:
        seen.append(case.id)
        return load(case, *rest)

    monkeypatch.setattr(BratsCase, "load", noted)
    return seen


def test_images_are_the_engines_and_labels_lie_on_them(case: BratsCase, cache: CaseCache) -> None:
    cached = cache.get(case)
    prepared = prepare(case.load()[0], MODALITIES, PreprocessingSpec())
    assert cached.image().dtype == np.float16
    assert np.abs(cached.image() - prepared.array).max() < 0.003  # fp16 below 5
    assert np.array_equal(cached.labels(), make_patient(0).labels.array[prepared.box])
    assert cached.labels().dtype == np.uint8
    # Enhancing tumour is what is bright in T1ce.
    assert np.array_equal(cached.labels() == 3, cached.image()[1] > 2)


def test_labels_follow_to_another_grid(case: BratsCase, tmp_path: Path) -> None:
    spec = PreprocessingSpec(orientation="RAS", spacing=(2.0, 1.0, 1.0))
    cached = CaseCache(tmp_path / "cache", MODALITIES, spec).get(case)
    assert cached.image().shape[1:] == cached.labels().shape
    bright = cached.image()[1].astype(float)
    assert bright[cached.labels() == 3].mean() > 1.5  # interpolated along z
    assert bright[cached.labels() == 0].mean() < 0.2


def test_raw_intensities_are_not_squeezed_into_half_precision(tmp_path: Path) -> None:
    patient = make_patient(0)
    bright = patient.images["t1"].with_array(patient.images["t1"].array.astype(np.int32) * 1000)
    samples.write_patient(tmp_path, dataclasses.replace(patient, images={**patient.images, "t1": bright}), case_id="P1")
    spec = PreprocessingSpec(normalisation="none")
    cached = CaseCache(tmp_path / "cache", MODALITIES, spec).get(find_cases(tmp_path)["P1"])
    assert cached.image().max() == bright.array.max() > 65504


def test_the_second_time_nothing_is_done(case: BratsCase, cache: CaseCache, loads: list[str]) -> None:
    cache.fill([case])
    cache.fill([case])
    assert loads == ["P1"]


def test_preprocessings_do_not_share_files(case: BratsCase, tmp_path: Path, loads: list[str]) -> None:
    for modalities, spec in (
        (MODALITIES, PreprocessingSpec()),
        (MODALITIES[:2], PreprocessingSpec()),
        (MODALITIES, PreprocessingSpec(spacing=(2.0, 2.0, 2.0))),
    ):
        CaseCache(tmp_path / "cache", modalities, spec).get(case)
    assert len(loads) == 3


@pytest.mark.parametrize("name", ["P1_flair.nii.gz", "P1_seg.nii.gz"])
def test_a_changed_file_is_done_again(case: BratsCase, cache: CaseCache, loads: list[str], name: str) -> None:
    """Also when the new file is older than the cache, as a copied one is."""
    before = [np.array(a) for a in (cache.get(case).image(), cache.get(case).labels())]
    file = case.images / name
    other = samples.write_patient(case.images.parents[1] / "other", make_patient(9), case_id="P1") / name
    file.write_bytes(other.read_bytes())
    os.utime(file, (1e9, 1e9))
    after = cache.get(case)
    assert loads == ["P1", "P1"]
    changed = [not np.array_equal(b, a) for b, a in zip(before, (after.image(), after.labels()), strict=True)]
    assert changed[int("seg" in name)]


def test_an_interrupted_case_counts_as_not_done(
    case: BratsCase, cache: CaseCache, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second array cannot be written: nothing is there, and the next time all is made."""
    save = np.save

    def fail(file: Path, array: np.ndarray) -> None:
        if "labels" in Path(file).name:
            Path(file).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", fail)
        with pytest.raises(OSError, match="No space"):
            cache.get(case)
        assert [path for path in cache.folder.rglob("*") if path.is_file()] == []
    assert cache.get(case).labels().max() == 3
    assert loads == ["P1", "P1"]


def test_a_kill_between_the_files_counts_as_not_done(case: BratsCase, cache: CaseCache, loads: list[str]) -> None:
    """The note of the sources is put in place last."""
    cached = cache.get(case)
    (cached.folder / "source.json").unlink()
    cache.get(case)
    assert loads == ["P1", "P1"]


def test_all_bad_patients_are_listed_before_training(tmp_path: Path, cache: CaseCache) -> None:
    for name in ("good", "no_t2", "damaged", "shape", "labels", "checked"):
        samples.write_patient(tmp_path, case_id=name)
    (tmp_path / "no_t2" / "no_t2_t2.nii.gz").unlink()
    file = tmp_path / "damaged" / "damaged_t1ce.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    for name, value in (("shape", 0), ("labels", 7), ("checked", 7)):
        file = tmp_path / name / f"{name}_seg.nii.gz"
        seg = read_volume(file)
        array = seg.array.copy()
        array[0, 0, 0] = value
        write_volume(seg.with_array(array[1:] if name == "shape" else array), file)
    cases = find_cases(tmp_path)
    with pytest.raises(InputError) as caught:
        cache.fill([case for name, case in cases.items() if name != "checked"], [cases["checked"]])
    message = str(caught.value)
    assert message.startswith("5 of 6 patients cannot be used:")
    entries = message.partition(": ")[2].split("; ")
    said = dict(entry.split(": ", 1) for entry in entries)
    assert set(said) == {"no_t2", "damaged", "shape", "labels", "checked"}
    assert "holds no T2" in said["no_t2"]
    assert "damaged_t1ce.nii.gz cannot be read" in said["damaged"]
    assert "shape_seg.nii.gz has shape (19, 28, 24), its images (20, 28, 24)" in said["shape"]
    assert all("_seg.nii.gz holds labels [0, 1, 2, 4, 7]" in said[name] for name in ("labels", "checked"))
    assert " ".join(message.split()) == message  # as it is printed


def test_what_is_wrong_with_a_folder_ends_a_run_too(cache: CaseCache, case: BratsCase) -> None:
    with pytest.raises(InputError, match="The data cannot be used: one; two"):
        cache.fill([case], [], ["one", "two"])


def test_checked_patients_are_read_once_and_not_stored(case: BratsCase, cache: CaseCache, loads: list[str]) -> None:
    cache.fill([], [case])
    cache.fill([], [case])
    assert loads == ["P1"]
    assert list(cache.folder.rglob("*.npy")) == []
    cache.get(case)
    assert loads == ["P1", "P1"]
