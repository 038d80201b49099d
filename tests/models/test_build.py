"""From configuration values to a network: defaults, precision, and answers to mistakes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from emjax.errors import InputError
from emjax.models.build import build_backbone, fit_to_voxels, resolve_dtype

from ..extending import write_package


def test_lists_as_json_holds_them_make_the_same_network():
    given = {"name": "unet", "widths": [4, 8], "kernels": [[1, 3, 3]], "strides": [[1, 2, 2]]}
    same = {"name": "unet", "widths": (4, 8), "kernels": ((1, 3, 3),), "strides": ((1, 2, 2),)}
    assert build_backbone(given) == build_backbone(same)
    assert hash(build_backbone(given)) == hash(build_backbone(same))


def test_auto_is_float32_on_a_cpu_and_bfloat16_elsewhere(monkeypatch):
    assert resolve_dtype("auto") == jnp.float32
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert resolve_dtype("auto") == jnp.bfloat16
    assert resolve_dtype("float32") == jnp.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "unett"}, "did you mean 'unet'"),
        ({"widhts": (4, 8)}, "did you mean 'widths'"),
        ({"skips": "ad"}, "did you mean 'add'"),
        ({"dtype": "float23"}, "did you mean 'float32'"),
        ({"activation": "elo"}, "did you mean 'elu'"),
        ({"widths": (4,)}, "two or more"),
        ({"widths": (4, 0)}, "positive"),
        ({"widths": 8}, "positive"),
        ({"kernels": (3, 3, 3)}, "sizes"),
        ({"kernels": ((1, 2, 2),)}, "odd"),
        ({"kernels": ((1, 3, 3),) * 3}, "give one, or 2"),
        ({"strides": ((1, 2, 2),) * 2}, "give 1"),
        ({"groups": 0}, "positive whole number"),
        ({"remat": "False"}, "True or False"),
    ],
)
def test_mistakes_are_answered(fields, message):
    with pytest.raises(InputError, match=message) as caught:
        build_backbone({"name": "unet", "widths": (4, 8), **fields})
    assert "\n" not in str(caught.value)


def test_a_model_without_a_name_is_answered():
    with pytest.raises(InputError, match="known: .*unet, vit"):
        build_backbone({"widths": (4, 8)})


def test_fields_that_are_left_open_follow_from_the_voxels():
    model = {"name": "unet", "widths": (4, 8, 16), "strides": ()}
    same = fit_to_voxels(model, (10, 10, 10))
    assert same == {**model, "strides": ((2, 2, 2), (2, 2, 2))}
    like = {"strides": ((1, 2, 2), (2, 2, 2))}
    assert fit_to_voxels(model, (10, 10, 10), like)["strides"] == like["strides"]
    given = {**model, "strides": ((1, 2, 2), (1, 2, 2))}
    assert fit_to_voxels(given, (10, 10, 10), like) == given
    # The other run's network may be of another kind.
    assert fit_to_voxels(model, (10, 10, 10), {"name": "vit"}) == same


def test_a_network_from_outside_is_one_file_and_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    toy = build_backbone({"name": "toy", "dtype": "float32", "width": 6, "out_channels": 2})
    assert toy.level_channels == (6,) and toy.dtype == jnp.float32
    assert fit_to_voxels({"name": "toy"}, (40, 4, 4)) == {"name": "toy"}
    with pytest.raises(InputError, match="model.width=0 must be a positive whole number"):
        build_backbone({"name": "toy", "width": 0})
    with pytest.raises(InputError, match="model.width=65 is more than a toy can have"):
        build_backbone({"name": "toy", "width": 65})
    with pytest.raises(InputError, match="did you mean 'relu'"):
        build_backbone({"name": "toy", "activation": "relo"})
    with pytest.raises(InputError, match="model.widht is no field of 'toy'; did you mean 'width'"):
        build_backbone({"name": "toy", "widht": 4})
    with pytest.raises(InputError, match="did you mean 'toy'"):
        build_backbone({"name": "toi"})
