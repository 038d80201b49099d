"""Voxel sizes of mixtures, and the strides that follow from them."""

from __future__ import annotations

import types

import pytest

from emjax.errors import InputError
from emjax.runs.spec import check_voxel_nm
from emjax.train.preparation import common_voxel_nm, pooled_voxel_nm, with_network


def _entries(*sizes):
    images = [types.SimpleNamespace(name=f"{n}.h5", voxel_nm=s) for n, s in enumerate(sizes)]
    return [types.SimpleNamespace(image=image) for image in images]


@pytest.mark.parametrize(
    ("wanted", "sizes", "expected"),
    [
        ((), [(50, 4, 4), (50, 4, 4)], (50, 4, 4)),
        ((), [(50, 4, 4), (30, 6, 6)], ()),
        ((), [(50, 4, 4), None], ()),
        ((), [None], ()),
        ((40, 8, 8), [(50, 4, 4), None], (40, 8, 8)),
    ],
)
def test_the_voxel_size_that_all_crops_have(wanted, sizes, expected):
    assert common_voxel_nm({"data": {"voxel_nm": wanted}}, _entries(*sizes)) == expected


def test_an_unknown_voxel_size_is_said(caplog):
    common_voxel_nm({"data": {"voxel_nm": ()}}, _entries((50, 4, 4), (30, 6, 6)))
    common_voxel_nm({"data": {"voxel_nm": (40, 8, 8)}}, _entries(None))
    assert caplog.text == ""
    common_voxel_nm({"data": {"voxel_nm": ()}}, _entries((50, 4, 4), None))
    assert "voxel size of 1.h5 is unknown" in caplog.text and "?voxel_nm=Z,Y,X" in caplog.text


def _values(**model):
    model = {"name": "unet", "widths": (4, 8, 16), "strides": ()} | model
    return {"model": model, "data": {"crop_size": (8, 32, 32)}}


def test_strides_follow_unless_they_are_given():
    assert with_network(_values(), (10, 10, 10))["model"]["strides"] == ((2, 2, 2), (2, 2, 2))
    assert with_network(_values(), ())["model"]["strides"] == ((1, 2, 2), (1, 2, 2))
    given = ((1, 2, 2), (2, 2, 2))
    assert with_network(_values(strides=given), (10, 10, 10))["model"]["strides"] == given
    vit = _values(name="vit")
    assert with_network(vit, (10, 10, 10)) == vit


def test_mixtures_pool_as_their_longest_voxels():
    entries = _entries((10, 10, 10), (8, 8, 8), (30, 6, 6))
    assert pooled_voxel_nm({"data": {"voxel_nm": ()}}, entries) == (30, 6, 6)
    assert pooled_voxel_nm({"data": {"voxel_nm": (9, 9, 9)}}, entries) == (9, 9, 9)
    assert pooled_voxel_nm({"data": {"voxel_nm": ()}}, _entries((10, 10, 10), None)) == ()


def test_crops_of_a_preset_become_a_multiple_and_chosen_ones_stay():
    values = {**_values(), "data": {"crop_size": (6, 32, 32)}}
    assert with_network(values, (10, 10, 10))["data"]["crop_size"] == (8, 32, 32)
    assert with_network(values, (40, 8, 8))["data"]["crop_size"] == (6, 32, 32)
    told = with_network(values, (10, 10, 10), told={"data.crop_size"})
    assert told["data"]["crop_size"] == (6, 32, 32)
    # An odd depth does not decide which network it is.
    odd = {**_values(), "data": {"crop_size": (9, 32, 32)}}
    assert with_network(odd, (10, 10, 10))["model"] == with_network(values, (10, 10, 10))["model"]


@pytest.mark.parametrize("size", [(40, 8, 8), (45, 8, 7.5), (), (34, 8, 8)])
def test_about_the_same_voxels_will_do(size):
    check_voxel_nm(size, (40, 8, 8), "a.h5", "runs/a")
    check_voxel_nm((40, 8, 8), (), "a.h5", "runs/a")


@pytest.mark.parametrize("size", [(50, 8, 8), (40, 4, 4), (40, 8, 6)])
def test_voxels_of_another_scale_are_refused(size):
    with pytest.raises(InputError, match="a.h5 has voxels of .* runs/a was trained at 40x8x8 nm"):
        check_voxel_nm(size, (40, 8, 8), "a.h5", "runs/a")
