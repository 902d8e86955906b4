"""The public sample patient of BraTS 2023, offered by the module Sample Data."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from BrainTumorSegLib.io.sample_patient import SAMPLE, sample_files

CATEGORY = "BrainTumorSeg"
THUMBNAIL = Path(__file__).parents[1] / "Resources" / "Icons" / "BrainTumorSegSample.png"


def register_sample_data() -> None:
    """Offer the patient in the module Sample Data, where this Slicer has it."""
    try:
        import SampleData
    except ImportError:
        return

    logic, files = SampleData.SampleDataLogic, sample_files()
    logic.registerCustomSampleDataCategory(CATEGORY, title=_("Brain Tumor Segmentation"))
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        thumbnailFileName=str(THUMBNAIL),
        uris=[address for address, _digest in files.values()],
        fileNames=list(files),
        nodeNames=[file.removesuffix(".nii.gz") for file in files],
        checksums=[f"SHA256:{digest}" for _address, digest in files.values()],
    )
