"""The public sample patient of BraTS 2023, offered by the module Sample Data."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from BrainTumorSegLib.io.sample_patient import SAMPLE, SAMPLE_ADDRESS, SAMPLE_FILES

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
