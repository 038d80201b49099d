"""The U-Net of published EM weights: its size, how far it sees, and what cannot be."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.models.build import apply, build_backbone, count_params, init_params
from emjax.parallel.compile import jit


def shapes_of(backbone, crop=(2, 8, 8)):
    x = jax.ShapeDtypeStruct((1, *crop, 1), jnp.float32)
    return jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))


def test_it_has_the_published_number_of_parameters_and_parts():
    shapes = shapes_of(build_backbone({"name": "rsunet"}))
    # 409,617 numbers in the file, of which 2 for each of 592 channels are statistics of a normalization.
    assert count_params(shapes) == 409_617 - 2 * 592
    assert set(shapes) == {"stem", "encoder", "centre", "decoder", "head"}
    both = [shapes_of(build_backbone({"name": "rsunet", "skips": s})) for s in ("none", "add")]
    assert jax.tree.map(jnp.shape, both[0]) == jax.tree.map(jnp.shape, both[1])


def test_a_voxel_reaches_as_far_as_the_footprint_says():
    fields = {"widths": (2, 2, 2), "norm": "affine", "skips": "add"}
    backbone = build_backbone({"name": "rsunet", **fields})
    crop = (20, 112, 112)

    def still(path, leaf):
        # An image of zeros gives zeros.
        quiet = "bias" in jax.tree_util.keystr(path)
        return np.zeros(leaf.shape, np.float32) if quiet else np.full(leaf.shape, 0.3, np.float32)

    params = jax.tree_util.tree_map_with_path(still, shapes_of(backbone, crop))
    x = jnp.zeros((1, *crop, 1))
    run = jit(lambda p, x: apply(backbone, p, x)["output"]).lower(params, x).compile()
    halo, found = backbone.footprint.halo, np.zeros(3, int)
    for shift in (0, 1, 2, 3):
        place = [n // 2 - shift for n in crop]
        reached = np.argwhere(np.asarray(run(params, x.at[(0, *place, 0)].set(1.0)))[0, ..., 0])
        found = np.maximum(found, np.abs(reached - place).max(0))
    assert (found <= halo).all()
    assert found[0] == halo[0] and (found[1:] >= np.array(halo[1:]) - 3).all()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"widths": (4,), "kernels": ((1, 3, 3),)}, "give two or more"),
        ({"kernels": ((3, 3, 3),)}, "as many of each"),
        ({"kernels": ((1, 3, 3), (2, 3, 3), (3, 3, 3))}, "must be odd"),
        ({"norm": "batch"}, "model.norm='batch'"),
    ],
)
def test_fields_that_make_no_network(fields, match):
    with pytest.raises(InputError, match=match):
        build_backbone({"name": "rsunet", **fields})


def test_a_crop_that_does_not_fit():
    with pytest.raises(InputError, match=r"\(1, 4, 4\); use \(3, 16, 20\)"):
        build_backbone({"name": "rsunet"}).check_crop((3, 18, 20))
