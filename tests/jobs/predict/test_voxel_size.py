"""Predictions at another voxel size than that of the images: the same however cut, and lying where the images do."""

from __future__ import annotations

import types

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.data.normalization import Normalization
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.inference.predictor import Predictor
from emjax.inference.tiles import Tiling
from emjax.inference.variants import make_variants
from emjax.jobs.predict import _Predict
from emjax.jobs.predict.voxel_size import choose_voxel_size, refuse_native_affinities
from emjax.parallel.mesh import make_mesh
from emjax.runs.spec import RunSpec
from emjax.volumes.create import create_volume
from emjax.volumes.origin import file_corner
from emjax.volumes.store import open_volume
from emjax.volumes.write.zarr import ZarrOutput

from ...tasks.small import smooth_noise

SIZE = (9, 30, 34)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("images") / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = smooth_noise(SIZE)
        file["raw"].attrs["resolution"] = (20.0, 10.0, 10.0)
    return f"{path}:raw"


def _spec(*voxel_nm: float) -> RunSpec:
    return RunSpec("finetune", {}, voxel_nm)


def _network(params, images: jax.Array) -> jax.Array:
    """Depends on neighbours and on the place in the tile, so that wrong places show."""
    ramp = jnp.linspace(0, 1, images.shape[3])
    near = (images + jnp.roll(images, 1, axis=2)) / 2
    return jnp.stack([images, params * near * ramp], axis=-1)


def _predict(address, trained, *, core, at="trained", dtype="uint8", box=""):
    """Predicts a volume block by block, as the job does."""
    volume = open_volume(address)
    size = choose_voxel_size(volume, _spec(*trained), "runs/a", at=at, resample=True)
    outer = size.outer(box)
    grid, offsets = Grid(outer, core), (None, None)
    tiling = Tiling(size.seen_size, (4, 8, 8), 0.5, "linear", offsets)
    predictor = Predictor(
        _network,
        jnp.float32(0.9),
        tiling,
        size.cores(grid),
        variants=make_variants(1, (4, 8, 8)),
        batch_size=8,
        mesh=make_mesh({"data": 1, "fsdp": 1, "spatial": 1}, jax.devices()[:1]),
        dtype="float16" if at == "native" else dtype,
    )
    plan = types.SimpleNamespace(
        volume=volume, voxel_size=size, normalization=Normalization(10, 240), channels=(0, 1)
    )
    work = _Predict(plan, predictor, ZarrOutput("none.zarr"), dtype)
    found = np.zeros((2, *outer.size), dtype)
    for block in grid:
        ((_, read),) = work.reads(block)
        place = block.core.translate(tuple(-s for s in outer.start))
        found[(..., *place.slices)] = work.compute(block, volume.read(read))
    return found


@pytest.mark.parametrize(
    ("at", "box", "corner"), [("trained", "2:7,10:30,5:20", (2, 6, 3)), ("native", "", (0, 0, 0))]
)
def test_any_blocks_give_the_bits_of_the_whole(image, at, box, corner) -> None:
    """Also of a part, which is that part of the whole."""
    whole = _predict(image, (16, 16, 16), core=(16, 64, 64), at=at)
    assert whole.shape[1:] == (SIZE if at == "native" else (12, 19, 22))
    part = _predict(image, (16, 16, 16), core=(5, 7, 9), at=at, box=box)
    np.testing.assert_array_equal(part, whole[(..., *Box(corner, part.shape[1:]).slices)])


def test_the_voxel_size_of_the_training_changes_no_bit(image) -> None:
    """A size that differs by rounding counts as the same, and the output has the voxels of the image in either case."""
    volume, whole = open_volume(image), Box((0, 0, 0), SIZE)
    for at in ("trained", "native"):
        size = choose_voxel_size(volume, _spec(20, 10.01, 10), "runs/a", at=at, resample=True)
        assert size.resampling is None and size.identity is None
        assert size.outer("") == whole and size.output_nm == volume.voxel_nm
        assert size.see(volume.read(whole), whole).tobytes() == volume.read(whole).tobytes()
        assert size.cores(Grid(whole, (4, 8, 8))) == Grid(whole, (4, 8, 8))


def test_what_is_predicted_at_native_is_the_image_again(image) -> None:
    """The first channel repeats what the network sees: there and back, smooth tissue stays what it is."""
    found = _predict(image, (16, 16, 16), core=(9, 30, 34), at="native")[0]
    volume = open_volume(image)
    seen = Normalization(10, 240).apply(volume.read(Box((0, 0, 0), SIZE)))
    inner = (slice(1, -1), slice(2, -2), slice(2, -2))
    assert np.corrcoef(found[inner].ravel(), seen[inner].ravel())[0, 1] > 0.85


def test_the_output_lies_where_the_image_does(image, tmp_path) -> None:
    """Also if it is a part of a file, and of a level of a pyramid."""
    volume = open_volume(f"{image}[4:9,8:30,:]?offset=1,0,0")
    size = choose_voxel_size(volume, _spec(16, 16, 16), "runs/a", at="trained", resample=True)
    # The part begins at 100, 80, 0 nm, in voxels 6, 5, 0 of 16 nm.
    assert size.resampling is not None and size.resampling.first == (6, 5, 0)
    outer = size.outer("")
    path = tmp_path / "o.zarr"
    create_volume(
        path, outer.size, "uint8", size.output_nm, size.attributes(""), origin=size.origin(outer)
    )
    made = open_volume(str(path))
    assert made.voxel_nm == (16, 16, 16) and file_corner(made.address) == (6, 5, 0)
    remembered = size.attributes("1:3,:,:")["native"]
    assert remembered["size"] == [2, 22, 34] and remembered["corner"] == [6, 8, 0]


def test_what_is_not_resampled_is_refused_beyond_20_percent(image) -> None:
    volume = open_volume(image)
    close = choose_voxel_size(volume, _spec(20, 9, 10), "runs/a", at="trained", resample=False)
    assert close.resampling is None
    assert choose_voxel_size(
        volume, _spec(20, 9, 10), "runs/a", at="trained", resample=True
    ).resampling
    with pytest.raises(InputError, match="20x10x10.*16x16x16.*resample=false"):
        choose_voxel_size(volume, _spec(16, 16, 16), "runs/a", at="trained", resample=False)


def test_affinities_stay_at_the_voxels_that_they_join(image) -> None:
    volume = open_volume(image)
    size = choose_voxel_size(volume, _spec(16, 16, 16), "runs/a", at="native", resample=True)
    refuse_native_affinities("native", size, ["foreground"], [None])
    with pytest.raises(InputError, match="segment with at=native.*channels=foreground"):
        refuse_native_affinities("native", size, ["affinity", "foreground"], [(-1, 0, 0), None])
