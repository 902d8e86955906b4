"""Slice and 3D views of a segmentation, drawn off-screen by VTK from the nodes of the scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from PIL import Image
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

BAR = 8
# View: axis of the array (z, y, x) that it looks along, colour of its bar as in Slicer.
_SLICES = {"R": (0, (0.95, 0.36, 0.33)), "Y": (2, (0.93, 0.84, 0.30)), "G": (1, (0.43, 0.69, 0.29))}
_ORDER = ("WT", "TC", "ET")


def masks_of(node: Any, reference: Any) -> dict[str, np.ndarray]:
    """Region → mask on the reference's grid, the largest first."""
    segmentation = node.GetSegmentation()
    found = {}
    for name in _ORDER:
        identifier = segmentation.GetSegmentIdBySegmentName(name)
        if identifier:
            found[name] = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, reference)
    return found


def colour_of(node: Any, name: str) -> tuple[float, float, float]:
    """A segment's own colour."""
    segmentation = node.GetSegmentation()
    red, green, blue = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name)).GetColor()
    return red, green, blue


def _image(plane: np.ndarray, spacing: tuple[float, float]) -> Any:
    image = vtk.vtkImageData()
    image.SetDimensions(plane.shape[1], plane.shape[0], 1)
    image.SetSpacing(spacing[0], spacing[1], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(plane, np.float32).ravel(), deep=True))
    return image


def _oriented(volume: Any) -> tuple[int, ...]:
    """Axes of the array (z, y, x) that have to be turned so that it runs to superior, anterior, left…

    Radiological views show the patient's right on the left: x runs to L, y to A, z to S.
    """
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(matrix)
    signs = [matrix.GetElement(axis, axis) for axis in (2, 1, 0)]
    return tuple(axis for axis, (sign, wanted) in enumerate(zip(signs, (1, 1, -1), strict=True)) if sign * wanted < 0)


def slice_renderer(node: Any, reference: Any, name: str, size: tuple[float, float]) -> Any:
    """A slice through the middle of the tumour with the contours of the segments; of no tumour, through the image's."""
    axis, bar = _SLICES[name]
    turned = _oriented(reference)
    found = masks_of(node, reference) if node is not None else {}
    masks = {region: np.flip(array, turned) for region, array in found.items()}
    image = np.flip(slicer.util.arrayFromVolume(reference), turned)
    core = next((masks[region] for region in ("ET", "WT") if region in masks and masks[region].any()), image > 0)
    index = int(core.sum(tuple(other for other in range(3) if other != axis)).argmax())
    spacing = reference.GetSpacing()
    plane_spacing = {0: (spacing[0], spacing[1]), 1: (spacing[0], spacing[2]), 2: (spacing[1], spacing[2])}[axis]
    planes = {region: array.take(index, axis) for region, array in {"": image, **masks}.items()}
    if axis == 2:  # the nose to the left, as Slicer has it
        planes = {region: plane[:, ::-1] for region, plane in planes.items()}
    renderer = vtk.vtkRenderer()
    shown = _image(planes.pop(""), plane_spacing)
    inside = image[image > 0]
    actor = vtk.vtkImageActor()
    levels = vtk.vtkImageMapToWindowLevelColors()
    low, high = np.percentile(inside, (0.5, 99.7))
    levels.SetWindow(high - low)
    levels.SetLevel((high + low) / 2)
    levels.SetInputData(shown)
    actor.GetMapper().SetInputConnection(levels.GetOutputPort())
    actor.InterpolateOn()
    renderer.AddActor(actor)
    for number, (region, plane) in enumerate(planes.items(), start=1):
        renderer.AddActor(_contour(_image(plane, plane_spacing), colour_of(node, region), number))
    renderer.GetActiveCamera().ParallelProjectionOn()
    renderer.ResetCamera()
    rows, columns = image.take(index, axis).shape
    width, height = size
    high, wide = rows * plane_spacing[1], columns * plane_spacing[0] * height / width
    renderer.GetActiveCamera().SetParallelScale(0.5 * max(high, wide) * 0.86)
    _add_bar(renderer, bar, name, height)
    return renderer


