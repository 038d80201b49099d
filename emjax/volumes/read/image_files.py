"""Reads one picture from a file: PNG, JPEG or TIFF, told apart by its first bytes."""

from __future__ import annotations

import errno
import math
import struct
from pathlib import Path

import numpy as np
import tifffile

from emjax.errors import InputError, reason

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
_PNG, _JPEG, _TIFF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"II", b"MM")
_JPEG_END = b"\xff\xd9"
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
        if data.startswith(_PNG):
            return imagecodecs.png_decode(data)
        if data.startswith(_JPEG):
            # The decoder silently fills a missing end with grey.
            if _JPEG_END not in data:
                raise InputError(f"{path} cannot be read: the file is cut short")
            return imagecodecs.jpeg_decode(data)
        if data[:2] in _TIFF:
            return tifffile.imread(path)
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
    """Reads the (y, x) size in pixels from the header of a PNG or TIFF; None if the header does not say it.

    Args:
        path: of the file.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(24)
            if head.startswith(_PNG) and len(head) == 24:
                width, height = struct.unpack(">II", head[16:24])
                return height, width
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


def why(error: BaseException) -> str:
    """Returns what went wrong with a file: the system's words, without the file's name, or a library's."""
    return error.strerror if isinstance(error, OSError) and error.strerror else reason(error)
