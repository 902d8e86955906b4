"""NRRD and MetaImage headers mean here what they mean to ITK, and ITK reads what is written here."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from Testing.dicom_tools import affine_of
from Testing.unit.domain.test_grid import OBLIQUE

A = np.arange(24, dtype="<i2")
RAW = A.tobytes()
DIRECTED = "space directions: (1,0.1,0) (0,2,0) (0,0,3)\nspace origin: (5,6,7)"
PLACED = "ElementSpacing = 1 2 3\nOffset = 5 6 7\nTransformMatrix = 0 1 0 -1 0 0 0 0 1"
FOUR = {"dimension": "4", "sizes": "2 4 3 1"}
NRRDS = [
    ({}, "", RAW),
    ({}, "spacings: 1 2 3", RAW),
    ({}, "spacings: 1 nan 3", RAW),
    ({}, "spacings: 1 2 3\naxis mins: 10 20 30", RAW),
    ({}, "spacings: 1 2 3\naxis mins: 10 20 30\ncenters: node node node", RAW),
    *(({}, f"space: {name}\n{DIRECTED}", RAW) for name in (
        "RAS", "LPS", "LAS", "right-anterior-superior", "left-anterior-superior", "scanner-xyz", "3D-right-handed")),
    ({}, f"space dimension: 3\n{DIRECTED}", RAW),
    ({}, "space: LPS\nspace origin: (5,6,7)", RAW),
    ({}, "space: RAS\nspace directions: (1,0,0) (0,2,0) (0,0,3)", RAW),
    (FOUR, "kinds: list domain domain domain\nspace: LPS\nspace directions: none (1,0,0) (0,2,0) (0,0,3)", RAW),
    (FOUR | {"sizes": "4 3 1 2"}, "kinds: domain domain domain list\nspace: RAS\n"
     "space directions: (1,0,0) (0,2,0) (0,0,3) none", RAW),
    (FOUR, "kinds: vector domain domain domain", RAW),
    (FOUR | {"sizes": "4 3 1 2"}, "kinds: space space space time\nspacings: 1 2 3 4", RAW),
    ({"type": "unsigned short", "endian": "big"}, "", RAW),
    ({"type": "uchar", "sizes": "4 3 4"}, "", RAW + RAW),
    ({"type": "float", "sizes": "2 3 2"}, "", RAW),
    ({"encoding": "gzip"}, "", gzip.compress(RAW)),
    ({"encoding": "gzip"}, "byte skip: 2", gzip.compress(b"xx" + RAW)),
    ({"encoding": "text"}, "", ",\n".join(map(str, A)).encode() + b"\n"),
    ({"encoding": "hex"}, "", RAW.hex().encode()),
    ({}, "byte skip: 2", b"xx" + RAW),
    ({}, "byte skip: -1", b"xx" + RAW),
    ({}, "line skip: 1", b"xx\n" + RAW),
    ({}, "# a comment\nkey:=value\ncontent: one: two", RAW + b"padding"),
]  # fmt: skip
METAS = [
    ({}, "", RAW),
    ({}, PLACED, RAW),
    ({}, PLACED.replace("Offset", "Position").replace("TransformMatrix", "Rotation"), RAW),
    ({}, PLACED.replace("Offset", "Origin").replace("TransformMatrix", "Orientation"), RAW),
    ({}, "ElementSize = 1 2 3", RAW),
    ({}, "ElementSize = 1 2 3\nElementSpacing = 4 5 6", RAW),
    ({}, f"{PLACED}\nCenterOfRotation = 1 1 1\nAnatomicalOrientation = RAI", RAW),
    ({}, "BinaryData = True\nBinaryDataByteOrderMSB = True", RAW),
    ({}, "ElementByteOrderMSB = True", RAW),
    ({"DimSize": "4 3 1"}, "ElementNumberOfChannels = 2", RAW),
    ({"NDims": "4", "DimSize": "4 3 1 2"}, "ElementSpacing = 1 2 3 4", RAW),
    ({}, f"CompressedData = True\nCompressedDataSize = {len(zlib.compress(RAW))}", zlib.compress(RAW)),
    ({}, "HeaderSize = -1", b"xx" + RAW),
    *(({"ElementType": f"MET_{name}"}, "", RAW * 4) for name in (
        "CHAR", "UCHAR", "USHORT", "INT", "UINT", "LONG", "ULONG", "LONG_LONG", "ULONG_LONG", "FLOAT", "DOUBLE")),
]  # fmt: skip


def check(path: Path) -> None:
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    elif image.GetNumberOfComponentsPerPixel() > 1:
        voxels = np.moveaxis(voxels, -1, 0)
    read = read_volume(path, channels=True)
    assert read.array.dtype == voxels.dtype
    np.testing.assert_array_equal(read.array, voxels)
    np.testing.assert_allclose(read.affine, affine_of(image), atol=1e-9)


@pytest.mark.parametrize(("fields", "more", "voxels"), NRRDS)
def test_nrrd(tmp_path: Path, fields: dict[str, str], more: str, voxels: bytes) -> None:
    plain = {"type": "short", "dimension": "3", "sizes": "4 3 2", "endian": "little", "encoding": "raw"} | fields
    lines = ["NRRD0005", *(f"{name}: {text}" for name, text in plain.items()), *filter(None, [more]), "\n"]
    (tmp_path / "a.nrrd").write_bytes("\n".join(lines).encode() + voxels)
    check(tmp_path / "a.nrrd")


@pytest.mark.parametrize(("fields", "more", "voxels"), METAS)
def test_meta_image(tmp_path: Path, fields: dict[str, str], more: str, voxels: bytes) -> None:
    plain = {"ObjectType": "Image", "NDims": "3", "DimSize": "4 3 2", "ElementType": "MET_SHORT"} | fields
    lines = [*(f"{name} = {text}" for name, text in plain.items()), *filter(None, [more]), "ElementDataFile = LOCAL\n"]
    (tmp_path / "a.mha").write_bytes("\n".join(lines).encode() + voxels)
    check(tmp_path / "a.mha")


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8", ">i2"])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_reads_what_is_written(tmp_path: Path, suffix: str, kind: str) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    write_volume(Volume(voxels, OBLIQUE), tmp_path / f"a{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    np.testing.assert_allclose(affine_of(image), OBLIQUE, atol=1e-9)
    np.testing.assert_allclose(read_volume(tmp_path / f"a{suffix}").affine, OBLIQUE, atol=1e-12)
