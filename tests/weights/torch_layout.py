"""Torch checkpoints written byte by byte, so that tests need no torch and can write what torch never would."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

LEGACY_HEAD = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    b"\x80\x02M\xe9\x03."
    b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
)
KINDS = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "bf16": "BFloat16Storage"}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    if abs(value) < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def sizes(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def tensor(
    key: str,
    count: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int = 0,
    kind: str = "f4",
    legacy: bool = False,
) -> bytes:
    storage = b"(" + text("storage") + f"ctorch\n{KINDS[kind]}\n".encode() + text(key)
    storage += text("cpu") + whole(count) + (b"N" if legacy else b"") + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + whole(offset) + sizes(size) + sizes(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def state_dict(tensors: dict[str, bytes]) -> bytes:
    """An OrderedDict with attributes, as torch's modules make it."""
    parts = b"".join(text(name) + value for name, value in tensors.items())
    attributes = b"}" + text("_metadata") + b"ccollections\nOrderedDict\n)Rsb"
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + parts + b"u" + attributes + b"."


def write_zip(
    path: Path,
    pickle: bytes,
    storages: dict[str, np.ndarray],
    compression: int = zipfile.ZIP_STORED,
    order: bytes = b"little",
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", order)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", numbers.tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def write_legacy(path: Path, pickle: bytes, storages: dict[str, np.ndarray]) -> Path:
    keys = b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
    data = b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())
    path.write_bytes(LEGACY_HEAD + pickle + keys + data)
    return path
