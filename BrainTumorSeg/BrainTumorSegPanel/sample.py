"""The public sample patient of BraTS 2023, offered by the module Sample Data."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

CATEGORY = "BrainTumorSeg"
SAMPLE = "BraTS-GLI-00001-000"
_ADDRESS = "https://github.com/lassoan/SlicerMONAIAuto3DSeg/releases/download/TestingData"
# The command line's demo has the same; it cannot be asked here, since it imports what Slicer may lack.
SHA256 = {
    "t1c": "4399faadcc45c8a4541313cdf88aced7d835ed59ac3078d950e0eac293d603f5",
    "t1n": "e860924b936e301ddeba20409fbb59dde322475cb49328f1b46a9235c792e73e",
    "t2f": "82aed8546af5e6d8d94fd91c56227abdcf6120130390d1556c4342a208980604",
    "t2w": "4cd389cc57d12134a30a898c66532228126b9a7d0600ee578e82a32144528b51",
}
FILES = tuple(f"{SAMPLE}-{name}.nii.gz" for name in SHA256)
THUMBNAIL = Path(__file__).parents[1] / "Resources" / "Icons" / "BrainTumorSegSample.png"


def register_sample_data() -> None:
    """Offer the patient in the module Sample Data, where this Slicer has it."""
    try:
        import SampleData
    except ImportError:
        return

    logic = SampleData.SampleDataLogic
    logic.registerCustomSampleDataCategory(CATEGORY, title=_("Brain Tumor Segmentation"))
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        thumbnailFileName=str(THUMBNAIL),
        uris=[f"{_ADDRESS}/{file}" for file in FILES],
        fileNames=list(FILES),
        nodeNames=[file.removesuffix(".nii.gz") for file in FILES],
        checksums=[f"SHA256:{digest}" for digest in SHA256.values()],
    )
