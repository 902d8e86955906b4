"""The public sample patient of BraTS 2023: where it lies, and how to know that it arrived unchanged."""

from __future__ import annotations

from pathlib import Path

from ..domain.progress import Progress
from .fetch import download
from .user_folder import user_folder

SAMPLE = "BraTS-GLI-00001-000"
SAMPLE_ADDRESS = "https://github.com/lassoan/SlicerMONAIAuto3DSeg/releases/download/TestingData/"
# File name -> SHA-256.
SAMPLE_FILES = {
    f"{SAMPLE}-{sequence}.nii.gz": digest
    for sequence, digest in {
        "t1c": "4399faadcc45c8a4541313cdf88aced7d835ed59ac3078d950e0eac293d603f5",
        "t1n": "e860924b936e301ddeba20409fbb59dde322475cb49328f1b46a9235c792e73e",
        "t2f": "82aed8546af5e6d8d94fd91c56227abdcf6120130390d1556c4342a208980604",
        "t2w": "4cd389cc57d12134a30a898c66532228126b9a7d0600ee578e82a32144528b51",
    }.items()
}


def fetch_sample(progress: Progress | None = None) -> Path:
    """The sample patient's folder; what is missing or changed there is downloaded (11 MB in all).

    Raises:
        ExecutionError: no internet, or what came is not that file.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    folder = user_folder() / "samples" / SAMPLE
    count = len(SAMPLE_FILES)
    for number, (name, digest) in enumerate(SAMPLE_FILES.items()):
        part = progress.part(number / count, (number + 1) / count)
        download(SAMPLE_ADDRESS + name, folder / name, digest, part, remedy="Without internet, leave out --sample.")
    return folder
