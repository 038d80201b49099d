"""Pictures of every kind, whole and damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from emjax.errors import InputError
from emjax.volumes.read import chunk_memory
from emjax.volumes.read.image_files import grey, image_size, passes, read_image
from emjax.volumes.store import open_volume

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
    assert image_size(path) == (20, 30)


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


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG of 8 x 8 grey pixels whose header says another size; its decoder fills what is missing with grey."""
    data = imagecodecs.jpeg8_encode(np.full((8, 8), 7, np.uint8))
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


def test_sizes_that_would_fill_the_memory(tmp_path: Path, monkeypatch) -> None:
    """Each file has less than 1 kB."""
    monkeypatch.setattr(chunk_memory, "free_memory_bytes", lambda: 1 << 31)
    (tmp_path / "a.jpg").write_bytes(_jpeg(65000, 65000))
    png = imagecodecs.png_encode(np.zeros((8, 8), np.uint16))
    (tmp_path / "b.png").write_bytes(png[:16] + (40000).to_bytes(4, "big") * 2 + png[24:])
    for name in ("a.jpg", "b.png"):
        with pytest.raises(InputError, match=rf"{name} has chunks of .* GiB, of 2 GiB that are"):
            read_image(f"{tmp_path}/{name}")
    assert image_size(f"{tmp_path}/a.jpg") == (65000, 65000)


def test_a_jpeg_in_a_tiff_that_is_larger_than_its_strip(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = np.full((2, 16, 16), 9, np.uint8)
    options = {"compression": "jpeg", "photometric": "minisblack", "rowsperstrip": 16}
    tifffile.imwrite(path, pixels, **options)
    assert read_image(str(path)).shape == (2, 16, 16)
    data = path.read_bytes()
    at = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:at] + (20000).to_bytes(2, "big") * 2 + data[at + 4 :])
    with pytest.raises(
        InputError, match="has a JPEG of 20000x20000 pixels in a strip or tile of 16x16"
    ):
        read_image(str(path))
    with pytest.raises(InputError, match="has a JPEG of 20000x20000 pixels"):
        open_volume(str(path))


def test_a_tiff_that_declares_more_than_there_is_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 512, 512), np.uint8), compression="zlib")
    monkeypatch.setattr(chunk_memory, "free_memory_bytes", lambda: 1 << 18)
    with pytest.raises(InputError, match="has chunks of 512x512 voxels"):
        open_volume(str(path))
