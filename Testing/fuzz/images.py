"""Damaged and hostile images for the campaign: sound small files of every format, changed in one of many ways."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import find_case
from BrainTumorSegLib.io.images2d import page_count, read_pages
from BrainTumorSegLib.io.registry import read_label_map, read_mask, read_volume, write_volume
from Testing.fuzz.child import Sample

FLAT = (".png", ".tif", ".jpg")
SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".seg.nrrd", ".dcm", *FLAT)
# What a hostile header says of a number or a name.
NUMBERS = (
    b"-1", b"0", b"1", b"-3", b"1000000", b"4294967296", b"9223372036854775807", b"9" * 400, b"1e308", b"nan", b"inf",
    b"-inf", b"1e-320", b"0x10", b"", b"\xff", b"1 2", b"1.5",
)  # fmt: skip
NAMES = (
    b"%s%s%s 1 4 1", b"%n", b"f%d.raw 1 4 0", b"LIST", b"LIST 2", b"x" * 5000, b"../voxels.raw", b"/dev/zero",
    b"/etc/passwd", b"pipe", b"loop", b"zero", b"\xff\xfe.raw", b"voxels.raw\0", b"", b".", b"..", b"./voxels.raw",
    b"C:\\voxels.raw", b"\x1b[2J", b"LOCAL", b"none", b"t1.nhdr", b"t1.mhd",
)  # fmt: skip
TEXT = (".mha", ".mhd", ".nrrd", ".nhdr", ".seg.nrrd")


def make(seed: tuple[int, int], folder: Path) -> Sample:
    """See :class:`Testing.fuzz.child.Subject`."""
    rng = np.random.default_rng(seed)
    suffix = SUFFIXES[rng.integers(len(SUFFIXES))]
    path = folder / f"t1{suffix}"
    path.write_bytes(sound(suffix, rng, folder))
    changes: tuple[Callable[[Path, str, Generator], None], ...] = (
        *(_bits, _bits, _bytes, _cut, _grown, _bomb, _names),
        *((_lines,) * 6 if suffix in TEXT else (_fields,) * 4),
    )
    change = changes[rng.integers(len(changes))]
    change(path, suffix, rng)
    left = [entry for entry in folder.iterdir() if entry.name not in ("voxels.raw", "pipe", "loop", "zero", "aim")]
    return Sample(path if os.path.lexists(path) else left[0], f"{suffix} {change.__name__[1:]}")


def read(path: Path) -> None:
    """See :class:`Testing.fuzz.child.Subject`: every way into the library; the last refusal is told."""
    refused = None
    if path.suffix in FLAT:
        ways: tuple[Callable[[Path], object], ...] = (read_pages, page_count, _case)
    elif path.suffix == ".dcm":
        ways = (_case,)
    elif path.name.endswith(".seg.nrrd"):
        ways = (read_mask, read_label_map)  # no images: read_volume refuses them, sound or not
    else:
        ways = (read_volume, lambda path: read_volume(path, channels=True), read_label_map, _case)
    for way in ways:
        try:
            way(path)
        except RequestError as error:
            refused = error
    if refused:
        raise refused


def _case(path: Path) -> None:
    """As a case, with all that is checked of an image before a network sees it."""
    if path.suffix in FLAT:
        find_case(path).read(("flair",))
    else:
        find_case((), {"t1": path}).read()


def sound(suffix: str, rng: Generator, folder: Path) -> bytes:
    """A sound file of a format; the voxels of some lie in ``voxels.raw``."""
    array = rng.integers(0, 4, (4, 5, 6)).astype(rng.choice(["u1", "i2", "f4"]))
    if suffix in FLAT:
        return _flat(suffix, rng, folder)
    if suffix == ".dcm":
        (folder / "beside.dcm").write_bytes(_dicom(array, 1))
        return _dicom(array, 0)
    if suffix in (".nii", ".nii.gz"):
        file = folder / f"sound{suffix}"
        write_volume(Volume(array, np.diag([1.0, 2, 3, 1])), file)
        content = bytearray(file.read_bytes())
        file.unlink()
        return bytes(content)
    raw = array.astype("<i2").tobytes()
    packed = bool(rng.integers(2))
    if suffix in (".mhd", ".nhdr"):
        (folder / "voxels.raw").write_bytes(raw)
        packed = False
    _traps(folder)
    if suffix in (".mha", ".mhd"):
        voxels = zlib.compress(raw) if packed else raw
        size = f"CompressedData = True\nCompressedDataSize = {len(voxels)}\n" if packed else ""
        head = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n" + size
            + "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 2 3\nDimSize = 6 5 4\n"
            f"ElementType = MET_SHORT\nElementDataFile = {'LOCAL' if suffix == '.mha' else 'voxels.raw'}\n"
        )  # fmt: skip
        return head.encode() + (voxels if suffix == ".mha" else b"")
    encoding = "raw" if suffix == ".nhdr" else str(rng.choice(["raw", "gzip", "ascii", "hex"]))
    voxels = {"raw": raw, "gzip": gzip.compress(raw, mtime=0), "hex": raw.hex().encode()}.get(
        encoding, b" ".join(b"%d" % value for value in array.astype(int).ravel()) + b"\n"
    )
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 5 4\n"
        "space directions: (1,0,0) (0,2,0) (0,0,3)\nkinds: domain domain domain\nendian: little\n"
        f"encoding: {encoding}\nspace origin: (0,0,0)\n"
    )
    if suffix == ".seg.nrrd":
        head += "".join(
            f"Segment{n}_Name:={name}\nSegment{n}_LabelValue:={n + 1}\n" for n, name in enumerate(("NCR", "ED", "ET"))
        )
    if suffix == ".nhdr":
        return f"{head}data file: voxels.raw\n".encode()
    return head.encode() + b"\n" + voxels


def _traps(folder: Path) -> None:
    """What a header may name beside the file: a pipe, a loop of links, a device."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "zero").symlink_to("/dev/zero")


