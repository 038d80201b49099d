"""The U-Net: exact parameter counts, gradients, precision, and the footprint that it states."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.models import layers, unet
from emjax.models.build import apply, build_backbone, count_params, init_params
from emjax.parallel.compile import jit

from .conditionals import check_conditionals

TINY = {"name": "unet", "widths": (8, 12), "groups": 2}
CROP = (2, 8, 8)


def draw(seed: int = 0, crop=CROP, batch: int = 1) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((batch, *crop, 1)), jnp.float32)


def make(**fields):
    """A network and parameters drawn without compiling its initialisation."""
    backbone = build_backbone({**TINY, **fields})
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, draw()), jax.random.key(0))
    rng = np.random.default_rng(0)
    return backbone, jax.tree.map(
        lambda leaf: rng.normal(0.3, 0.5, leaf.shape).astype(leaf.dtype), shapes
    )


def compile_gradient(backbone, params):
    step = jax.grad(lambda p, x: (apply(backbone, p, x)["output"] ** 2).mean())
    return jit(step).lower(params, draw()).compile()


@pytest.fixture(scope="module")
def small():
    backbone, params = make(kernels=((1, 3, 3), (3, 3, 3)), strides=((2, 2, 2),))
    return backbone, params, compile_gradient(backbone, params)


@pytest.mark.parametrize(
    ("skips", "upsampling", "out_channels", "count"),
    [
        ("none", "depth_to_space", 1, 1_478_741),
        ("add", "resize", 3, 1_477_659),
        ("concat", "depth_to_space", 3, 1_555_471),
    ],
)
def test_paper_has_the_papers_parameters(skips, upsampling, out_channels, count):
    backbone = build_backbone(
        {"name": "unet", "skips": skips, "upsampling": upsampling, "out_channels": out_channels}
    )
    image = jnp.zeros((1, 2, 16, 16, 1))
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, image), jax.random.key(0))
    assert count_params(shapes) == count
    assert set(shapes) == {"stem", "encoder", "centre", "decoder", "head"}


def test_paper_pyramid_is_the_tables():
    backbone = build_backbone({"name": "unet"})
    image = jax.ShapeDtypeStruct((1, 18, 160, 160, 1), jnp.float32)
    shapes = jax.eval_shape(
        lambda key, x: apply(backbone, init_params(backbone, key, x), x), jax.random.key(0), image
    )
    assert [x.shape[1:] for x in shapes["pyramid"]] == [
        (18, 20, 20, 64),
        (18, 40, 40, 48),
        (18, 80, 80, 36),
        (18, 160, 160, 28),
    ]
    assert shapes["centre"].shape == (1, 18, 10, 10, 80)
    assert shapes["output"].shape == (1, 18, 160, 160, 1)
    assert backbone.level_channels == (64, 48, 36, 28)
    assert backbone.level_strides == ((1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1))
    assert backbone.footprint.stride == (1, 16, 16)


def test_add_loads_what_none_has_learnt():
    def shapes(skips):
        backbone = build_backbone({**TINY, "skips": skips})
        return jax.eval_shape(lambda key: init_params(backbone, key, draw()), jax.random.key(0))

    assert jax.tree.map(jnp.shape, shapes("none")) == jax.tree.map(jnp.shape, shapes("add"))


def test_every_parameter_has_a_gradient(small):
    _, params, gradient = small
    for path, slope in jax.tree_util.tree_leaves_with_path(gradient(params, draw())):
        assert slope.dtype == jnp.float32
        assert np.linalg.norm(slope) > 1e-6, jax.tree_util.keystr(path)


def test_compiled_gradient_has_no_slow_operation(small):
    text = small[2].as_text()
    convolutions = [line for line in text.splitlines() if " convolution(" in line]
    assert convolutions
    assert all("dim_labels=b01f_01io->b01f" in line for line in convolutions)
    assert not any("lhs_dilate" in line for line in convolutions)
    check_conditionals(text)


def test_rematerialised_gradient_is_the_same(small):
    backbone, params, gradient = small
    again = compile_gradient(backbone.clone(remat=True), params)
    for a, b in zip(*(jax.tree.leaves(f(params, draw())) for f in (gradient, again)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    exact, params = make(kernels=((1, 3, 3),))
    rough = build_backbone({**TINY, "kernels": ((1, 3, 3),), "dtype": "bfloat16"})
    shapes = jax.eval_shape(lambda key: init_params(rough, key, draw()), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}

    def both(params, x):
        return apply(rough, params, x), apply(exact, params, x)["output"]

    out, expected = jit(both)(params, draw())
    assert out["output"].dtype == jnp.float32
    assert out["pyramid"][0].dtype == jnp.bfloat16
    np.testing.assert_allclose(out["output"], expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("upsampling", ["depth_to_space", "resize"])
def test_nothing_beyond_the_halo_matters(monkeypatch, upsampling):
    class Act(nn.Module):
        """The activation alone: the statistics of a normalization read the whole crop."""

        groups: int
        activation: str
        dtype: jnp.dtype

        @nn.compact
        def __call__(self, x):
            return layers.ACTIVATIONS[self.activation](x)

    monkeypatch.setattr(unet, "NormAct", Act)
    kernels, strides = ((1, 3, 3), (3, 3, 3)), ((2, 2, 2),)
    backbone, params = make(widths=(2, 2), kernels=kernels, strides=strides, upsampling=upsampling)
    # Nothing cancels where all weights are positive.
    params = jax.tree.map(np.abs, params)
    halo = backbone.footprint.halo
    assert halo == (0 + 4 + 1, 4 + 6 + 6 + 1, 4 + 6 + 6 + 1)
    crop = (16, 44, 44)
    x = draw(crop=crop)

    def reach(position):
        """Voxels that the output at a position depends on."""
        return jax.grad(lambda x: apply(backbone, params, x)["output"][0][position].sum())(x) != 0

    compiled = jit(reach)
    found = np.zeros((3, 2), int)
    for position in [(7, 21, 21), (8, 22, 22)]:
        used = np.argwhere(np.asarray(compiled(position))[0, ..., 0])
        assert (np.abs(used - position).max(0) <= halo).all()
        found[:, 0] = np.maximum(found[:, 0], (position - used.min(0)))
        found[:, 1] = np.maximum(found[:, 1], (used.max(0) - position))
    # The bound is met, so no larger block than needed is read.
    np.testing.assert_array_equal(found.max(1), halo)


def test_crop_that_does_not_fit_is_answered_with_one_that_does():
    with pytest.raises(InputError, match=r"\(8, 60, 64\).*\(1, 16, 16\); use \(8, 64, 64\)"):
        build_backbone({"name": "unet"}).check_crop((8, 60, 64))
