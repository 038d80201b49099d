"""Pictures of every kind, whole and damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from emjax.errors import InputError
from emjax.volumes.read.image_files import grey, image_size, passes, read_image

_PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("a.png", "uint8"),
        ("a.png", "uint16"),
        ("a.tif", "uint16"),
        ("a.tif", "float32"),
        ("a.jpg", "uint8"),
    ],
)
def test_reads_what_was_written(tmp_path: Path, name: str, dtype: str) -> None:
    pixels = _PIXELS.astype(dtype) * np.dtype(dtype).itemsize
    path = str(tmp_path / name)
    (tifffile if name == "a.tif" else imagecodecs).imwrite(path, pixels)
    found = read_image(path)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(int), pixels, atol=60 if name == "a.jpg" else 0)
    assert image_size(path) == (None if name == "a.jpg" else (20, 30))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9])
def test_cut_short(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    options = {"compression": "zlib"} if name == "a.tif" else {}
    (tifffile if name == "a.tif" else imagecodecs).imwrite(str(path), _PIXELS, **options)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"{name} (cannot be read: .+|is empty \(0 bytes\))"):
        read_image(str(path))


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.png cannot be read: No such file or directory"):
        read_image(str(tmp_path / "b.png"))
    (tmp_path / "c.png").write_text("<html>")
    with pytest.raises(InputError, match=r"c\.png is no PNG, JPEG or TIFF"):
        read_image(str(tmp_path / "c.png"))
    assert image_size(str(tmp_path / "c.png")) is None


def test_grey() -> None:
    for channels in (1, 2, 3, 4):
        image = np.repeat(_PIXELS[..., None], channels, axis=2)
        if channels in (2, 4):
            # Opacity is no colour.
            image[..., -1] = 255
        np.testing.assert_array_equal(grey("a", image), _PIXELS)
    image[0, 0, 1] ^= 1
    for other in (image, np.zeros((5, 20, 30))):
        with pytest.raises(InputError, match="reads grey sections"):
            grey("a", other)


def test_errors_that_may_pass() -> None:
    assert passes(OSError(errno.EIO, "")) and passes(OSError(errno.ESTALE, ""))
    assert not passes(OSError(errno.ENOENT, "")) and not passes(ValueError())
