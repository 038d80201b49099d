"""Reads one picture from a file: PNG, JPEG or TIFF, told apart by its first bytes."""

from __future__ import annotations

import errno
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from emjax.errors import InputError, reason
from emjax.volumes.read.chunk_memory import refuse_large_chunk

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
_PNG, _JPEG, _TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"II", b"MM")
_JPEG_END = b"\xff\xd9"
# Bytes of a PNG until the end of what its header says of a pixel, and its number of channels by the type of colours.
_PNG_HEADER, _PNG_CHANNELS = 26, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Markers of JPEG's frame headers, and bytes in which one is looked for where only the size is asked for.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HEAD = 1 << 16
# Errors that a network drive may return once and not at the next try.
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EMFILE)


def passes(error: BaseException) -> bool:
    """Whether an error may be temporary: one of the drive, not of the file."""
    return isinstance(error, OSError) and error.errno in _PASSING


def read_image(path: str) -> np.ndarray:
    """Decodes a picture.

    Args:
        path: of the file.

    Returns:
        `[y, x]` or `[y, x, c]`, as stored.

    Raises:
        InputError: if there is no such file, or it is damaged or of another format.
        OSError: if the drive failed in a way that may pass.
    """
    # Only what reads pictures needs the codecs, which take 0.1 s to import.
    import imagecodecs

    try:
        data = Path(path).read_bytes()
        declared = _declared(data)
        if declared is not None:
            refuse_large_chunk(path, declared[:2], declared.pixel_bytes)
        if data.startswith(_PNG):
            return imagecodecs.png_decode(data)
        if data.startswith(_JPEG):
            # The decoder silently fills a missing end with grey.
            if _JPEG_END not in data:
                raise InputError(f"{path} cannot be read: the file is cut short")
            return imagecodecs.jpeg_decode(data)
        if data[:2] in _TIFF:
            with tifffile.TiffFile(path) as file:
                for page in file.pages:
                    refuse_large_page(path, page)
                return file.asarray()
    except InputError:
        raise
    except Exception as error:  # each codec has errors of its own
        if passes(error):
            raise
        raise InputError(f"{path} cannot be read: {why(error)}") from error
    raise InputError(f"{path} is no PNG, JPEG or TIFF" if data else f"{path} is empty (0 bytes)")


def grey(path: str, image: np.ndarray) -> np.ndarray:
    """Returns the one channel of a grey picture; colours that are all grey count as one channel.

    Args:
        path: of the file, for the error message.
        image: `[y, x]` or `[y, x, c]`.

    Raises:
        InputError: if it has colours, or is not a picture of one section.
    """
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] in (1, 2, 3, 4):
        # 2 and 4 channels are grey and colours with opacity.
        colours = image[..., : 1 if image.shape[2] < 3 else 3]
        if (colours == colours[..., :1]).all():
            return colours[..., 0]
    raise InputError(f"{path} is {image.shape}; emjax reads grey sections [y, x]")


def image_size(path: str) -> tuple[int, int] | None:
    """Reads the (y, x) size in pixels from the header of a PNG, JPEG or TIFF; None if the header does not say it.

    Args:
        path: of the file.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            declared = _declared(head)
            if declared is not None:
                return declared[:2]
            if head[:2] in _TIFF:
                with tifffile.TiffFile(path) as tiff:
                    height, width = tiff.pages[0].shape[:2]
                    return height, width
    except (OSError, tifffile.TiffFileError, IndexError):
        # Reading the section will report what is wrong with it.
        return None
    return None


def page_count(path: str) -> int:
    """Returns the number of pages of a TIFF, also where only the first has a directory; 1 for anything else.

    Args:
        path: of the file.
    """
    try:
        with open(path, "rb") as file:
            if file.read(2) not in _TIFF:
                return 1
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0] if len(tiff.pages) == 1 else None
            return len(tiff.pages) if series is None else math.prod(series.shape[:-2])
    except Exception:  # what is wrong with it is reported when it is read
        return 1


class _Declared(NamedTuple):
    """What the header of a picture says: its sides in pixels, and the bytes of one."""

    height: int
    width: int
    pixel_bytes: int


def _declared(data: bytes) -> _Declared | None:
    """Returns what the header of a PNG or JPEG says; None for other files, and damaged ones."""
    if data.startswith(_PNG) and len(data) > _PNG_HEADER:
        width, height, depth, colour = struct.unpack(">IIBB", data[16:_PNG_HEADER])
        return _Declared(height, width, _PNG_CHANNELS.get(colour, 4) * (1 + (depth > 8)))
    return _jpeg_declared(data) if data.startswith(_JPEG) else None


def _jpeg_declared(data: bytes) -> _Declared | None:
    """Returns what the frame header of a JPEG says, which follows other segments (ITU-T T.81, B.1.1 and B.2.2)."""
    at = len(_JPEG)
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            depth, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return _Declared(height, width, channels * (1 + (depth > 8)))
        # A marker without a segment, or one more byte before a marker.
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        at += 1 if marker == 0xFF else 2 if alone else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def refuse_large_page(path: str, page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Refuses a page of a TIFF that would fill the memory: by its own size, or by that of a JPEG in it.

    Other codecs decode no more than the page has, but for those of pictures (JPEG 2000, WebP and others), at whose
    headers nobody looks.

    Args:
        path: of the file.
        page: of the file, which is open.

    Raises:
        InputError: if it would.
    """
    first: Any = page.keyframe
    refuse_large_chunk(path, first.shape, first.dtype.itemsize if first.dtype else 1)
    if first.compression != tifffile.COMPRESSION.JPEG:
        return
    most = 2 * math.prod(first.chunks) + (1 << 20)
    handle = page.parent.filehandle
    for place, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.seek(place)
        declared = _jpeg_declared(handle.read(size))
        if declared is not None and math.prod(declared) > most:
            found, wanted = ("x".join(map(str, size)) for size in (declared[:2], first.chunks))
            raise InputError(
                f"{path} has a JPEG of {found} pixels in a strip or tile of {wanted}; the file is damaged or hostile: "
                "restore it"
            )


def why(error: BaseException) -> str:
    """Returns what went wrong with a file: the system's words, without the file's name, or a library's."""
    return error.strerror if isinstance(error, OSError) and error.strerror else reason(error)
