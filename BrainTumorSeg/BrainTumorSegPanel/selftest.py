"""The module's own test, for the application: Reload and Test, or ctest. The automated tests are in ``Testing``."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.io import mrml

from . import setup


class BrainTumorSegTest(ScriptedLoadableModuleTest):
    """Runs inside the application: Reload and Test, or ctest."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All tests."""
        self.setUp()
        self.test_missingModalityIsRefused()
        self.setUp()
        self.test_syntheticPatient()

    def test_missingModalityIsRefused(self) -> None:
        """What is missing is named, and the scene stays as it was."""
        import numpy as np

        volume = slicer.util.addVolumeFromArray(np.arange(512, dtype=np.float32).reshape(8, 8, 8))
        before = slicer.mrmlScene.GetNumberOfNodes()
        try:
            setup.check()
        except BrainTumorSegError as error:
            self.skipTest(str(error))
        with self.assertRaises(BrainTumorSegError) as caught:
            _logic().segment(t1=volume, model="lgg-unet", device="cpu")
        self.assertIn("FLAIR", str(caught.exception))
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def test_syntheticPatient(self) -> None:
        """From volumes to segments and their sizes, by the engine as a child process."""
        try:
            setup.check()
        except BrainTumorSegError as error:
            self.skipTest(str(error))
        from BrainTumorSegLib.phantom import make_phantom

        patient = make_phantom(shape=(52, 80, 80))
        nodes = {
            name: slicer.util.addVolumeFromArray(image.array, image.affine, name)
            for name, image in patient.case.images.items()
        }
        logic = _logic()
        segmentation = logic.segment(**nodes, model="brats-unet2d", device="cpu")
        self.assertEqual(set(mrml.segment_ids(segmentation)), {"ET", "TC", "WT"})
        self.assertGreater(logic.measurements(segmentation)["WT"].volume_ml, 1)


def _logic() -> Any:
    """Of the module that is loaded now, which may have been reloaded."""
    from BrainTumorSeg import BrainTumorSegLogic

    return BrainTumorSegLogic()
