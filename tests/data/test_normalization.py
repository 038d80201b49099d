"""Contrast, and what is no image."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from absl import logging

from emjax.data.normalization import ALL_VOXELS, RULE, Normalization, known_rule, measure
from emjax.errors import InputError
from emjax.volumes.store import open_volume


def test_apply_by_hand() -> None:
    image = np.array([0, 50, 100, 150, 255], np.uint8)
    expected = np.array([0, 0, 128, 255, 255], np.uint8)
    np.testing.assert_array_equal(Normalization(50, 150).apply(image), expected)


def test_bytes_of_any_layout_become_what_floats_do() -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 4, 6), (3, 3, 3)):
        image = rng.integers(0, 256, shape, np.uint8)
        for part in (image, image[:, ::-1], image[..., 1:]):
            wanted = Normalization(20.5, 211).apply(part.astype(np.float32))
            np.testing.assert_array_equal(Normalization(20.5, 211).apply(part), wanted)


def test_nan_elsewhere_is_black_and_infinities_are_clipped() -> None:
    image = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    with np.errstate(all="raise"):
        found = Normalization(0, 1).apply(image)
    np.testing.assert_array_equal(found, [0, 255, 0, 128])


def test_dtype_does_not_matter() -> None:
    image = np.arange(256, dtype=np.uint8)
    for dtype in ("uint16", "int16", "float16", "float32", "float64"):
        normalization = Normalization(13.5, 201.25)
        found = normalization.apply(image.astype(dtype))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, normalization.apply(image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_percentiles_of_a_volume_looked_at_whole(write, noise, dtype) -> None:
    voxels = noise(8, 32, 32).astype(dtype)
    found = measure(open_volume(write("a.zarr", voxels)))
    np.testing.assert_allclose(found, np.percentile(voxels, (0.5, 99.5)))
    assert found == measure(open_volume(write("b.zarr", voxels)))


def test_contrast_does_not_depend_on_scale_and_offset(write, noise) -> None:
    voxels = noise(8, 32, 32).astype(np.float32)
    pair = []
    for name, values in (("a.zarr", voxels), ("b.zarr", voxels * 1e-3 - 7)):
        pair.append(measure(open_volume(write(name, values))).apply(values).astype(int))
    np.testing.assert_allclose(*pair, atol=1)


def test_rims_are_left_out_unless_the_network_saw_them(write, noise, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    tissue = np.clip(noise(8, 64, 64), 40, 255)
    padded = np.zeros((8, 96, 96), np.uint8)
    padded[:, 16:80, 16:80] = tissue
    plain = measure(open_volume(write("a.zarr", tissue)))
    assert plain == measure(open_volume(write("c.zarr", tissue)), ALL_VOXELS) and not said
    volume = open_volume(write("b.zarr", padded))
    np.testing.assert_allclose(measure(volume), plain, atol=1)
    assert "b.zarr: of its sampled voxels, 55.6% are padding of 0 at its border" in said[0]
    assert f"black is {plain.low:g}, white {plain.high:g}" in said[0]
    assert measure(volume, ALL_VOXELS) == tuple(np.percentile(padded, (0.5, 99.5)))
    with pytest.raises(InputError, match="not by {'kind': 'mean'}"):
        measure(volume, {"kind": "mean"})
    with pytest.raises(InputError, match="kind=labels, but an image is needed"):
        measure(open_volume(f"{volume.address}?kind=labels"))


def _labels(dtype: str) -> np.ndarray:
    return np.kron(np.arange(1, 9).reshape(2, 2, 2), np.ones((4, 128, 128))).astype(dtype)


@pytest.mark.parametrize(
    ("voxels", "helps"),
    [
        (_labels("uint64"), r"a.zarr is uint64, which labels are.*give the image"),
        (_labels("int32"), "is int32, which labels are"),
        (_labels("uint16"), r"looks like labels: 99.* give the image, or add \?kind=image"),
        (_labels("float32"), "looks like labels"),
        (_labels("uint16") % 2, "looks like a mask: its only values are 0, 1"),
        (np.full((8, 16, 16), 7, np.uint8), r"is constant \(7\).*check address and box"),
        (np.full((8, 16, 16), np.nan, np.float32), "2048 of 2048 sampled voxels are NaN"),
        (np.ones((8, 16, 16), bool), "is bool; an image needs one of uint8, uint16"),
        (np.ones((2, 8, 16, 16), np.uint8), "has axes .*; an image needs z, y, x"),
    ],
)
def test_what_is_no_image(tmp_path, voxels, helps) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=voxels, chunks=voxels.shape)
    with pytest.raises(InputError, match=helps):
        measure(open_volume(f"{tmp_path}/a.zarr"))


def test_one_nan_is_enough(write, noise) -> None:
    voxels = noise(8, 32, 32).astype(np.float32)
    voxels[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="1 of 8192 sampled voxels are NaN"):
        measure(open_volume(write("a.zarr", voxels)))


def test_the_user_knows_better(write) -> None:
    address = write("a.zarr", _labels("uint16"))
    assert measure(open_volume(f"{address}?kind=image")).high > 1


def test_damaged_volume_is_named(write, noise, tmp_path) -> None:
    address = write("a.zarr", noise(8, 32, 32))
    for chunk in (tmp_path / "a.zarr" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"a\.zarr.* cannot be read"):
        measure(open_volume(address))


def test_a_rule_of_another_version_is_refused():
    assert known_rule(RULE, "run") == RULE
    with pytest.raises(InputError, match="run was trained with images scaled by {'kind': 'sums'}"):
        known_rule({"kind": "sums"}, "run")
