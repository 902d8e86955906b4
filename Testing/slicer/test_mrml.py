"""Nodes to images and label maps, and back, on a real scene without the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core: pip install -e .[slicer]")
vtk = pytest.importorskip("vtk")

from BrainTumorSegLib.domain import grid  # noqa: E402
from BrainTumorSegLib.domain.errors import GeometryError, InputError  # noqa: E402
from BrainTumorSegLib.domain.labels import Region  # noqa: E402
from BrainTumorSegLib.io import mrml  # noqa: E402
from BrainTumorSegLib.io.registry import read_volume  # noqa: E402

ALL = ("ET", "TC", "WT")
SPHERES = {"ET": 5, "WT": 10}  # radii
TURN = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)
SHEAR = np.array([[1, 0.2, 0, 5], [0, 1.3, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)


@pytest.fixture
def scene() -> Any:
    """With the logic that knows how to make label maps of surfaces."""
    scene = slicer.vtkMRMLScene()
    scene.logic = slicer.vtkSlicerSegmentationsModuleLogic()
    scene.logic.SetMRMLScene(scene)
    return scene


@pytest.fixture
def labels() -> np.ndarray:
    """NCR within ET within ED, off the centre, so that a flipped axis shows."""
    array = np.zeros((10, 12, 14), np.uint8)
    array[2:8, 2:9, 3:11] = 2
    array[3:7, 4:8, 4:9] = 3
    array[4:6, 5:7, 5:8] = 1
    return array


def add_volume(scene: Any, transform: np.ndarray | None = None, dtype: str = "int16") -> Any:
    """An oblique, anisotropic volume under a linear transform."""
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "P1_t1ce")
    values = np.random.default_rng(0).integers(0, 500, (10, 12, 14)).astype(dtype)
    slicer.util.updateVolumeFromArray(volume, values)
    affine = np.array([[-1, 0.2, 0, 10], [0.2, -1, 0.1, 20], [0, 0.1, 1, -5.3], [0, 0, 0, 1]], float)
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * [1.5, 1, 2]
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    if transform is not None:
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(transform))
        volume.SetAndObserveTransformNodeID(node.GetID())
    return volume


def add_segmentation(scene: Any) -> Any:
    return scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")


def styles(known: tuple[str, ...] = ALL) -> tuple[Region, ...]:
    return mrml.segment_styles(known, regions=True, classes=False)


@pytest.mark.parametrize("transform", [None, TURN, SHEAR])
def test_labels_come_back_where_the_volume_is_shown(
    scene: Any, labels: np.ndarray, transform: np.ndarray | None
) -> None:
    volume, node = add_volume(scene, transform), add_segmentation(scene)
    mrml.write_segments(node, labels, styles(), mrml.Place(mrml.affine_of(volume), volume))
    back = mrml.labels_of(node)
    np.testing.assert_array_equal(back.array, labels)
    np.testing.assert_allclose(back.affine, mrml.affine_of(volume), atol=1e-9)
    assert node.GetTransformNodeID() == volume.GetTransformNodeID()
    assert not mrml.holds_other_work(node)


def test_classes_alone_come_back_too(scene: Any, labels: np.ndarray) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    chosen = mrml.segment_styles(ALL, regions=False, classes=True)
    mrml.write_segments(node, labels, chosen, mrml.Place(mrml.affine_of(volume), volume))
    assert set(mrml.segment_ids(node)) == {"NCR", "ED", "ET"}
    np.testing.assert_array_equal(mrml.labels_of(node).array, labels)
    assert mrml.known_regions(node) == ALL


def test_a_result_of_files_has_the_grid_of_its_reference(scene: Any, labels: np.ndarray) -> None:
    node, affine = add_segmentation(scene), mrml.affine_of(add_volume(scene))
    mrml.write_segments(node, labels, styles(), mrml.Place(affine))
    back = mrml.labels_of(node)
    np.testing.assert_array_equal(back.array, labels)
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)


def test_empty_regions(scene: Any, labels: np.ndarray) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    mrml.write_segments(node, np.zeros_like(labels), styles(), mrml.Place(mrml.affine_of(volume), volume))
    assert tuple(mrml.segment_ids(node)) == ("ET", "TC", "WT")
    assert not mrml.labels_of(node).array.any()


def test_other_segments_and_their_place_stay(scene: Any, labels: np.ndarray) -> None:
    """Into a segmentation with a surface that somebody drew, under a transform of its own."""
    volume, node = add_volume(scene, TURN), add_segmentation(scene)
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(3)
    sphere.Update()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "mine")
    mrml.write_segments(node, labels, styles(), mrml.Place(mrml.affine_of(volume), volume))
    names = {node.GetSegmentation().GetNthSegment(index).GetName() for index in range(4)}
    assert names == {"mine", *ALL}
    assert node.GetTransformNodeID() is None
    np.testing.assert_array_equal(np.count_nonzero(mrml.labels_of(node).array), np.count_nonzero(labels))


def test_editing_is_noticed(scene: Any, labels: np.ndarray) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    place = mrml.Place(mrml.affine_of(volume), volume)
    assert not mrml.holds_other_work(node)
    mrml.write_segments(node, labels, styles(), place)
    slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "TC")[0, 0, 0] ^= 1
    assert mrml.holds_other_work(node)
    mrml.write_segments(node, labels, styles(("WT",)), place)
    assert not mrml.holds_other_work(node)
    assert tuple(mrml.segment_ids(node)) == ("WT",), "a former result goes whole"


@pytest.mark.parametrize(("known", "classes"), [(ALL, "NCR ED ET"), (("TC", "WT"), "ED"), (("WT",), "")])
def test_classes_that_a_model_tells_apart(known: tuple[str, ...], classes: str) -> None:
    found = mrml.segment_styles(known, regions=False, classes=True)
    assert [style.name for style in found] == classes.split()


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "float64"])
@pytest.mark.parametrize("transform", [None, TURN, SHEAR])
def test_the_engine_reads_what_is_shown(scene: Any, tmp_path: Path, dtype: str, transform: np.ndarray | None) -> None:
    """Voxels and affine in double precision, sheared ones too."""
    volume = add_volume(scene, transform, dtype)
    mrml.write_image(mrml.volume_of(volume), tmp_path / "t1.nii")
    read = read_volume(tmp_path / "t1.nii")
    np.testing.assert_array_equal(read.array, slicer.util.arrayFromVolume(volume))
    np.testing.assert_array_equal(read.affine, mrml.affine_of(volume))


def test_alignment_agrees_with_the_engine(scene: Any) -> None:
    first = add_volume(scene)
    for shift, expected in ((0, "SAME"), (5e-4, "SAME"), (2e-3, "RESAMPLED"), (17, "RESAMPLED"), (24, "APART")):
        moved = np.eye(4)
        moved[2, 3] = shift
        second = add_volume(scene, moved)
        assert mrml.alignment(second, first).name == expected, shift
        volumes = [mrml.volume_of(node) for node in (second, first)]
        assert grid.same_grid(*map(grid.Grid.of, volumes)) == (expected == "SAME")
        try:
            grid.check_overlap(*volumes)
        except GeometryError:
            assert expected == "APART"
        else:
            assert expected != "APART"


def test_a_segmentation_of_something_else_is_refused(scene: Any) -> None:
    node = add_segmentation(scene)
    node.GetSegmentation().AddEmptySegment("liver")
    with pytest.raises(InputError, match="no segment called ET"):
        mrml.labels_of(node)


@pytest.mark.parametrize("transform", [None, TURN, SHEAR])
def test_a_segment_gets_other_voxels_where_it_lies(
    scene: Any, labels: np.ndarray, transform: np.ndarray | None
) -> None:
    """On the grid of its masks, which need not lie within each other; the others stay."""
    volume, node = add_volume(scene, transform), add_segmentation(scene)
    styles = mrml.segment_styles(ALL, regions=True, classes=False)
    mrml.write_segments(node, labels, styles, mrml.Place(mrml.affine_of(volume), volume))
    before, affine = mrml.masks_of(node)
    np.testing.assert_allclose(affine, mrml.affine_of(volume), atol=1e-6)
    stroke = before["ET"].copy()
    stroke[0, 1, :5] = True
    mrml.replace_mask(node, "ET", stroke)
    after, _ = mrml.masks_of(node)
    np.testing.assert_array_equal(after["ET"], stroke)
    for name in ("TC", "WT"):
        np.testing.assert_array_equal(after[name], before[name])
    assert mrml.labels_of(node).array[0, 1, 0] == 3, "in a label map an outer region holds the inner ones"
    assert mrml.holds_other_work(node)


def add_sphere(node: Any, name: str, radius: float) -> None:
    """A segment that is a surface alone, as of a file with models."""
    sphere = vtk.vtkSphereSource()
    sphere.SetThetaResolution(48)
    sphere.SetPhiResolution(48)
    sphere.SetRadius(radius)
    sphere.Update()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), name)


def add_spheres(scene: Any, on_grid: bool) -> Any:
    """ET and WT as surfaces, on the grid of a reference, or on none."""
    node = add_segmentation(scene)
    if on_grid:
        volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "P1_t1ce")
        slicer.util.updateVolumeFromArray(volume, np.zeros((30, 30, 30), np.int16))
        volume.SetOrigin(-15, -15, -15)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, radius in SPHERES.items():
        add_sphere(node, name, radius)
    return node


@pytest.mark.parametrize("on_grid", [True, False])
def test_surfaces_are_measured_as_label_maps(scene: Any, on_grid: bool) -> None:
    """On the reference's grid, or on one that Slicer derives from them; the node keeps its surfaces."""
    node = add_spheres(scene, on_grid)
    masks, affine = mrml.masks_of(node)
    for name, radius in SPHERES.items():
        size = masks[name].sum() * abs(np.linalg.det(affine[:3, :3]))
        assert size == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1), name
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_surfaces_are_told_apart_and_edited(scene: Any) -> None:
    node = add_spheres(scene, on_grid=True)
    before = mrml.fingerprint(node)
    node.GetSegmentation().RemoveSegment(mrml.segment_ids(node)["ET"])
    add_sphere(node, "ET", 7)
    assert mrml.fingerprint(node) != before
    masks, _affine = mrml.masks_of(node)
    stroke = masks["WT"].copy()
    stroke[0] = True
    mrml.replace_mask(node, "WT", stroke)
    after, _affine = mrml.masks_of(node)
    np.testing.assert_array_equal(after["WT"], stroke)
    np.testing.assert_array_equal(after["ET"], masks["ET"])


