"""LGG-1p19qDeletion: three annotated slices a patient, the others unknown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.models.description import OutputSpec, PreprocessingSpec
from Testing.image_data import write_lgg1p19q
from Testing.samples import AFFINE, make_oracle, make_patient
from Testing.training_data import write_brats
from Training.datasets import make_lgg1p19q
from Training.datasets.brats import find_brats
from Training.datasets.cache import CaseCache
from Training.datasets.case import UNKNOWN_LABEL
from Training.datasets.lgg1p19q import find_lgg1p19q, mark_unknown
from Training.datasets.patches import PatchDataset
from Training.export import measure_dice
from Training.supervision import UNKNOWN

MODALITIES = ("t1ce", "t2")
WT = (OutputSpec("WT", (1, 2, 3)),)


def test_slices_without_annotation_are_unknown(tmp_path: Path) -> None:
    tumour = write_lgg1p19q(tmp_path, "LGG-104", (3, 4, 5)).array
    found = find_lgg1p19q(tmp_path)
    assert list(found.cases) == ["LGG-104"] and not found.problems
    case, labels = found.cases["LGG-104"].load(MODALITIES)
    assert case.modalities == MODALITIES  # the set's T1 is the one after contrast
    assert np.array_equal(labels.array[3:6], tumour[3:6] * 2)
    assert (labels.array[:3] == UNKNOWN_LABEL).all() and (labels.array[6:] == UNKNOWN_LABEL).all()
    for name, path in (("t1ce", "T1"), ("t2", "T2")):
        stored = read_volume(tmp_path / "LGG-104" / f"LGG-104_{path}.nii.gz")
        assert np.array_equal(case.images[name].array, stored.array)


def test_beyond_the_grid_of_the_segmentation_nothing_is_known(tmp_path: Path) -> None:
    """Drawn on a T2 that shows less of the head than the T1: what only the T1 shows is not healthy."""
    write_lgg1p19q(tmp_path, "LGG-1")
    whole = find_lgg1p19q(tmp_path).cases["LGG-1"].load(MODALITIES)[1].array
    for name in ("_T2", "-Segmentation"):
        file = tmp_path / "LGG-1" / f"LGG-1{name}.nii.gz"
        stored = read_volume(file)
        write_volume(stored.with_array(stored.array[:, :14, :13]), file)
    labels = find_lgg1p19q(tmp_path).cases["LGG-1"].load(MODALITIES)[1].array
    assert labels.dtype == np.uint8 and labels.shape == whole.shape
    assert np.array_equal(labels[:, :14, :13], whole[:, :14, :13])
    assert (labels[:, 14:] == UNKNOWN_LABEL).all() and (labels[:, :, 13:] == UNKNOWN_LABEL).all()


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SRP", "IAL"])
def test_slices_are_axial_however_the_file_is_stored(codes: str) -> None:
    mask = np.zeros((6, 5, 4), dtype=np.uint8)
    mask[2, 1:3, 1:3] = mask[4, 2:4, 0:2] = 1
    expected = np.full(mask.shape, UNKNOWN_LABEL)
    expected[[2, 4]] = mask[[2, 4]] * 2
    grid = Grid.of(Volume(mask, AFFINE)).oriented(codes)
    stored = Volume(reorient(mask, AFFINE, codes), grid.affine)
    assert np.array_equal(mark_unknown(stored), reorient(expected, AFFINE, codes))


def test_all_files_in_one_folder_and_other_spellings(tmp_path: Path) -> None:
    write_lgg1p19q(tmp_path, "LGG-1")
    for file in list((tmp_path / "LGG-1").iterdir()):
        file.rename(tmp_path / file.name.replace("_T1", "_T1c").replace("-Segmentation", "_seg"))
    (tmp_path / "._LGG-1_T2.nii.gz").write_bytes(b"left by macOS")
    cases = find_lgg1p19q(tmp_path).cases
    assert list(cases) == ["LGG-1"] and cases["LGG-1"].load(MODALITIES)[1].array.shape == (8, 20, 16)


@pytest.mark.parametrize("patch", [(16, 16), (4, 16, 16)])
@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_patches_lie_where_something_is_known(tmp_path: Path, patch: tuple[int, ...], foreground: float) -> None:
    """2D patches hold annotated slices alone; in 3D what is around them is marked as unknown, and no tumour."""
    tumour = write_lgg1p19q(tmp_path, "LGG-1", (2, 3, 4)).array
    cache = CaseCache(tmp_path / "cache", MODALITIES, PreprocessingSpec(spacing=(0.0, 1.0, 1.0)))
    cached = cache.get(find_lgg1p19q(tmp_path).cases["LGG-1"])
    assert set(np.unique(cached.labels())) == {0, 2, UNKNOWN_LABEL}
    dataset = PatchDataset([cached], patch, WT, foreground=foreground, seed=0, augmentation=None, length=40)
    seen = set()
    for number in range(40):
        target = dataset[number]["target"].numpy()
        seen |= set(np.unique(target))
        known = target != UNKNOWN
        assert known.any()
        if len(patch) == 2:
            assert known.all()
            assert target.sum() <= tumour[3].sum()
    assert seen == ({0, 1} if len(patch) == 2 else {UNKNOWN, 0, 1})


@dataclass(frozen=True)
class Sparse:
    """The made patient with all but three slices unknown, in memory."""

    id: str = "P"
    reading: str = ""

    def files(self) -> list[Path]:
        return []

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        patient = make_patient()
        labels = np.full_like(patient.labels.array, UNKNOWN_LABEL)
        labels[6:9] = patient.labels.array[6:9]
        return patient.case(("t1ce", "t2", "flair")), patient.labels.with_array(labels)


def test_annotated_slices_alone_are_measured() -> None:
    """What is found elsewhere is no false positive; who lacks a sequence that is asked for is no figure of it."""
    assert (make_patient().labels.array[9:] > 0).any()
    oracle = make_oracle(optional_modalities=("t1",))
    everything = {"P": {"ET": 1.0, "TC": 1.0, "WT": 1.0}}
    assert measure_dice(oracle, [Sparse()], device="cpu") == everything
    assert measure_dice(oracle, [Sparse()], modalities=("t1ce", "t2", "flair"), device="cpu") == everything
    assert measure_dice(oracle, [Sparse()], modalities=("t1", "t1ce", "t2", "flair"), device="cpu") == {}


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    for name in ("good", "no_labels", "no_t2", "empty", "values", "elsewhere", "damaged"):
        write_lgg1p19q(tmp_path, name)
    (tmp_path / "no_labels" / "no_labels-Segmentation.nii.gz").unlink()
    (tmp_path / "no_t2" / "no_t2_T2.nii.gz").unlink()
    for name, factor in (("empty", np.zeros(16)), ("values", np.arange(16)), ("elsewhere", np.ones(16))):
        file = tmp_path / name / f"{name}-Segmentation.nii.gz"
        stored = read_volume(file)
        affine = stored.affine.copy()
        affine[0, 3] += 30 * (name == "elsewhere")
        write_volume(Volume((stored.array * factor).astype(np.uint8), affine), file)
    (tmp_path / "damaged" / "damaged_T1.nii.gz").write_bytes(b"no image")
    write_lgg1p19q(tmp_path / "again", "good")
    found = find_lgg1p19q(tmp_path)
    cache = CaseCache(tmp_path / "cache", MODALITIES, PreprocessingSpec())
    with pytest.raises(InputError) as caught:
        cache.fill(list(found.cases.values()), (), found.problems)
    message = str(caught.value)
    assert message.startswith("7 of 7 patients cannot be used:")
    for part in (
        "no_labels has no segmentation",
        "no_t2 has no T2",
        "empty-Segmentation.nii.gz has no annotated slice",
        "values-Segmentation.nii.gz is no mask",
        "elsewhere-Segmentation.nii.gz lies",
        "damaged_T1.nii.gz cannot be read",
        "patient good is there twice",
    ):
        assert part in message, part


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no patient"):
        find_lgg1p19q(tmp_path)


def test_brats_patients_as_sparse_ones(tmp_path: Path) -> None:
    """Three slices round the largest diameter; the same split; what is written is read as annotated there alone."""
    brats, out = write_brats(tmp_path / "brats", 3), tmp_path / "sparse"
    assert make_lgg1p19q.main([str(brats), "-o", str(out), "--distance", "1"]) == 0
    assert json.loads((out / "split.json").read_text()) == json.loads((brats / "split.json").read_text())
    found = find_lgg1p19q(out)
    assert sorted(found.cases) == ["P00", "P01", "P02"] and not found.problems
    for name, labelled in found.cases.items():
        case, labels = labelled.load(("t1ce", "t2"))
        whole, truth = find_brats(brats).cases[name].load()
        known = (labels.array != UNKNOWN_LABEL).all(axis=(1, 2))
        levels = np.flatnonzero(known)
        assert len(levels) == 3 and np.ptp(levels) == 2
        assert np.array_equal(labels.array[levels] > 0, truth.array[levels] > 0)
        widths = [max(np.ptp(np.argwhere(z), axis=0), default=0) if z.any() else 0 for z in truth.array > 0]
        assert widths[levels[1]] == max(widths)
        assert np.array_equal(case.images["t2"].array, whole.images["t2"].array)


def test_labels_of_patients_are_read_as_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After treatment, 4 is a resection cavity and no tumour; beside 3 it is refused until it is named."""
    brats, out = write_brats(tmp_path / "brats", 2), tmp_path / "sparse"
    for file in brats.glob("*/*_seg.nii.gz"):
        stored = read_volume(file)
        treated = np.where(stored.array == 1, 4, np.where(stored.array == 4, 3, stored.array)).astype(np.uint8)
        write_volume(stored.with_array(treated), file)
    assert make_lgg1p19q.main([str(brats), "-o", str(out)]) == 2
    assert "Name --labels: brats2024" in capsys.readouterr().err
    assert make_lgg1p19q.main([str(brats), "-o", str(out), "--labels", "brats2024"]) == 0
    for name, labelled in find_lgg1p19q(out).cases.items():
        _, labels = labelled.load(("t1ce", "t2"))
        truth = read_volume(brats / name / f"{name}_seg.nii.gz").array
        levels = np.flatnonzero((labels.array != UNKNOWN_LABEL).all(axis=(1, 2)))
        assert np.array_equal(labels.array[levels] > 0, np.isin(truth[levels], (2, 3)))


def test_annotated_slices_end_where_the_tumour_does() -> None:
    labels = np.zeros((12, 20, 20), np.uint8)
    for z, reach in ((3, 4), (4, 9), (5, 6), (6, 2)):
        labels[z, 5, 2 : 2 + reach] = 1
    assert make_lgg1p19q.chosen_slices(labels, np.eye(4), 3.0) == [3, 4, 6]
    assert make_lgg1p19q.chosen_slices(labels, np.diag([1, 1, 3, 1]), 3.0) == [3, 4, 5]
    assert make_lgg1p19q.chosen_slices(labels[4:], np.eye(4), 3.0) == [0, 2]
    assert make_lgg1p19q.chosen_slices(labels * 0, np.eye(4), 3.0) == []


def test_nothing_is_written_among_the_patients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brats = write_brats(tmp_path / "brats", 2)
    assert make_lgg1p19q.main([str(brats), "-o", str(brats / "sparse")]) == 2
    assert "among the patients" in capsys.readouterr().err