def _contour(image: Any, colour: tuple[float, float, float], height: int) -> Any:
    edges = vtk.vtkMarchingSquares()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    strips = vtk.vtkStripper()
    strips.SetInputConnection(edges.GetOutputPort())
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(strips.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.SetPosition(0, 0, height * 0.1)
    actor.GetProperty().SetColor(colour)
    actor.GetProperty().SetLineWidth(3.5)
    actor.GetProperty().LightingOff()
    return actor


def _add_bar(renderer: Any, colour: tuple[float, float, float], text: str, side: float) -> None:
    points = vtk.vtkPoints()
    for x, y in ((0, 1 - BAR / side), (1, 1 - BAR / side), (1, 1), (0, 1)):
        points.InsertNextPoint(x, y, 0)
    cells = vtk.vtkCellArray()
    cells.InsertNextCell(4, [0, 1, 2, 3])
    strip = vtk.vtkPolyData()
    strip.SetPoints(points)
    strip.SetPolys(cells)
    coordinate = vtk.vtkCoordinate()
    coordinate.SetCoordinateSystemToNormalizedViewport()
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(strip)
    mapper.SetTransformCoordinate(coordinate)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(colour)
    renderer.AddViewProp(actor)
    if text:
        label = vtk.vtkTextActor()
        label.SetInput(text)
        label.GetTextProperty().SetFontSize(30)
        label.GetTextProperty().SetColor(colour)
        label.GetTextProperty().BoldOn()
        label.SetPosition(14, int(side) - 56)
        renderer.AddViewProp(label)


def surface_renderer(node: Any, reference: Any, height: float) -> Any:
    """The closed surfaces of the segments in the brain, seen from the front and the tumour's side."""
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(0.62, 0.66, 0.82)
    renderer.SetBackground2(0.86, 0.88, 0.94)
    renderer.GradientBackgroundOn()
    renderer.UseDepthPeelingOn()
    renderer.SetMaximumNumberOfPeels(60)
    if node is None:  # nothing is shown in 3D yet
        _add_bar(renderer, (0.45, 0.45, 0.75), "", height)
        return renderer
    renderer.AddActor(_brain(reference))
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    for name in _ORDER:
        identifier = segmentation.GetSegmentIdBySegmentName(name)
        surface = vtk.vtkPolyData()
        node.GetClosedSurfaceRepresentation(identifier, surface)
        mapper = vtk.vtkPolyDataMapper()
        mapper.SetInputData(surface)
        actor = vtk.vtkActor()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(colour_of(node, name))
        actor.GetProperty().SetOpacity(display.GetSegmentOpacity3D(identifier))
        actor.GetProperty().SetSpecular(0.2)
        renderer.AddActor(actor)
    camera = renderer.GetActiveCamera()
    camera.SetViewUp(0, 0, 1)
    bounds = [0.0] * 6
    reference.GetRASBounds(bounds)
    middle = (bounds[0] + bounds[1]) / 2
    left = node.GetSegmentCenterRAS(segmentation.GetSegmentIdBySegmentName("WT"))[0] < middle
    camera.SetPosition(-0.9 if left else 0.9, 0.9, 0.4)
    camera.SetFocalPoint(0, 0, 0)
    renderer.ResetCamera()
    camera.Zoom(1.35)
    _add_bar(renderer, (0.45, 0.45, 0.75), "", height)
    return renderer


def _brain(reference: Any) -> Any:
    """The outline of what is not background, thin as glass."""
    array = (slicer.util.arrayFromVolume(reference) > 0).astype(np.float32)
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    smooth = vtk.vtkImageGaussianSmooth()
    smooth.SetInputData(image)
    smooth.SetStandardDeviations(1.6, 1.6, 1.6)
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputConnection(smooth.GetOutputPort())
    edges.SetValue(0, 0.5)
    matrix = vtk.vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    place = vtk.vtkTransform()
    place.SetMatrix(matrix)
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetTransform(place)
    moved.SetInputConnection(edges.GetOutputPort())
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(moved.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(0.93, 0.88, 0.84)
    actor.GetProperty().SetOpacity(0.16)
    return actor


def draw_views(node: Any, reference: Any, width: int, height: int) -> Image.Image:
    """Axial and 3D above, coronal and sagittal below, as Slicer's four-up; without a segmentation the image alone."""
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)  # else translucent surfaces vanish
    window.SetAlphaBitPlanes(1)
    window.SetSize(width, height)
    half = (width / 2, height / 2)
    places = {
        (0, 1): slice_renderer(node, reference, "R", half),
        (1, 1): surface_renderer(node, reference, half[1]),
        (0, 0): slice_renderer(node, reference, "G", half),
        (1, 0): slice_renderer(node, reference, "Y", half),
    }
    for (column, row), renderer in places.items():
        renderer.SetViewport(column / 2, row / 2, (column + 1) / 2, (row + 1) / 2)
        window.AddRenderer(renderer)
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    output = grabber.GetOutput()
    columns, rows, _ = output.GetDimensions()
    pixels = vtk_to_numpy(output.GetPointData().GetScalars()).reshape(rows, columns, -1)
    return Image.fromarray(np.ascontiguousarray(pixels[::-1, :, :3]))
