"""Small files that crash, exhaust or deceive native readers are refused, or read as what they are."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import match
from BrainTumorSegLib.io.case_folder import find_case, find_cases
from BrainTumorSegLib.io.evidence import LIMIT
from BrainTumorSegLib.io.images2d import page_count, read_pages
from BrainTumorSegLib.io.registry import read_label_map, read_volume, write_volume

VOXELS = np.arange(24, dtype="<i2").reshape(2, 3, 4)
META = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\n"
SMALL = 1 << 20


def written(path: Path, head: str, voxels: bytes = b"") -> Path:
    path.write_bytes(head.encode("utf-8", "surrogateescape") + voxels)
    return path


def refused(path: Path) -> str:
    """The message, where a file is refused without taking memory for what it claims."""
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * SMALL
    return caught.value.sentence()


@pytest.mark.parametrize("name", ["%s%s%s 1 4 1", "%n", "f%d.raw 1 4 0", "LIST", "pipe", "zero", "loop", "x" * 5000,
                                  "../voxels.raw", "/etc/hostname", "..",
                                  "\udcff\udcfe", "\x1b[2J", "a\0b"])  # fmt: skip
@pytest.mark.parametrize("format_", ["mhd", "nhdr"])
def test_a_header_names_one_regular_file_beside_it(tmp_path: Path, format_: str, name: str) -> None:
    (tmp_path.parent / "voxels.raw").write_bytes(VOXELS.tobytes())
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    head = f"{META}ElementDataFile = {name}\n" if format_ == "mhd" else f"{NRRD}encoding: raw\ndata file: {name}\n"
    message = refused(written(tmp_path / f"t1.{format_}", head))
    assert str(tmp_path) in message and message.isprintable()


@pytest.mark.parametrize("format_", ["mhd", "nhdr"])
def test_voxels_beside_the_header_are_read(tmp_path: Path, format_: str) -> None:
    (tmp_path / "voxels.raw").write_bytes(VOXELS.tobytes())
    head = f"{META}ElementDataFile = voxels.raw\n"
    if format_ == "nhdr":
        head = f"{NRRD}encoding: raw\ndata file: ./voxels.raw\n"
    np.testing.assert_array_equal(read_volume(written(tmp_path / f"t1.{format_}", head)).array, VOXELS)


@pytest.mark.parametrize("old, new", [("NDims = 3", "NDims = -3"), ("NDims = 3", "NDims = 1000000"),
                                      ("4 3 2", "4 3 -2"), ("4 3 2", "4 3"), ("4 3 2", f"4 3 {'9' * 400}"),
                                      ("SHORT", "OTHER"), ("4 3 2", "0 3 2"), ("DimSize", "Dimsize")])  # fmt: skip
def test_damaged_numbers_of_a_meta_image(tmp_path: Path, old: str, new: str) -> None:
    head = f"{META}ElementDataFile = LOCAL\n".replace(old, new)
    refused(written(tmp_path / "t1.mha", head, VOXELS.tobytes()))


@pytest.mark.parametrize("name", ["t1.nii", "t1.nii.gz", "t1.nrrd", "t1.nhdr", "t1.mha"])
def test_a_claim_is_compared_with_the_bytes_that_are_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if ".nii" in name:
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((2000, 2000, 1000))
        header["vox_offset"], header["magic"] = 352, b"n+1"
        content = header.binaryblock + b"\0" * 5500
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    elif name == "t1.mha":
        written(path, f"{META}ElementDataFile = LOCAL\n".replace("4 3 2", "2000 2000 2000"), b"\0" * 5000)
    else:
        detached = name.endswith("nhdr")
        (tmp_path / "voxels.raw").write_bytes(b"\0" * 5000)
        tail = "raw\ndata file: voxels.raw\n" if detached else "gzip\n\n"
        head = f"{NRRD}encoding: {tail}".replace("4 3 2", "2000 2000 2000")
        written(path, head, b"" if detached else gzip.compress(b"\0"))
    assert "claims" in refused(path)


def test_the_limit_of_memory_holds_for_sparse_files_and_can_be_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t1.nii"
    write_volume(Volume(np.ones((300, 300, 300), np.uint8), np.eye(4)), path)
    monkeypatch.setenv(LIMIT, "0.02")
    assert f"{LIMIT}=1" in refused(path)
    monkeypatch.setenv(LIMIT, "0.1")
    assert read_volume(path).array.shape == (300, 300, 300)
    monkeypatch.setenv(LIMIT, "much")
    with pytest.raises(RequestError, match=LIMIT):
        read_volume(path)
    monkeypatch.delenv(LIMIT)
    header = bytearray(path.read_bytes()[:352])
    header[42:48] = struct.pack("<3h", 3000, 3000, 1000)
    path.write_bytes(header)
    os.truncate(path, 9_000_000_352)
    assert "allowed" in refused(path)


def test_a_gzip_bomb_behind_a_small_claim_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "t1.nii.gz"
    write_volume(Volume(VOXELS, np.eye(4)), path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + b"\0" * (1 << 27), 1))
    assert "more bytes" in refused(path)
    path.write_bytes(gzip.compress(content + b"\0" * 400_000))  # what some programs pad files with
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)
    path.write_bytes(gzip.compress(content[:370]) + gzip.compress(content[370:]) + b"\0" * 100)  # as bgzip packs
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_no_flipped_bit_changes_a_voxel_unnoticed(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 4, (8, 9, 10)).astype(np.uint8)
    sound, path = tmp_path / f"sound{suffix}", tmp_path / f"t1{suffix}"
    write_volume(Volume(voxels, np.eye(4)), sound)
    content, noticed = sound.read_bytes(), 0
    for _ in range(150):
        flipped = bytearray(content)
        place = len(content) - 1 - int(rng.integers(200))  # among the packed voxels and their checksum
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(read_volume(path).array, voxels)  # gzip has bytes that mean nothing
        except InputError:
            noticed += 1
    assert noticed > 120
    for length in range(len(content) - 200, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            read_volume(path)


def test_a_flipped_bit_of_a_png_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 255, (20, 20)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    for place in range(60, len(content) - 12):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError):
            read_pages(path)


def test_text_voxels_that_were_cut_off(tmp_path: Path) -> None:
    head, text = f"{NRRD}encoding: ascii\n\n", " ".join(map(str, VOXELS.ravel())) + "\n"
    np.testing.assert_array_equal(read_volume(written(tmp_path / "t1.nrrd", head + text)).array, VOXELS)
    for length in (len(text) - 1, len(text) - 2, len(text) - 4, 0):
        refused(written(tmp_path / "t1.nrrd", head + text[:length]))


def test_packed_voxels_without_their_size_are_read_right(tmp_path: Path) -> None:
    """ITK gives whatever lay in memory."""
    head = f"{META}CompressedData = True\nElementDataFile = LOCAL\n"
    path = written(tmp_path / "t1.mha", head, zlib.compress(VOXELS.tobytes()))
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_names_that_are_no_utf_8_are_written_and_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a\udcff{suffix}"
    write_volume(Volume(VOXELS, np.eye(4)), path)
    np.testing.assert_array_equal(read_volume(path).array, VOXELS)


@pytest.mark.parametrize("name", ["loop", "x" * 300, "x/" * 3000, "a\0b", "nothing"])
def test_paths_that_lead_nowhere_are_wrong_requests(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    cases = (lambda path: find_case(path).read(), find_cases, lambda path: match(path, path))
    for way in (read_volume, read_label_map, read_pages, *cases):
        with pytest.raises(RequestError):
            way(path)
    with pytest.raises(RequestError):
        find_case((), {"t1": path}).read()


def test_pages_without_end_are_not_counted(tmp_path: Path) -> None:
    page = b"\0\0"
    path = tmp_path / "a.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + b"".join(page + struct.pack("<I", 14 + 6 * n) for n in range(9000))
    )
    assert page_count(path) == 1
    with pytest.raises(InputError):
        read_pages(path)


def test_a_program_is_not_started_for_an_image_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(InputError):
        read_pages(path)


def test_segments_without_number(tmp_path: Path) -> None:
    head = NRRD + "encoding: raw\nSegment0_Name:=ET\nSegment0_Layer:=-1\n\n"
    with pytest.raises(InputError, match="'-1'"):
        read_label_map(written(tmp_path / "t.seg.nrrd", head, VOXELS.tobytes()))
    head = head.replace("Layer:=-1", "LabelValue:=3").replace("=ET", "=" + "(" * 400_000)
    with pytest.raises(InputError, match="not called ET"):
        read_label_map(written(tmp_path / "t.seg.nrrd", head, VOXELS.tobytes()))
