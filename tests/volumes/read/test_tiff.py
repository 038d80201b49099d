"""TIFF stacks as tifffile writes them, whole and damaged."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.read import tiff
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(0, 255, (12, 10, 14), np.uint8)
_LARGE = np.random.default_rng(1).integers(0, 255, (12, 40, 40), np.uint8)
_BOX = Box((1, 2, 3), (9, 5, 6))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_plain_tiff(tmp_path: Path, dtype: str, compression: str | None) -> None:
    voxels = _VOXELS.astype(dtype)
    order = ">" if dtype[0] == ">" else "<"
    tifffile.imwrite(tmp_path / "a.tif", voxels, compression=compression, byteorder=order)
    volume = open_volume(f"{tmp_path}/a.tif")
    assert volume.dtype == voxels.dtype.newbyteorder("=")
    assert volume.voxel_nm is None
    assert volume.slow_random_access
    np.testing.assert_array_equal(volume.read(_BOX), voxels[_BOX.slices])


@pytest.mark.parametrize("unit", ["um", "nm", "micron"])
def test_imagej_voxel_size(tmp_path: Path, unit: str) -> None:
    factor = 1 if unit == "nm" else 0.001
    tifffile.imwrite(
        tmp_path / "a.tif",
        _VOXELS.astype(np.uint16),
        imagej=True,
        resolution=(1 / (4 * factor), 1 / (8 * factor)),
        metadata={"spacing": 40 * factor, "unit": unit, "axes": "ZYX"},
    )
    volume = open_volume(f"{tmp_path}/a.tif")
    np.testing.assert_allclose(volume.voxel_nm, (40, 8, 4), rtol=1e-5)
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_imagej_stack_with_one_directory(tmp_path: Path) -> None:
    """ImageJ describes only the first section of large stacks."""
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS.astype(np.uint16), imagej=True, truncate=True)
    volume = open_volume(f"{tmp_path}/a.tif")
    assert volume.size == _VOXELS.shape
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])
    # One channel is an axis of length 1.
    about = {"axes": "ZCYX"}
    tifffile.imwrite(tmp_path / "b.tif", _VOXELS[:, None], metadata=about, truncate=True)
    np.testing.assert_array_equal(open_volume(f"{tmp_path}/b.tif").store.read().result(), _VOXELS)


def test_an_overwritten_stack_is_read_anew(tmp_path: Path) -> None:
    for voxels in (_VOXELS, 255 - _VOXELS):
        tifffile.imwrite(tmp_path / "a.tif", voxels, compression="zlib")
        volume = open_volume(f"{tmp_path}/a.tif")
        np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_many_threads_and_a_pickled_copy(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS, compression="zlib")
    copy = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/a.tif")))
    boxes = [Box((z, y, 2), (3, 5, 6)) for z in range(9) for y in range(5)]
    with ThreadPoolExecutor(8) as threads:
        for box, crop in zip(boxes, threads.map(copy.read, boxes), strict=True):
            np.testing.assert_array_equal(crop, _VOXELS[box.slices])


def test_a_thread_that_ends_closes_its_files(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS)
    with ThreadPoolExecutor(1) as threads:
        file = threads.submit(tiff._tiff, f"{tmp_path}/a.tif", 0).result()
    assert file.filehandle.closed


def test_ome_voxel_size(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        _VOXELS,
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeZ": 40,
            "PhysicalSizeZUnit": "nm",
            "PhysicalSizeY": 0.008,
            "PhysicalSizeX": 0.004,
        },
    )
    volume = open_volume(f"{tmp_path}/a.ome.tif")
    np.testing.assert_allclose(volume.voxel_nm, (40, 8, 4))
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_pages_written_one_by_one(tmp_path: Path) -> None:
    """Each is a series of its own, as a loop over sections leaves them."""
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as file:
        for section in _VOXELS:
            file.write(section, compression="zlib", contiguous=False)
    volume = open_volume(f"{tmp_path}/a.tif")
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)


def test_a_page_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS, compression="zlib")
    volume = open_volume(f"{tmp_path}/a.tif")
    decoded = []
    original = tiff._Pages._read
    monkeypatch.setattr(tiff._Pages, "_read", lambda s, z: decoded.append(z) or original(s, z))
    for x in range(4):
        volume.read(Box((2, 0, x), (3, 4, 4)))
    assert sorted(decoded) == [2, 3, 4]


def test_no_such_thing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 4, 4, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="grey sections"):
        open_volume(f"{tmp_path}/c.tif")
    tifffile.imwrite(tmp_path / "g.tif", _VOXELS[:4], photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match="pages of .4, 10, 14.*write them with photometric"):
        open_volume(f"{tmp_path}/g.tif")
    about = {"axes": "TZCYX"}
    stack = np.zeros((2, 3, 2, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "e.tif", stack, imagej=True, metadata=about)
    with pytest.raises(InputError, match=r"axes TZCYX of .*; add \?t=0, or another time up to 1"):
        open_volume(f"{tmp_path}/e.tif")
    with pytest.raises(InputError, match="axes TZCYX of .*; there is no t=2"):
        open_volume(f"{tmp_path}/e.tif?t=2")
    with tifffile.TiffWriter(tmp_path / "f.tif") as file:
        for side in (16, 24):
            file.write(np.zeros((side, 16), np.uint8))
    with pytest.raises(InputError, match=r"pages of several kinds \(\(16, 16\) uint8, \(24, 16\)"):
        open_volume(f"{tmp_path}/f.tif")
    (tmp_path / "d.tif").write_bytes(b"no TIFF")
    with pytest.raises(InputError, match="d.tif cannot be read as TIFF"):
        open_volume(f"{tmp_path}/d.tif")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["plain", "zlib", "imagej", "ome", "pages"])
def test_a_file_cut_short(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "a.tif"
    if kind == "pages":
        with tifffile.TiffWriter(path) as file:
            for section in _LARGE:
                file.write(section, contiguous=False)
    else:
        options = {"imagej": {"imagej": True, "truncate": True}, "zlib": {"compression": "zlib"}}
        tifffile.imwrite(path, _LARGE, ome=kind == "ome", **options.get(kind, {}))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.tif (is cut short|cannot be read)"):
        open_volume(str(path))


def test_a_damaged_page(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _LARGE, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[5]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    with open(tmp_path / "a.tif", "r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    volume = open_volume(f"{tmp_path}/a.tif[2:]")
    assert volume.read(Box((0, 0, 0), (3, 4, 4))).shape == (3, 4, 4)
    with pytest.raises(
        InputError, match=r"at \[4:6,0:4,0:4\]: section 5 of .*a\.tif cannot be read"
    ):
        volume.read(Box((2, 0, 0), (2, 4, 4)))


def _ome(planes: str, more: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="14" SizeY="10" SizeZ="12" SizeC="1" '
        f'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image>{more}</OME>'
    ).encode()


def _write_ome(path: Path, voxels: np.ndarray, text: bytes) -> None:
    options = {"metadata": None, "ome": False, "photometric": "minisblack"}
    tifffile.imwrite(path, voxels, description=text, **options)


def test_ome_says_which_page_is_which_section(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(12)
    planes = "".join(
        f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="{page}" PlaneCount="1"/>'
        for page, z in enumerate(order)
    )
    _write_ome(tmp_path / "a.ome.tif", _VOXELS[order], _ome(planes))
    volume = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/a.ome.tif")))
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)
    np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])


def test_ome_sections_without_a_page(tmp_path: Path) -> None:
    planes = "".join(
        f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="{page}" PlaneCount="1"/>'
        for page, z in enumerate((11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1))
    )
    _write_ome(tmp_path / "a.ome.tif", _VOXELS[:0:-1], _ome(planes))
    with pytest.raises(InputError, match=r"a\.ome\.tif lacks 1 of 12 pages: section 0; add"):
        open_volume(f"{tmp_path}/a.ome.tif")
    filled = open_volume(f"{tmp_path}/a.ome.tif?missing=fill").store.read().result()
    assert not filled[0].any()
    np.testing.assert_array_equal(filled[1:], _VOXELS[1:])


def test_ome_of_several_files_or_images_is_refused(tmp_path: Path) -> None:
    unique = "urn:uuid:00000000-0000-0000-0000-00000000000"
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="{z % 6}" PlaneCount="1"><UUID FileName="{"ab"[z // 6]}.ome.tif">'
        f"{unique}{z // 6}</UUID></TiffData>"
        for z in range(12)
    )
    for number, name in enumerate("ab"):
        text = _ome(planes).replace(b"<OME ", f'<OME UUID="{unique}{number}" '.encode())
        _write_ome(tmp_path / f"{name}.ome.tif", _VOXELS[number * 6 : number * 6 + 6], text)
    with pytest.raises(InputError, match="one file of an OME-TIFF of several"):
        open_volume(f"{tmp_path}/a.ome.tif")
    with tifffile.TiffWriter(tmp_path / "two.ome.tif", ome=True) as file:
        for _ in range(2):
            file.write(_VOXELS, metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="an OME-TIFF of 2 images; emjax reads one"):
        open_volume(f"{tmp_path}/two.ome.tif")


def test_axes_of_imagej_may_have_units_of_their_own(tmp_path: Path) -> None:
    for units, size in (
        ({"unit": "um", "zunit": "nm"}, (40, 8, 4)),
        ({"unit": "um", "yunit": "nm", "zunit": "nm"}, (40, 0.008, 4)),
        ({"unit": "um", "zunit": "sections"}, None),
    ):
        tifffile.imwrite(
            tmp_path / "a.tif",
            _VOXELS,
            imagej=True,
            resolution=(250, 125),
            metadata={"spacing": 40, "axes": "ZYX", **units},
        )
        found = open_volume(f"{tmp_path}/a.tif").voxel_nm
        assert found == (pytest.approx(size) if size else None)


def test_a_whole_hyperstack_with_one_directory_is_not_called_short(tmp_path: Path) -> None:
    about = {"axes": "ZCYX"}
    stack = np.stack([_VOXELS, _VOXELS // 2], 1)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata=about, truncate=True)
    for channel in (0, 1):
        volume = open_volume(f"{tmp_path}/a.tif?channel={channel}")
        np.testing.assert_array_equal(volume.store.read().result(), stack[:, channel])
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cut short"):
        open_volume(f"{tmp_path}/b.tif")


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("axes", ["TZCYX", "TCZYX", "CTZYX", "ZTYX", "ZCYX"])
def test_times_and_channels(tmp_path: Path, axes: str, truncate: bool) -> None:
    lengths = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6}
    stack = np.arange(720, dtype=np.uint16)[: np.prod([lengths[a] for a in axes])]
    stack = stack.reshape([lengths[a] for a in axes])
    about = {"axes": axes}
    # ImageJ itself has one order of axes alone; others keep their names as tifffile writes them.
    imagej = axes == "TZCYX"
    kinds = {"imagej": imagej, "truncate": truncate, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata=about, **kinds)
    time = "?t=1" if "T" in axes else ""
    volume = open_volume(f"{tmp_path}/a.tif{time}")
    want = stack.take(1, axes.index("T")) if "T" in axes else stack
    if "C" in axes:
        want = np.moveaxis(want, axes.replace("T", "").index("C"), 0)
    np.testing.assert_array_equal(volume.store.read().result(), want)


@pytest.mark.parametrize("axis", ["T", "C"])
def test_stacks_saved_as_times_or_channels_are_sections(tmp_path: Path, axis: str) -> None:
    about = {"axes": f"{axis}YX"}
    tifffile.imwrite(tmp_path / "a.tif", _VOXELS, imagej=True, metadata=about)
    np.testing.assert_array_equal(open_volume(f"{tmp_path}/a.tif").store.read().result(), _VOXELS)
    with pytest.raises(InputError, match="there is no t=1"):
        open_volume(f"{tmp_path}/a.tif?t=1")
