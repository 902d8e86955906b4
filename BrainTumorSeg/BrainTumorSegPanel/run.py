"""A run of the engine on images of the scene, from the files it is given to the nodes that it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.alignment_record import Motion
from BrainTumorSegLib.domain.errors import BrainTumorSegError, ExecutionError, GeometryError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.modalities import TITLES, reference_of
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.domain.session import mixed
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.models.catalogue import SUFFIX

from .alignment import Moved
from .content import Wish
from .node_run import NodeRun
from .outputs import add_transform, add_volume
from .patients import time_shown
from .preprocessing import Preprocessed, read_preprocessed
from .sources import name_of, origins_of


class SegmentationRun(NodeRun):
    """A run that was started; it is done when :attr:`state` says so, and :meth:`result` loads what it made.

    Attributes:
        measurements: region → :class:`BrainTumorSegLib.domain.measurements.RegionMeasurement`, after :meth:`result`.
        confidence: region → the Dice that the model expects, for the regions that it found.
        warnings: sentences that a reader of the result must see.
        probability_nodes: region → volume node, where asked for.
        brain_node: label volume of the brain, where asked for and extracted.
        registered_nodes: modality → co-registered, skull-stripped volume node, where asked for.
        transform_nodes: modality → transform node that puts its scan over the reference, where asked for.
        moved: ids of a scan and of its reference → where registration put the scan.
    """

    def __init__(self, sources: Mapping[str, Any], wish: Wish, segmentation: Any = None) -> None:
        """Write the images and start the engine.

        Args:
            sources: modality → volume node or file, as :func:`.sources.resolve` gives it.
            wish: what is to be made.
            segmentation: the node that gets the result; a new one without it, and where it is edited meanwhile.

        Raises:
            BrainTumorSegError: an image cannot be used or written, or no process can be started.
        """
        self._sources, self._wish, self._segmentation = dict(sources), wish, segmentation
        self._reference = self._sources[reference_of(self._sources)]
        self._voxels = None if segmentation is None else _voxels_of(segmentation)
        self._grid = None if isinstance(self._reference, Path) else _own_grid(self._reference)
        self._node: Any = None
        self.measurements: dict[str, Any] = {}
        self.confidence: dict[str, float] = {}
        self.probability_nodes: dict[str, Any] = {}
        self.brain_node: Any = None
        self.registered_nodes: dict[str, Any] = {}
        self.transform_nodes: dict[str, Any] = {}
        self.moved: dict[tuple[str, str], Moved] = {}
        self._affines: dict[str, np.ndarray] = {}
        self.warnings: list[str] = list(mixed(origins_of(self._sources)))
        self._times = {
            modality: time_shown(source) for modality, source in self._sources.items() if not isinstance(source, Path)
        }
        super().__init__(self._arguments, in_process=wish.in_process)

    def _arguments(self, folder: Path) -> list[str]:
        """The command line; nodes are written to the run's folder."""
        wish, self._folder = self._wish, folder.resolve()  # as the engine names it
        self._output, self._probabilities = self._folder / "segmentation.nii", self._folder / "probabilities"
        self._preprocessed = self._folder / "preprocessed"
        options = dataclasses.replace(
            wish.options,
            model=from_root(wish.options.model),
            brain_mask=self._brain_mask(),
            probabilities=self._probabilities if wish.probabilities else None,
            preprocessed=self._preprocessed if wish.brain or wish.registered else None,
        )
        arguments = ["segment", "-o", str(self._output), *options.arguments()]
        for modality, source in self._sources.items():
            file = source
            if not isinstance(source, Path):
                file = self._folder / f"{modality}.nii"
                volume = mrml.volume_of(source)
                self._affines[modality] = volume.affine
                self.write(volume, file)
            arguments += [f"--{modality}", str(file.absolute())]
        return arguments

    def _brain_mask(self) -> Path | None:
        """The file of the mask that is given in place of an extraction; a node's is written on the reference's grid."""
        mask = self._wish.brain_mask
        if mask is None or isinstance(mask, Path):
            return mask.absolute() if mask else None
        from BrainTumorSegLib.io.registry import read_volume
        from BrainTumorSegLib.preprocessing.resampling import resample

        given, in_scene = mrml.mask_of(mask), not isinstance(self._reference, Path)
        grid = mrml.grid_of_volume(self._reference) if in_scene else Grid.of(read_volume(self._reference))
        voxels = resample(given.array, Grid.of(given), grid, nearest=True)
        file = self._folder / "brain_mask.nii"
        self.write(Volume(voxels, grid.affine, given.source), file)
        return file

    def result(self) -> Any:
        """The segmentation node; waits for the run, and loads its result when it is first asked for.

        Raises:
            BrainTumorSegError: the run failed or was cancelled, or an image has left the scene meanwhile.
        """
        if self._node is None:
            self.finish()
            try:
                self._node = self._load(self._engine.record())
            except BrainTumorSegError as error:
                self._problem = error
                raise
            finally:
                self.close()
        return self._node

    def _load(self, record: ResultRecord) -> Any:
        """Nodes from files. All is read before the scene is touched."""
        from BrainTumorSegLib.io.registry import read_volume

        self._check_scene()
        preprocessed = read_preprocessed(self._preprocessed)
        labels = read_volume(self._output)
        maps = {file.name.split(".")[0]: read_volume(file) for file in sorted(self._probabilities.glob("*.nii.gz"))}
        self.measurements, self.confidence = dict(record.measurements), dict(record.confidence)
        self.warnings += map(self.in_names, record.warnings)
        known = record.regions
        styles = self._wish.content.styles(known, record.own_regions)
        if not styles:
            self.warnings.append(_("This model does not tell tissue classes apart; regions are shown."))
            styles = mrml.segment_styles(known, regions=True, classes=False)
        place = self._place(labels.affine)
        node = self._target()
        mrml.write_segments(node, labels.array, styles, place)
        mrml.write_provenance(node, self._provenance(record), known)
        if place.reference is not None:
            mrml.place_beside(node, place.reference)
        for region, volume in maps.items():
            name = _("{name} {region} probability").format(name=node.GetName(), region=region)
            self.probability_nodes[region] = add_volume(name, volume, place, made="probability")
        self._add_preprocessed(preprocessed, record.provenance.alignment.moves, place)
        if self._wish.surfaces:
            show_surfaces(node)
        return node

    def _place(self, affine: np.ndarray) -> mrml.Place:
        """On the reference, which may have been put under a transform; where it lay if it is on another grid now.

        Nothing can be put under a transform that is not linear.
        """
        if self._grid is None:
            return mrml.Place(affine)
        with suppress(GeometryError):
            now, was = mrml.affine_of(self._reference), self._affines[reference_of(self._sources)]
            if _own_grid(self._reference) == self._grid:
                return mrml.Place(now, self._reference, np.eye(4) if (now == was).all() else now @ np.linalg.inv(was))
        text = _("{name} has other voxels or another place now; the result lies where it was when the run began.")
        self.warnings.append(text.format(name=self._reference.GetName()))
        return mrml.Place(affine)

    def _add_preprocessed(self, preprocessed: Preprocessed, moves: Mapping[str, Motion], place: mrml.Place) -> None:
        """The brain, the registered images and the transforms, where asked for; and where the scans have moved."""
        reference, title = self._reference, TITLES[reference_of(self._sources)]
        for modality, source in self._sources.items():
            if modality not in moves:
                continue
            put = np.asarray(moves[modality].matrix)
            if not isinstance(source, Path):
                was, put = self._affines[modality], put @ self._affines[modality]
                if place.reference is not None:
                    fixed = self._affines[reference_of(self._sources)]
                    self.moved[source.GetID(), reference.GetID()] = Moved(was, fixed, put)
                put = put @ np.linalg.inv(mrml.own_affine(source))  # in place of a transform that it is under
            if self._wish.registered:
                name = _("{name} to {reference}").format(name=_stem(source), reference=title)
                self.transform_nodes[modality] = add_transform(name, put, place)
        if self._wish.brain and preprocessed.brain is not None:
            name = _("{name} brain").format(name=_stem(reference))
            self.brain_node = add_volume(name, preprocessed.brain, place, made="brain mask", labels=True)
        for modality, volume in preprocessed.images.items() if self._wish.registered else ():
            name = _("{name} registered").format(name=_stem(self._sources[modality]))
            self.registered_nodes[modality] = add_volume(name, volume, place, made="registered image")

    def _check_scene(self) -> None:
        for modality, source in self._sources.items():
            if not isinstance(source, Path) and not slicer.mrmlScene.IsNodePresent(source):
                raise ExecutionError(
                    _("The {title} image was removed while it was segmented.").format(title=TITLES[modality]),
                    _("Load it again."),
                )
            if self._times.get(modality) and time_shown(source) != self._times[modality]:
                text = _("{name} shows another point in time now; the result is that of {time}.")
                self.warnings.append(text.format(name=source.GetName(), time=self._times[modality]))

    def _target(self) -> Any:
        """The node that gets the result; a new one where the chosen one has gone, or was edited since the start."""
        chosen = self._segmentation
        if chosen is not None:
            if not slicer.mrmlScene.IsNodePresent(chosen):
                self.warnings.append(_("The output segmentation was removed meanwhile; the result is a new one."))
            elif not self._is_as_it_was(chosen):
                text = _("{name} was edited during the run and stays as it is; the result is a new one.")
                self.warnings.append(text.format(name=chosen.GetName()))
            else:
                return chosen
        time = self._times.get(reference_of(self._sources))
        name = _("{name} tumour").format(name=" ".join(filter(None, (_stem(self._reference), time))))
        name = slicer.mrmlScene.GenerateUniqueName(name)
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)

    def _is_as_it_was(self, chosen: Any) -> bool:
        try:
            return _voxels_of(chosen) == self._voxels
        except BrainTumorSegError:  # made something else that cannot be read or replaced
            return False

    def _provenance(self, record: ResultRecord) -> dict[str, Any]:
        """That of the record, with the names of the images in place of the temporary files'."""
        names = {
            modality: " ".join(filter(None, (name_of(source), self._times.get(modality))))
            for modality, source in self._sources.items()
        }
        more = {"confidence": self.confidence, "warnings": list(self.warnings)}
        return {**dataclasses.asdict(record.provenance), "inputs": names, **more}


def from_root(model: str) -> str:
    """A model's file named from the root on, since the engine works in another folder; an id stays as it is."""
    return str(Path(model).absolute()) if model.endswith(SUFFIX) else model


def _voxels_of(segmentation: Any) -> str:
    """A digest of what an output holds; refuses one that could not take a result."""
    if segmentation.GetSegmentation().GetNumberOfSegments():  # an empty one is put where the reference is
        mrml.world_of(segmentation)
    return mrml.fingerprint(segmentation)


def _own_grid(volume: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """What a volume's voxels lie on, whatever transform it is under; no dimensions where it holds none."""
    image = volume.GetImageData()
    return () if image is None else image.GetDimensions(), tuple(mrml.own_affine(volume).ravel().tolist())


def _stem(source: Any) -> str:
    from BrainTumorSegLib.domain.modalities import stem

    return stem(source) if isinstance(source, Path) else str(source.GetName())


def show_surfaces(node: Any) -> None:
    """Closed surfaces of the segments in the 3D views."""
    node.CreateClosedSurfaceRepresentation()
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(True)