def test_segments_that_cannot_be_made_label_maps_are_refused(scene: Any, labels: np.ndarray) -> None:
    """Contours of a radiotherapy plan, where the extension that knows them is not installed."""
    volume, node, segment = add_volume(scene), add_segmentation(scene), slicer.vtkSegment()
    segment.SetName("WT")
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    node.GetSegmentation().AddSegment(segment)
    place = mrml.Place(mrml.affine_of(volume), volume)
    for use in (mrml.masks_of, mrml.fingerprint, lambda one: mrml.write_segments(one, labels, styles(), place)):
        with pytest.raises(InputError, match="cannot be made label maps"):
            use(node)


def test_segments_that_were_made_by_hand_are_replaced_by_name(scene: Any, labels: np.ndarray) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    for number, name in enumerate(("ET", "WT", "WT", "liver"), start=1):
        node.GetSegmentation().AddEmptySegment(f"Segment_{number}", name)
        node.GetSegmentation().GetSegment(f"Segment_{number}").SetName(name)
    mrml.write_segments(node, labels, styles(), mrml.Place(mrml.affine_of(volume), volume))
    count = node.GetSegmentation().GetNumberOfSegments()
    names = [node.GetSegmentation().GetNthSegment(index).GetName() for index in range(count)]
    assert sorted(names) == ["ET", "TC", "WT", "liver"]
    np.testing.assert_array_equal(mrml.labels_of(node).array, labels)