def _flat(suffix: str, rng: Generator, folder: Path) -> bytes:
    file = folder / f"sound{suffix}"
    pixels = rng.integers(0, 255, (9, 8, 3) if rng.integers(2) else (9, 8)).astype(np.uint8)
    image = Image.fromarray(pixels)
    if suffix == ".tif":
        packing = str(rng.choice(["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]))
        image.save(file, compression=packing, save_all=True, append_images=[image] * int(rng.integers(3)))
    else:
        image.save(file)
    content = file.read_bytes()
    file.unlink()
    return content


def _dicom(array: np.ndarray, number: int) -> bytes:
    """A slice of a series of classic MR images, explicit little endian, by hand."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += (b"\0" if kind == b"UI" else b" ") * (len(value) % 2)
        size = struct.pack("<HI", 0, len(value)) if kind in (b"OW", b"OB") else struct.pack("<H", len(value))
        return struct.pack("<HH", group, number) + kind + size + value

    meta = element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.4") + element(2, 3, b"UI", b"1.2.3.%d" % number)
    meta += element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1")
    texts = ((0x20, 0x32, b"DS", b"0\\0\\%d" % number), (0x20, 0x37, b"DS", b"1\\0\\0\\0\\1\\0"))
    shorts = ((2, 1), (0x10, 5), (0x11, 6), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0))
    pixels = array.astype("<i2")[number].tobytes()
    body = element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.4") + element(8, 0x18, b"UI", b"1.2.3.%d" % number)
    body += element(8, 0x60, b"CS", b"MR") + element(8, 0x103E, b"LO", b"T1") + element(0x10, 0x20, b"LO", b"P1")
    body += element(0x20, 0xD, b"UI", b"1.2") + element(0x20, 0xE, b"UI", b"1.2.9")
    body += b"".join(element(*text) for text in texts)
    body += b"".join(element(0x28, number, b"US", struct.pack("<H", value)) for number, value in shorts)
    body += element(0x28, 4, b"CS", b"MONOCHROME2") + element(0x28, 0x30, b"DS", b"1\\1")
    return b"\0" * 128 + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body + element(
        0x7FE0, 0x10, b"OW", pixels
    )  # fmt: skip


def _bits(path: Path, suffix: str, rng: Generator) -> None:
    """A few bits are the other way round."""
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def _bytes(path: Path, suffix: str, rng: Generator) -> None:
    """A run of bytes is noise, zero or all ones."""
    content = bytearray(path.read_bytes())
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 40))
    noise = (rng.bytes(length), b"\0" * length, b"\xff" * length)[rng.integers(3)]
    content[start : start + length] = noise
    path.write_bytes(content)


def _cut(path: Path, suffix: str, rng: Generator) -> None:
    """The end, or what lies beside, is lacking."""
    target = path.with_name("voxels.raw") if suffix in (".mhd", ".nhdr") and rng.integers(2) else path
    content = target.read_bytes()
    target.write_bytes(content[: int(rng.integers(len(content)))])


def _grown(path: Path, suffix: str, rng: Generator) -> None:
    """Something follows the end, or a part is there twice."""
    content = path.read_bytes()
    at = int(rng.integers(len(content)))
    path.write_bytes((content + rng.bytes(64), content + b"\0" * 4096, content[:at] + content)[rng.integers(3)])


def _fields(path: Path, suffix: str, rng: Generator) -> None:
    """A number of a binary header has an extreme value."""
    content = path.read_bytes()
    packed = suffix == ".nii.gz"
    edited = bytearray(gzip.decompress(content) if packed else content)
    for _ in range(int(rng.integers(1, 3))):
        value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
        place, width = int(rng.integers(min(len(edited), 400))), int(rng.choice([2, 4]))
        edited[place : place + width] = (value & (256**width - 1)).to_bytes(width, "little")
    path.write_bytes(gzip.compress(bytes(edited), 1) if packed else bytes(edited))


def _lines(path: Path, suffix: str, rng: Generator) -> None:
    """A line of a text header says something else, is there twice or lacks."""
    head, mark, voxels = path.read_bytes().partition(b"\n\n" if "n" in suffix[:2] or "seg" in suffix else b"LOCAL\n")
    lines = head.split(b"\n")
    at = int(rng.integers(1, len(lines)))
    name, sep, text = lines[at].partition(b": " if b": " in lines[at] else b":=" if b":=" in lines[at] else b" = ")
    words = text.split()
    choice = rng.integers(5)
    if choice == 0:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    elif choice == 1:
        del lines[at]
    elif choice == 2 and words:
        words[int(rng.integers(len(words)))] = NUMBERS[rng.integers(len(NUMBERS))]
        lines[at] = name + sep + b" ".join(words)
    elif choice == 3:
        lines[at] = name + sep + NUMBERS[rng.integers(len(NUMBERS))]
    else:
        named = b"data file: " if suffix in (".nrrd", ".nhdr", ".seg.nrrd") else b"ElementDataFile = "
        kept = [line for line in lines if not line.startswith((b"data file", b"ElementDataFile"))]
        lines, mark = [*kept, named + NAMES[rng.integers(len(NAMES))]], b"\n\n"
    path.write_bytes(b"\n".join(lines) + mark + voxels)


def _bomb(path: Path, suffix: str, rng: Generator) -> None:
    """A small file claims, or unpacks to, far more than is there; or it is large and holds nothing."""
    sizes = [int(rng.choice([300, 2000, 20000])) for _ in range(3)]
    text = " ".join(map(str, sizes)).encode()
    content = path.read_bytes()
    if suffix in (".nii", ".nii.gz"):
        head = bytearray((gzip.decompress(content) if suffix == ".nii.gz" else content)[:352])
        head[42:48] = struct.pack("<3h", *sizes)
        if rng.integers(2):
            head[112:120] = struct.pack("<2f", 0.5, 1.0)
        length = int(rng.choice([0, 1 << 20, 1 << 26]))
        path.write_bytes(gzip.compress(bytes(head) + b"\0" * length, 1) if suffix == ".nii.gz" else bytes(head))
        if suffix == ".nii" and rng.integers(2):
            os.truncate(path, 9 << 30)
    elif suffix in TEXT:
        content = content.replace(b"6 5 4", text)
        if rng.integers(2) and b"gzip" in content:
            content = content.partition(b"\n\n")[0] + b"\n\n" + gzip.compress(b"\0" * (1 << 26), 1)
        path.write_bytes(content)
        if b"voxels.raw" in content and rng.integers(2):
            os.truncate(path.with_name("voxels.raw"), 9 << 30)
        elif rng.integers(4) == 0:
            os.truncate(path, 9 << 30)
    elif suffix == ".png":
        width, height = (int(rng.choice([5000, 13000, 60000, 2**31 - 1])) for _ in range(2))
        frame = struct.pack(">2I5B", width, height, 8, 6 if rng.integers(2) else 0, 0, 0, 0)
        rows = zlib.compress(b"\0" * min(width * height * 4, 1 << 24), 9)
        chunks = ((b"IHDR", frame), (b"IDAT", rows), (b"IEND", b""))
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks
            )
        )
    elif suffix == ".tif":
        sides = [int(rng.choice([5000, 13000, 60000])) for _ in range(2)]
        tags = ((256, 4, sides[0]), (257, 4, sides[1]), (258, 3, 8), (259, 3, int(rng.choice([1, 5, 8, 32773]))),
                (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, sides[1]), (279, 4, 4))  # fmt: skip
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        again = 8 if rng.integers(2) else 0  # the pages go round in a circle
        path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", again))
    else:  # rows and columns, or the frame of a JPEG
        side = struct.pack("<H", 65535)
        content = content.replace(b"\x28\0\x10\0US\2\0\5\0", b"\x28\0\x10\0US\2\0" + side)
        path.write_bytes(content.replace(b"\xff\xc0\0\x0b\x08\0\t\0\x08", b"\xff\xc0\0\x0b\x08\xff\xff\xff\xff"))


def _names(path: Path, suffix: str, rng: Generator) -> None:
    """The file has a hostile name, or is no file."""
    choice = rng.integers(7)
    if choice == 0:
        path.rename(path.with_name(os.fsdecode(b"t1\xff\xfe\x1b[2J\n" + suffix.encode())))
    elif choice == 1:
        path.rename(path.with_name("t" * (255 - len(suffix)) + suffix))
    else:
        path.rename(path.with_name("aim"))
        if choice == 2:
            path.symlink_to(path.name)
        elif choice == 3:
            path.symlink_to("/dev/zero")
        elif choice == 4:
            os.mkfifo(path)
        elif choice == 5:
            path.mkdir()
            (path / "loop").symlink_to("..")
        else:
            path.symlink_to("aim")
