"""Networks with an encoder of photographs: published sizes, what 2D weights become, how far they see."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.models import layers, normalization, unet
from emjax.models.build import (
    apply,
    build_backbone,
    count_params,
    fit_to_voxels,
    init_params,
)
from emjax.models.encoder_decoder import prime_factors
from emjax.models.presets import network
from emjax.parallel.compile import jit
from emjax.weights.inflate import inflate

RESNET = {"name": "resnet", "norm": "affine"}
EFFICIENTNET = {"name": "efficientnet_lite0", "norm": "affine"}
CONVNEXT = {"name": "convnext", "depths": (1, 1, 1, 1), "widths": (2, 2, 4, 4)}
VIT = {
    **{"name": "image_vit", "width": 8, "depth": 2, "heads": 2, "mlp_width": 8, "patch": 6},
    **{"position_grid": 2, "taps": (0,), "decoder_widths": (2, 2), "layer_scale": True},
}
TINY = {
    **{"skips": "add", "decoder_widths": (2, 2, 2, 2, 2), "groups": 2, "slices": 3},
    **{"input_mean": 0.0, "input_deviation": 1.0},
}
# Of each a crop that is larger than what a voxel can reach along y.
NETWORKS = {
    "resnet18": ({**RESNET, **TINY}, (5, 736, 32)),
    "efficientnet_lite0": ({**EFFICIENTNET, **TINY}, (5, 1184, 32)),
    "convnext": ({**CONVNEXT, **TINY, "kernel_depth": 3}, (13, 704, 32)),
    "vit": ({**TINY, **VIT}, (5, 96, 12)),
    "vit_blocks": ({**TINY, **VIT, "section_stride": 3}, (9, 96, 12)),
}


def shapes_of(backbone, crop):
    x = jax.ShapeDtypeStruct((1, *crop, 1), jnp.float32)
    return jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))


class Made(NamedTuple):
    backbone: object
    run: object
    params: dict
    crop: tuple
    name: str


class _Act(normalization.NormAct):
    """Without the normalization, which reads the whole input."""

    def __call__(self, x):
        return layers.ACTIVATIONS[self.activation](x)


@pytest.fixture(scope="module", params=NETWORKS)
def made(request):
    fields, crop = NETWORKS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unet, "NormAct", _Act)
        backbone = build_backbone(fields)
        shapes = shapes_of(backbone, crop)
        rng = np.random.default_rng(0)

        def draw(path, leaf):
            name = jax.tree_util.keystr(path)
            size = np.sqrt(np.prod(leaf.shape[-4:-1])) if leaf.ndim > 1 else 10
            values = rng.normal("scale" in name, 1 / size, leaf.shape)
            return values.astype(leaf.dtype)

        params = jax.tree_util.tree_map_with_path(draw, shapes)

        def both(params, x):
            out = apply(backbone, params, x)
            return out["centre"], out["output"]

        x = jnp.zeros((1, *crop, 1), jnp.float32)
        yield Made(backbone, jit(both).lower(params, x).compile(), params, crop, request.param)


@pytest.mark.parametrize(
    ("preset", "published"),
    [
        ("resnet18", 11_176_512),
        ("resnet50", 23_508_032),
        # 4,652,008 in all: less a convolution to 1280 channels, its normalization, and the classifier.
        ("efficientnet_lite0", 4_652_008 - 320 * 1280 - 2 * 1280 - 1281 * 1000),
        ("convnext_tiny", 27_820_128),
        ("vit_small", 21_665_664),
        ("vit_base", 85_798_656),
        ("vit_large", 303_301_632),
        ("dinov2_small", 22_056_192),
    ],
)
def test_the_encoder_has_the_published_number_of_parameters(preset, published):
    fields, crop = network(preset), 28 if preset == "dinov2_small" else 32
    # Three sections in place of the three colours.
    shapes = shapes_of(build_backbone({**fields.to_dict(), "slices": 3}), (1, crop, crop))
    encoder = {
        name: part for name, part in shapes.items() if not name.startswith(("decoder", "head"))
    }
    assert count_params(encoder) == published
    assert {name.split("_")[0] for name in shapes} <= {
        "stem",
        "encoder",
        "centre",
        "decoder",
        "head",
    }


def test_the_pyramid_is_what_the_network_says(made):
    x = jax.ShapeDtypeStruct((2, *made.crop, 1), jnp.float32)
    out = jax.eval_shape(lambda p, x: apply(made.backbone, p, x), made.params, x)
    for level, stride, channels in zip(
        out["pyramid"], made.backbone.level_strides, made.backbone.level_channels, strict=True
    ):
        grid = [n // s for n, s in zip(made.crop, stride, strict=True)]
        assert level.shape == (2, *grid, channels)
    grid = [n // s for n, s in zip(made.crop, made.backbone.footprint.stride, strict=True)]
    assert out["centre"].shape[:4] == (2, *grid)
    assert out["output"].shape == (2, *made.crop, 1)


def _with_stem(made: Made, kernel: np.ndarray):
    def place(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return kernel if name in ("stem/kernel", "stem/conv/kernel") else leaf

    return jax.tree_util.tree_map_with_path(place, made.params)


def _centre(made: Made, fill: str, x: np.ndarray) -> np.ndarray:
    """The centre of the middle section, with a first kernel of three colours laid onto three sections."""
    shape = next(
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(made.params["stem"])
        if "kernel" in jax.tree_util.keystr(path)
    )
    colours = np.random.default_rng(1).normal(size=(*shape[1:3], 3, shape[-1])) / shape[1]
    kernel = inflate(colours.astype(np.float32), 3, fill)
    centre = np.asarray(made.run(_with_stem(made, kernel), jnp.asarray(x))[0])
    return centre[0, centre.shape[1] // 2]


def test_what_fills_mean_for_the_whole_encoder(made):
    if made.name == "convnext":
        pytest.skip("its later kernels see other sections, too")
    _check_fills(made)


@pytest.mark.parametrize("name", ["convnext", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_what_fills_mean_for_encoders_whose_later_kernels_are_flat(name):
    # A layer normalization of two channels would make everything +1 or -1.
    wide = {**CONVNEXT, "widths": (8, 8, 16, 16)}
    kind = wide if name == "convnext" else {**RESNET, "variant": "resnet50"}
    backbone, crop = build_backbone({**kind, **TINY}), (5, 32, 32)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        size = np.sqrt(np.prod(leaf.shape[-4:-1])) if leaf.ndim > 1 else 10
        values = rng.normal("scale" in jax.tree_util.keystr(path), 1 / size, leaf.shape)
        return values.astype(leaf.dtype)

    params = jax.tree_util.tree_map_with_path(draw, shapes_of(backbone, crop))
    run = jit(lambda p, x: (apply(backbone, p, x)["centre"],))
    _check_fills(Made(backbone, run, params, crop, name))


def _check_fills(made: Made):
    """Compares the centre for inputs between which a fill must, or must not, see a difference."""
    rng = np.random.default_rng(2)
    x = rng.random((1, *made.crop, 1)).astype(np.float32)
    middle = made.crop[0] // 2
    swapped = x.copy()
    swapped[:, middle - 1 : middle + 2] = x[:, [middle, middle + 1, middle - 1]]
    other = rng.random(x.shape).astype(np.float32)
    other[:, middle] = x[:, middle]
    mean = x.copy()
    mean[:, middle - 1 : middle + 2] = x[:, middle - 1 : middle + 2].mean(1, keepdims=True)

    def change(fill, x, y):
        one, two = _centre(made, fill, x), _centre(made, fill, y)
        return np.abs(one - two).max() / np.abs(one).max()

    assert change("center", x, other) == 0
    assert change("average", x, mean) < 1e-5
    assert change("average", x, other) > 1e-3
    for fill in ("uniform_g", "uniform_mean"):
        assert change(fill, x, swapped) < 1e-5
    assert change("rgb", x, swapped) > 1e-3
    same = np.broadcast_to(x[:, middle : middle + 1], x.shape)
    one, two = (_centre(made, fill, same) for fill in ("rgb", "uniform_mean"))
    assert np.abs(one - two).max() < 1e-5 * np.abs(one).max()


def test_a_voxel_reaches_as_far_as_the_footprint_says(made):
    def still(path, leaf):
        # An image of zeros gives zeros, and attention takes nothing of other tokens.
        name = jax.tree_util.keystr(path)
        quiet = any(part in name for part in ("bias", "positions", "tokens", "scale0"))
        return np.zeros_like(leaf) if quiet else np.abs(leaf) + 0.01

    params = jax.tree_util.tree_map_with_path(still, made.params)
    halo, found = made.backbone.footprint.halo, np.zeros(3, int)
    assert not np.asarray(made.run(params, jnp.zeros((1, *made.crop, 1)))[1]).any()
    for shift in (0, 1):
        place = [n // 2 - shift for n in made.crop]
        x = np.zeros((1, *made.crop, 1), np.float32)
        x[(0, *place, 0)] = 1e3
        reached = np.argwhere(np.asarray(made.run(params, jnp.asarray(x))[1])[0, ..., 0])
        found = np.maximum(found, np.abs(reached - place).max(0))
    assert (found <= halo).all()
    # Nor is it much further than it is: z exactly, y but for the alignment with the coarsest cells.
    assert found[0] == min(halo[0], made.crop[0] // 2)
    assert found[1] > 0.85 * halo[1]


def test_a_stem_of_one_section_is_the_two_dimensional_network():
    deep, flat = (build_backbone({**VIT, "slices": slices}) for slices in (3, 1))
    params = jax.tree.map(
        lambda leaf: np.random.default_rng(0).normal(0, 0.3, leaf.shape).astype(np.float32),
        shapes_of(flat, (3, 12, 12)),
    )
    x = jnp.asarray(np.random.default_rng(1).random((1, 3, 12, 12, 1)), jnp.float32)
    kernel = np.zeros((3, *params["stem"]["kernel"].shape[1:]), np.float32)
    kernel[1] = params["stem"]["kernel"][0]
    deepened = {**params, "stem": {**params["stem"], "kernel": kernel}}
    one, two = (
        jit(lambda p, b=b: apply(b, p, x)["centre"])(p)
        for b, p in ((flat, params), (deep, deepened))
    )
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_tokens_of_a_volume_have_positions_along_z_that_begin_at_zero():
    shapes = shapes_of(build_backbone({**VIT, "attend": "volume"}), (3, 12, 12))
    assert shapes["encoder_sections"].shape == (16, 8)
    assert "encoder_sections" not in shapes_of(build_backbone(VIT), (3, 12, 12))
    backbone = build_backbone({**VIT, "attend": "volume", "section_positions": 2})
    module = backbone.bind({"params": {}})
    assert module.encoder_layers == (("encoder_[a-z]+", 1), ("encoder/blocks", 2))


def test_the_normalization_is_that_of_the_weights():
    imported = {"name": "resnet", "norm": "affine"}
    for model, like, norm in (
        ({"name": "resnet"}, None, "group"),
        ({"name": "resnet", "norm": ""}, imported, "affine"),
        ({"name": "resnet", "norm": "group"}, imported, "group"),
    ):
        assert fit_to_voxels(model, (), like)["norm"] == norm
    assert "norm" not in fit_to_voxels({"name": "convnext"}, ())


def test_prime_factors():
    assert [prime_factors(n) for n in (1, 2, 8, 14, 16, 49)] == [
        *((1,), (2,), (2, 2, 2), (2, 7), (2, 2, 2, 2), (7, 7))
    ]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({**RESNET, "input_deviation": 0.0}, "model.input_deviation=0.0"),
        ({**RESNET, "input_mean": (0.485, 0.456, 0.406)}, "must be a number"),
        ({**RESNET, "slices": 4}, "model.slices=4 has no section in the middle"),
        ({**RESNET, "kernel_depth": 2}, "model.kernel_depth=2"),
        ({**RESNET, "decoder_widths": (8, 8)}, "give 5"),
        ({**RESNET, "stem_fill": "centre"}, "model.stem_fill='centre'"),
        ({**RESNET, "norm": "batch"}, "model.norm='batch'"),
        ({**VIT, "section_stride": 2}, "model.section_stride=2"),
        ({**VIT, "kernel_depth": 3}, "model.kernel_depth=3"),
        ({**VIT, "heads": 3}, "model.heads=3"),
        ({**VIT, "taps": (0, 1)}, "model.taps"),
        ({"name": "convnext", "depths": (1, 1)}, "give four each"),
    ],
)
def test_fields_that_make_no_network(fields, match):
    with pytest.raises(InputError, match=match.replace("(", r"\(").replace(".", r"\.")):
        build_backbone(fields)


def test_a_crop_that_the_stride_does_not_divide():
    with pytest.raises(InputError, match=r"\(4, 100, 96\).*\(1, 32, 32\); use \(4, 96, 96\)"):
        build_backbone({"name": "resnet"}).check_crop((4, 100, 96))
    with pytest.raises(InputError, match=r"\(1, 14, 14\); use \(4, 98, 98\)"):
        vit = {**VIT, "patch": 14}
        build_backbone(vit).check_crop((4, 100, 98))
