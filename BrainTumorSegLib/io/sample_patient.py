"""The public sample patient: BraTS 2023, BraTS-GLI-00001-000."""

from __future__ import annotations

from pathlib import Path

from ..domain.progress import Progress
from .download import download
from .user_folder import user_folder

SAMPLE = "BraTS-GLI-00001-000"
SAMPLE_ADDRESS = "https://github.com/lassoan/SlicerMONAIAuto3DSeg/releases/download/TestingData/"
SAMPLE_SHA256 = {
    "t1c": "4399faadcc45c8a4541313cdf88aced7d835ed59ac3078d950e0eac293d603f5",
    "t1n": "e860924b936e301ddeba20409fbb59dde322475cb49328f1b46a9235c792e73e",
    "t2f": "82aed8546af5e6d8d94fd91c56227abdcf6120130390d1556c4342a208980604",
    "t2w": "4cd389cc57d12134a30a898c66532228126b9a7d0600ee578e82a32144528b51",
}


def sample_files() -> dict[str, tuple[str, str]]:
    """Name of each of its files → address and SHA-256."""
    names = {name: f"{SAMPLE}-{name}.nii.gz" for name in SAMPLE_SHA256}
    return {file: (SAMPLE_ADDRESS + file, SAMPLE_SHA256[name]) for name, file in names.items()}


def fetch_sample(progress: Progress | None = None) -> Path:
    """The patient's folder, kept in the user's folder; every file's SHA-256 is checked.

    Raises:
        ExecutionError: no internet, or another file came.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    folder = user_folder() / "samples" / SAMPLE
    files = sample_files()
    for done, (name, (address, digest)) in enumerate(files.items()):
        download(address, folder / name, digest, progress.part(done / len(files), (done + 1) / len(files)))
    return folder
