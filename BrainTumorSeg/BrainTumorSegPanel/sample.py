"""The public sample patient of BraTS 2023, offered by the module Sample Data and loaded through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.io.sample_patient import SAMPLE, SAMPLE_ADDRESS, SAMPLE_FILES

from .sources import remove_node

CATEGORY = "BrainTumorSeg"
THUMBNAIL = Path(__file__).parents[1] / "Resources" / "Icons" / "BrainTumorSegSample.png"


def register_sample_data() -> None:
    """Offer the patient in the module Sample Data, where this Slicer has it."""
    try:
        import SampleData
    except ImportError:
        return

    logic = SampleData.SampleDataLogic
    logic.registerCustomSampleDataCategory(CATEGORY, title=_("Brain Tumour Segmentation"))
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        thumbnailFileName=str(THUMBNAIL),
        uris=[SAMPLE_ADDRESS + file for file in SAMPLE_FILES],
        fileNames=list(SAMPLE_FILES),
        nodeNames=[file.removesuffix(".nii.gz") for file in SAMPLE_FILES],
        checksums=[f"SHA256:{digest}" for digest in SAMPLE_FILES.values()],
    )


def load_sample() -> list[Any]:
    """Download the patient and load it: all of its images or none.

    Raises:
        InputError: not all of them came; Sample Data itself only logs it.
    """
    import SampleData

    nodes = [node for node in SampleData.SampleDataLogic().downloadSamples(SAMPLE) if node is not None]
    if len(nodes) < len(SAMPLE_FILES):
        for node in nodes:
            remove_node(node)
        raise InputError(_("The sample could not be downloaded."), _("Connect to the internet, or see Slicer's log."))
    return nodes