def test_a_segment_of_a_result_that_was_renamed_is_kept(scene: Any, labels: np.ndarray) -> None:
    """It is somebody's own then: it is nothing of the result that is measured, and stays where another one comes."""
    volume, node = add_volume(scene), add_segmentation(scene)
    place = mrml.Place(mrml.affine_of(volume), volume)
    mrml.write_segments(node, labels, styles(), place)
    mrml.write_provenance(node, {}, ALL)
    segmentation = node.GetSegmentation()
    segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("ET")).SetName("ET of last year")
    assert set(mrml.known_regions(node)) == {"TC", "WT"} == set(mrml.segment_ids(node))
    assert mrml.holds_other_work(node)
    before, _affine = mrml.masks_of(node)
    mrml.write_segments(node, np.where(labels == 3, 2, labels), styles(), place)
    names = [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    assert sorted(names) == ["ET", "ET of last year", "TC", "WT"]
    after, _affine = mrml.masks_of(node)
    assert not after["ET"].any()
    np.testing.assert_array_equal(after["WT"], before["WT"])
    segmentation.GetSegment(mrml.segment_ids(node)["ET"]).SetName("x")
    segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("ET of last year")).SetName("ET")
    np.testing.assert_array_equal(mrml.masks_of(node)[0]["ET"], labels == 3)


def test_a_provenance_is_read_as_it_was_written(scene: Any) -> None:
    node = add_segmentation(scene)
    assert mrml.provenance_of(node) == {}
    mrml.write_provenance(node, {"warnings": ["Look – closely."], "confidence": {"ET": 0.5}}, ALL)
    assert mrml.provenance_of(node)["warnings"] == ["Look – closely."]
    node.SetAttribute("BrainTumorSeg.provenance", "[" * 100_000)
    assert mrml.provenance_of(node) == {}
