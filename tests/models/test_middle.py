"""The section in the middle, the statistics of normalizations, and what uniform first kernels do to a network."""

from __future__ import annotations

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.attribution.sections import section_shares
from emjax.errors import InputError
from emjax.models.build import apply, build_backbone, init_params
from emjax.models.middle import apply_middle, is_flat
from emjax.models.refit import Learnt, refit
from emjax.weights.inflate import inflate

VIT = {
    **{"name": "image_vit", "width": 8, "depth": 1, "heads": 2, "mlp_width": 8, "patch": 4},
    **{"position_grid": 2, "taps": (0,), "decoder_widths": (2, 2), "groups": 2, "slices": 3},
}
RNG = np.random.default_rng(0)
X = RNG.random((2, 3, 8, 8, 1)).astype(np.float32)
KERNEL = RNG.normal(0, 0.3, (4, 4, 3, 8)) * np.array([0.7, 1, 0.4])[:, None]


@pytest.fixture(scope="module")
def vit():
    backbone = build_backbone({**VIT, "skips": "encoder"})
    shapes = jax.eval_shape(lambda: init_params(backbone, jax.random.key(0), jnp.asarray(X)))
    rng = np.random.default_rng(1)
    return backbone, jax.tree.map(
        lambda a: jnp.asarray(rng.normal(0, 0.4, a.shape), a.dtype), shapes
    )


def _with(params, fill):
    kernel = jnp.asarray(inflate(KERNEL, 3, fill), jnp.float32)
    return {**params, "stem": {**params["stem"], "kernel": kernel}}


def _change(forward, x):
    first = forward(x)
    size = np.linalg.norm(first)
    orders = list(itertools.permutations(range(3)))[1:]
    return max(np.linalg.norm(forward(x[:, list(o)]) - first) / size for o in orders)


def test_uniform_kernels_are_blind_to_the_order_and_others_are_not(vit):
    backbone, params = vit
    assert is_flat(backbone)

    @jax.jit
    def both(p, x):
        def total(x):
            out = apply_middle(backbone, p, x)
            return out.sum(), out

        slope, out = jax.grad(total, has_aux=True)(x)
        return out, slope

    run = lambda p, x: both(p, x)[0]  # noqa: E731
    for fill in ("uniform_g", "uniform_mean"):
        assert _change(lambda x: run(_with(params, fill), x), X) < 1e-5  # noqa: B023
        shares = section_shares(np.asarray(both(_with(params, fill), X)[1])[..., 0])
        np.testing.assert_allclose(shares, 1 / 3, atol=1e-5)
    assert _change(lambda x: run(_with(params, "rgb"), x), X) > 1e-2
    # One pair of numbers for each colour would tell sections apart that the kernel does not.
    each = np.array([0.229, 0.224, 0.225]) / 0.226
    mean = (np.array([0.485, 0.456, 0.406]) - 0.449)[None, :, None, None, None]
    coloured = lambda x: run(  # noqa: E731
        _with(params, "uniform_g"), (x - mean) / each[None, :, None, None, None]
    )
    assert _change(coloured, X) > 1e-3
    # Of sections that are all the same the mean of the colours says what the colours do.
    same = np.repeat(X[:, :1], 3, axis=1)
    np.testing.assert_allclose(
        run(_with(params, "rgb"), same), run(_with(params, "uniform_mean"), same), atol=1e-5
    )


def test_networks_that_see_more_sections_later_are_not_flat():
    assert build_backbone({**VIT, "skips": "add"}) and is_flat(build_backbone(VIT))
    for more in ({"attend": "volume"}, {"decoder_kernel": (3, 3, 3)}, {"section_stride": 3}):
        assert not is_flat(build_backbone({**VIT, **more}))
    assert not is_flat(build_backbone({"name": "unet", "widths": (2, 2)}))


class _Toy(nn.Module):
    """One convolution of a pixel, as the stem, and a normalization."""

    @nn.compact
    def __call__(self, x):
        from emjax.models.image_layers import ImageNorm

        y = x * self.param("stem_kernel", nn.initializers.ones, (2,))
        return {"output": ImageNorm("affine", name="norm")(y)}


def test_statistics_are_those_of_the_images_and_what_was_learnt_is_kept():
    toy = _Toy()
    images = [RNG.normal(3, 2, (2, 1, 8, 8, 1)).astype(np.float32) for _ in range(4)]
    params = init_params(toy, jax.random.key(0), jnp.asarray(images[0]))
    params = {**params, "stem_kernel": jnp.asarray([1.0, 10.0])}
    learnt = {"norm": Learnt(np.array([1.0, 2.0], np.float32), np.array([0.5, -1.0], np.float32))}
    found = refit(toy, params, learnt, images, 1e-5)
    out = np.concatenate([apply(toy, found, x)["output"] for x in images])
    np.testing.assert_allclose(out.mean((0, 1, 2, 3)), [0.5, -1], atol=1e-3)
    np.testing.assert_allclose(out.std((0, 1, 2, 3)), [1, 2], rtol=0.03)
    assert params["norm"]["scale"].tolist() == [1, 1]  # what was given is not changed
    with pytest.raises(InputError, match="there are none"):
        refit(toy, params, learnt, [], 1e-5)


@pytest.mark.parametrize("fill", ["rgb", "uniform_mean"])
def test_a_stem_of_any_depth_that_is_a_multiple_of_the_colours_has_the_same_sum(fill):
    for slices in (1, 3, 6) if fill == "rgb" else (1, 2, 5):
        sums = inflate(KERNEL, slices, fill).sum(0)[:, :, 0]
        np.testing.assert_allclose(sums, KERNEL.sum(2), atol=1e-12)
