"""Blocks of predictions: equal to the whole, however cut, on any number of devices."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.inference.predictor import Predictor, default_batch_size
from emjax.inference.tiles import Tiling
from emjax.inference.variants import make_variants
from emjax.parallel.mesh import make_mesh

SIZE = (7, 20, 22)
TILE = (4, 8, 8)
EDGES = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 0), None)


def _mesh(devices: int = 1):
    sizes = {"data": devices, "fsdp": 1, "spatial": 1}
    return make_mesh(sizes, jax.devices()[:devices])


def _image(size=SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def blur(params, images: jax.Array) -> jax.Array:
    """A network whose answer depends on the place in the tile, so that wrong blending shows."""
    z, y, x = (jnp.linspace(0, 1, n) for n in images.shape[1:])
    ramp = z[:, None, None] * y[:, None] * x
    near = (images + jnp.roll(images, 1, axis=3)) / 2
    return jnp.stack([images, near, params["a"] * near * ramp], axis=-1)


def edges(params, images: jax.Array) -> jax.Array:
    """A perfect network: the image holds ids. What it cannot see it answers with 0.4."""
    del params
    ids = jnp.round(images * 255)
    channels = []
    for offset in EDGES:
        if offset is None:
            channels.append(images)
            continue
        before = [(-o, 0) for o in offset]
        moved = jnp.pad(ids, [(0, 0), *before], constant_values=-1)
        moved = moved[:, : ids.shape[1], : ids.shape[2], : ids.shape[3]]
        channels.append(jnp.where(moved < 0, 0.4, moved == ids))
    return jnp.stack(channels, axis=-1)


def _predict(
    image,
    predict=blur,
    offsets=(None, None, None),
    *,
    core=(4, 10, 10),
    outer=None,
    devices=1,
    **options,
) -> np.ndarray:
    """Predicts a volume by blocks."""
    settings = {"overlap": 0.5, "blending": "linear", "tile": TILE} | {
        k: options.pop(k) for k in ("overlap", "blending", "tile") if k in options
    }
    tiling = Tiling(
        image.shape, settings["tile"], settings["overlap"], settings["blending"], offsets
    )
    outer = outer or Box((0, 0, 0), image.shape)
    grid = Grid(outer, core)
    options = {"batch_size": 3, "dtype": "float16"} | options
    options["variants"] = make_variants(options.get("variants", 1), settings["tile"])
    predictor = Predictor(
        predict, {"a": jnp.float32(0.9)}, tiling, grid, mesh=_mesh(devices), **options
    )
    out = np.full((len(offsets), *outer.size), 77, options["dtype"])
    for block in grid:
        place = block.core.translate(tuple(-s for s in outer.start))
        out[(slice(None), *place.slices)] = predictor(lambda box: image[box.slices], block)
    return out


def _reference(image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Every tile of the volume, added up in float64 by the definition of a weighted mean."""
    padded = np.pad(
        image, [(0, max(0, t - n)) for n, t in zip(image.shape, TILE, strict=True)], "symmetric"
    )
    total, weights = 0, 0
    for place in itertools.product(*(range(len(s)) for s in tiling.starts)):
        start = tuple(int(s[i]) for s, i in zip(tiling.starts, place, strict=True))
        box = Box(start, TILE)
        tile = jnp.asarray(padded[box.slices][None] / 255, jnp.float32)
        result = np.asarray(blur({"a": 0.9}, tile)[0], np.float64)
        one, weight = np.zeros((*padded.shape, 3)), np.zeros((*padded.shape, 3))
        ramps = [
            np.minimum(np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) / (n // 2 + 1), 1)
            for n in TILE
        ]
        shape = np.einsum("z,y,x->zyx", *ramps)[..., None]
        one[box.slices], weight[box.slices] = result * shape, shape
        total, weights = total + one, weights + weight
    mean = (total / weights)[tuple(slice(0, n) for n in image.shape)]
    return np.moveaxis(mean, -1, 0)


@pytest.mark.parametrize("size", [SIZE, (2, 20, 5)])
def test_equals_the_definition(size) -> None:
    image = _image(size)
    expected = _reference(image, Tiling(size, TILE, 0.5, "linear", (None,) * 3))
    np.testing.assert_allclose(_predict(image), expected, atol=6e-4)
    quantised = _predict(image, dtype="uint8")
    assert quantised.dtype == np.uint8
    np.testing.assert_allclose(quantised / 255, expected, atol=0.5 / 255 + 1e-5)


@pytest.mark.parametrize("core", [SIZE, (3, 7, 22), (1, 20, 5)])
@pytest.mark.parametrize("blending", ["linear", "gaussian"])
def test_the_blocks_do_not_matter(core, blending) -> None:
    image = _image()
    expected = _predict(image, blending=blending)
    np.testing.assert_array_equal(_predict(image, core=core, blending=blending), expected)


def test_neither_do_the_devices_nor_the_batch() -> None:
    image = _image()
    expected = _predict(image)
    for devices, batch_size in ((1, 5), (2, 3), (8, 8)):
        result = _predict(image, devices=devices, batch_size=batch_size)
        np.testing.assert_array_equal(result, expected)


def test_a_part_is_that_part_of_the_whole() -> None:
    image, part = _image(), Box((1, 3, 5), (5, 11, 12))
    whole = _predict(image)
    np.testing.assert_array_equal(_predict(image, outer=part), whole[(slice(None), *part.slices)])


@pytest.mark.parametrize("count", [1, 4, 16])
@pytest.mark.parametrize("blending", ["linear", "gaussian"])
def test_affinities_of_a_perfect_network_are_perfect_everywhere(count, blending) -> None:
    """Across the borders of tiles and under all variants, wherever the edge lies within the volume."""
    ids = np.random.default_rng(1).integers(1, 3, SIZE).astype(np.uint8)
    result = _predict(ids, edges, EDGES, variants=count, blending=blending, core=(4, 8, 22))
    whole = np.asarray(edges(None, jnp.asarray(ids[None] / 255, jnp.float32))[0])
    for channel, offset in enumerate(EDGES[:-1]):
        inside = tuple(slice(-o, None) for o in offset)
        np.testing.assert_allclose(result[channel][inside], whole[..., channel][inside], atol=1e-3)
    np.testing.assert_allclose(result[-1], whole[..., -1], atol=1e-3)


def test_a_prediction_that_is_not_finite_is_named() -> None:
    image = _image() // 2
    image[6, 19, 21] = 255

    def bad(params, images):
        return jnp.where((images == 1).any(axis=(1, 2, 3), keepdims=True), jnp.nan, images)[
            ..., None
        ]

    with pytest.raises(
        InputError,
        match=r"not finite in block 4 \[0:4,10:20,10:20\], in its tile \[3:7,12:20,14:22\]",
    ):
        _predict(image, bad, (None,))


def test_too_little_memory_says_what_to_reduce() -> None:
    def exhausted(params, images):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")

    with pytest.raises(InputError, match="too little memory for 3 tiles.*smaller batch_size"):
        _predict(_image(), exhausted)


def test_memory_is_stated_and_bounded() -> None:
    tiling = Tiling((64, 512, 512), TILE, 0.5, "linear", (None,) * 3)
    small, large = (
        Predictor(
            blur,
            {"a": jnp.float32(1)},
            tiling,
            Grid(Box((0, 0, 0), tiling.size), core),
            variants=make_variants(1, TILE),
            batch_size=1,
            mesh=_mesh(),
            dtype="uint8",
        ).block_bytes
        for core in ((8, 16, 16), (16, 64, 64))
    )
    assert 8 * 16 * 16 * 3 * 4 < small < 16 * 32 * 32 * 3 * 7
    assert small < large < 64 * 512 * 512


def test_batches_fill_the_devices() -> None:
    assert default_batch_size((4, 64, 64), _mesh(1)) == 16
    assert default_batch_size((32, 160, 160), _mesh(4)) == 4
