"""The ViT: every block in the graph, skips that keep shapes, scanned states equal to unrolled ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.models.build import apply, build_backbone, init_params
from emjax.models.vit import TransformerBlock, TransformerEncoder, sincos_positions
from emjax.parallel.compile import jit

TINY = {
    "name": "vit",
    "patch_size": (2, 4, 4),
    "width": 12,
    "depth": 3,
    "heads": 2,
    "head_width": 4,
    "mlp_width": 16,
    "taps": (1,),
    "decoder_widths": (8, 4),
    "decoder_strides": ((2, 2, 2), (1, 2, 2)),
    "groups": 2,
}
CROP = (4, 8, 8)


def draw(seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((2, *CROP, 1)), jnp.float32)


def shapes_of(**fields):
    backbone = build_backbone({**TINY, **fields})
    return backbone, jax.eval_shape(
        lambda key: init_params(backbone, key, draw()), jax.random.key(0)
    )


def make(**fields):
    """A network and parameters drawn without compiling its initialisation."""
    backbone, shapes = shapes_of(**fields)
    rng = np.random.default_rng(0)
    return backbone, jax.tree.map(
        lambda leaf: rng.normal(0.1, 0.5, leaf.shape).astype(leaf.dtype), shapes
    )


@pytest.mark.parametrize("skips", ["none", "add"])
def test_every_parameter_of_every_block_has_a_gradient(skips):
    backbone, params = make(skips=skips)
    loss = lambda p, x: (apply(backbone, p, x)["output"] ** 2).mean()  # noqa: E731
    step = jit(jax.grad(loss)).lower(params, draw()).compile()
    for path, slope in jax.tree_util.tree_leaves_with_path(step(params, draw())):
        name = jax.tree_util.keystr(path)
        for row in slope if "'blocks'" in name else slope[None]:
            assert np.linalg.norm(row) > 1e-6, name
    text = step.as_text()
    convolutions = [line for line in text.splitlines() if " convolution(" in line]
    assert convolutions
    assert all("dim_labels=b01f_01io->b01f" in line for line in convolutions)
    assert not any("lhs_dilate" in line for line in convolutions)


def test_parts_and_shapes():
    backbone, shapes = shapes_of()
    parts = {"stem", "encoder", "encoder_positions", "centre", "decoder", "head"}
    assert set(shapes) == parts
    assert set(shapes_of(positions="sincos")[1]) == parts - {"encoder_positions"}
    out = jax.eval_shape(lambda p: apply(backbone, p, draw()), shapes)
    assert [x.shape for x in out["pyramid"]] == [(2, 4, 4, 4, 8), (2, 4, 8, 8, 4)]
    assert backbone.level_strides == ((1, 2, 2), (1, 1, 1))
    assert backbone.level_channels == (8, 4)
    assert out["output"].shape == (2, *CROP, 1)


def test_bottleneck_is_the_normalized_last_state():
    backbone, params = make()
    params["centre"] = {"scale": jnp.ones(12), "bias": jnp.zeros(12)}
    centre = jit(lambda p: apply(backbone, p, draw())["centre"])(params)
    assert centre.shape == (2, 2, 2, 2, 12)
    np.testing.assert_allclose(centre.mean(-1), 0.0, atol=1e-5)
    np.testing.assert_allclose(centre.var(-1), 1.0, rtol=1e-2)


def test_skips_take_over_all_that_pretraining_learnt():
    (_, without), (_, filled) = shapes_of(skips="none"), shapes_of(skips="add")
    leaves = jax.tree_util.tree_leaves_with_path(filled)
    shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}
    for path, leaf in jax.tree_util.tree_leaves_with_path(without):
        assert shapes.pop(jax.tree_util.keystr(path)) == leaf.shape
    assert all("['decoder']['skip" in name for name in shapes)


def test_scanned_states_are_those_of_the_blocks_one_by_one():
    sizes = {"width": 6, "heads": 2, "head_width": 3, "mlp_width": 8}
    encoder = TransformerEncoder(depth=3, remat=True, **sizes, dtype=jnp.float32)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 5, 6)), jnp.float32)
    params = init_params(encoder, jax.random.key(0), x)
    last, states = apply(encoder, params, x)
    block = TransformerBlock(**sizes, dtype=jnp.float32)
    for i in range(3):
        x, _ = apply(block, jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"]), x, None)
        np.testing.assert_allclose(states[i], x, atol=1e-5)
    np.testing.assert_allclose(last, x, atol=1e-5)


def test_bfloat16_keeps_parameters_and_logits_in_float32():
    backbone, shapes = shapes_of(dtype="bfloat16")
    out = jax.eval_shape(lambda p: apply(backbone, p, draw()), shapes)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}
    assert out["output"].dtype == jnp.float32
    assert out["centre"].dtype == jnp.bfloat16


def test_fixed_positions_tell_every_token_apart():
    table = sincos_positions((2, 3, 4), 32)
    assert table.shape == (24, 32)
    distances = np.linalg.norm(table[:, None] - table[None], axis=-1)
    assert distances[~np.eye(24, dtype=bool)].min() > 0.5
    np.testing.assert_allclose(table[0, :10], [0] * 5 + [1] * 5)


def test_paper_footprint():
    footprint = build_backbone({"name": "vit"}).footprint
    assert footprint.stride == (4, 16, 16)
    # One patch, three convolutions on grids of stride 8, 4, 2, 1, and the head.
    assert footprint.halo == (3, 15 + 3 * (8 + 4 + 2 + 1) + 2, 15 + 45 + 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"taps": (5,)}, "model.taps"),
        ({"patch_size": (4, 4, 4)}, "multiply to"),
        ({"decoder_widths": (8,)}, "decoder_strides"),
        ({"skips": "concat"}, "model.skips"),
    ],
)
def test_values_that_do_not_go_together(fields, message):
    with pytest.raises(InputError, match=message):
        build_backbone({**TINY, **fields})


def test_crop_must_be_whole_patches():
    with pytest.raises(InputError, match=r"use \(4, 8, 12\)"):
        build_backbone(TINY).check_crop((4, 8, 11))
