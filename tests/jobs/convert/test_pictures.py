"""TIFF stacks and folders of sections: written block by block, read back equal, and taken up after a kill."""

from __future__ import annotations

import json

import imagecodecs
import numpy as np
import pytest
import tifffile

from emjax.blocks import run as block_run
from emjax.blocks.complete import refuse_incomplete
from emjax.errors import InputError
from emjax.runs import whole_file
from emjax.volumes.create import create_volume
from emjax.volumes.formats import parse_output
from emjax.volumes.store import open_volume
from emjax.volumes.write.tiff import TiffOutput

from ..running import read_refusal, run_command

CONFIG = "configs/convert.py"
NM = (40.0, 4.6, 4.6)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Volumes of each type, with a voxel size that no binary fraction can say."""
    place = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    for dtype in ("uint8", "uint16", "uint32", "int16", "float32"):
        voxels = rng.integers(0, 100, (5, 9, 3)).astype(dtype)
        create_volume(place / f"{dtype}.zarr", voxels.shape, dtype, NM, {})[...] = voxels
    store = create_volume(place / "channels.zarr", (2, 5, 9, 7), "uint8", NM, {})
    store[...] = rng.integers(0, 100, (2, 5, 9, 7)).astype(np.uint8)
    return place


def _convert(source, output, tmp_path, **fields):
    fields = {"input": source, "output": output} | fields
    return run_command(CONFIG, tmp_path / "run", fields)


def _equal(source, output):
    one, other = open_volume(str(source)), open_volume(str(output))
    assert other.dtype == one.dtype and other.shape == one.shape
    np.testing.assert_array_equal(other.read(other.box), one.read(one.box))
    np.testing.assert_allclose(other.voxel_nm, NM, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "output", "kind"),
    [
        ("uint8", "a.tif", "imagej"),
        ("float32", "a.tiff", "imagej"),
        ("uint32", "a.tif", "ome"),
        ("int16", "a.tif", "ome"),
        ("channels", "a.tif", "ome"),
        ("uint8", "a/*.png", ""),
        ("uint16", "a/*.png", ""),
        ("float32", "a/*.tif", ""),
        ("uint32", "a/*.tif", ""),
    ],
)
def test_what_is_written_is_read_back(inputs, name, output, kind, tmp_path):
    assert _convert(inputs / f"{name}.zarr", tmp_path / output, tmp_path) == 0
    _equal(inputs / f"{name}.zarr", tmp_path / output)
    if kind:
        with tifffile.TiffFile(tmp_path / output) as file:
            assert (file.is_imagej, file.is_ome) == (kind == "imagej", kind == "ome")
            assert not file.is_bigtiff
        assert not list(tmp_path.glob("*.partial"))
    else:
        _equal(inputs / f"{name}.zarr", (tmp_path / output).parent)


def test_other_libraries_see_the_same(inputs, tmp_path):
    assert _convert(inputs / "uint8.zarr", tmp_path / "a.tif", tmp_path) == 0
    assert _convert(f"{inputs / 'uint16.zarr'}[2:5]", tmp_path / "s/*.png", tmp_path / "2") == 0
    voxels = open_volume(str(inputs / "uint8.zarr"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), voxels.read(voxels.box))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.imagej_metadata["spacing"] == 40 and file.imagej_metadata["unit"] == "nm"
        assert file.pages[0].tags["XResolution"].value == (5, 23)  # 1 / 4.6
    # Sections are numbered by their places in the whole.
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["0002.png", "0003.png", "0004.png", "sections.json"]
    voxels = open_volume(str(inputs / "uint16.zarr"))
    section = imagecodecs.png_decode((tmp_path / "s" / "0003.png").read_bytes())
    np.testing.assert_array_equal(section, voxels.read(voxels.box)[3])


@pytest.mark.parametrize("output", ["a.tif", "a/*.png"])
def test_a_killed_run_goes_on(inputs, output, tmp_path, monkeypatch):
    """The second block is not begun; then the same command makes it, and only it."""
    source, fields = inputs / "uint8.zarr", {"kind": "labels"}
    if output == "a.tif":
        fields |= {"chunk": "1,9,3", "shard": "1,9,3"}
    else:
        monkeypatch.setattr("emjax.jobs.convert.blocks._BLOCK_BYTES", 2 * 27)
    calls = []
    real = block_run.DoneBlocks.mark

    def mark(self, *indices):
        calls.append(indices)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, *indices)

    with monkeypatch.context() as patch:
        patch.setattr(block_run.DoneBlocks, "mark", mark)
        with pytest.raises(KeyboardInterrupt):
            _convert(source, tmp_path / output, tmp_path, **fields)
    if output == "a.tif":
        assert not (tmp_path / output).exists() and (tmp_path / "a.tif.partial").exists()
    else:
        kept = json.loads((tmp_path / "a" / "sections.json").read_text())["emjax"]
        assert kept["complete"] is False and kept["kind"] == "labels"
        with pytest.raises(InputError, match="is not complete"):
            refuse_incomplete(str(tmp_path / output), "input")
    assert _convert(source, tmp_path / output, tmp_path, **fields) == 0
    _equal(source, tmp_path / output)


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("float32.zarr", "a/*.png", "are of uint8, uint16, not of float32; give value_range"),
        ("uint32.zarr", "a/*.png", "give dtype=uint16, which each id is checked for"),
        ("channels.zarr", "a/*.png", "a section has one channel, and the input has 2"),
        ("uint8.zarr", "a.png", "give a/*.png"),
        ("uint8.zarr", "s*.tif", "give s/*.tif"),
        ("uint8.zarr", "full/*.png", "holds mine.txt, which emjax did not write"),
        ("uint8.zarr", "mine.tif", "was not written by emjax"),
        ("uint8.zarr", "s3://bucket/a.tif", "written to a disk"),
    ],
)
def test_what_cannot_be_written(inputs, source, output, words, tmp_path, capfd):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    tifffile.imwrite(tmp_path / "mine.tif", np.zeros((4, 4), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    place = output if "://" in output else tmp_path / output
    fields = {"input": inputs / source, "output": place, "overwrite": True}
    message = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert words in message and sorted(tmp_path.rglob("*")) == before


def test_ids_of_64_bits_in_a_stack(tmp_path):
    with pytest.raises(InputError, match="cannot be of uint64; give dtype=uint32"):
        TiffOutput("a.tif").suit(np.dtype("uint64"), "labels")
    assert TiffOutput("a.tif").suit(np.dtype("float16"), "image") == np.float32
    assert parse_output("a/*.tif").suit(np.dtype("uint64"), "labels") == np.uint64


def test_large_stacks_are_bigtiff(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("emjax.volumes.write.tiff._MOST_CLASSIC", 100)
    assert _convert(inputs / "uint8.zarr", tmp_path / "a.tif", tmp_path) == 0
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff and file.is_ome
    _equal(inputs / "uint8.zarr", tmp_path / "a.tif")


def test_what_a_killed_run_left_half_written_is_no_other_file(inputs, tmp_path):
    (tmp_path / "a").mkdir()
    # No process has this number.
    left = tmp_path / "a" / f".sections.json.{whole_file._system()}-{2**22 + 1}.partial"
    left.write_bytes(b"{")
    assert _convert(inputs / "uint8.zarr", tmp_path / "a/*.png", tmp_path) == 0
    assert not left.exists()
    _equal(inputs / "uint8.zarr", tmp_path / "a")


def test_own_outputs_are_replaced_and_nothing_else(inputs, tmp_path):
    for output in ("a.tif", "a/*.png"):
        run = tmp_path / "runs" / output[-3:]
        assert _convert(f"{inputs / 'uint8.zarr'}[0:4]", tmp_path / output, run) == 0
        assert _convert(inputs / "uint8.zarr", tmp_path / output, run, overwrite=True) == 0
        _equal(inputs / "uint8.zarr", tmp_path / output)
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"sections.json", *(f"{n:04d}.png" for n in range(5))}
