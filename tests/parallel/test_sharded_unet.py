"""A U-Net whose crops are split over y alone, and over all three axes, gives the same output."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from emjax.models.build import apply, build_backbone, init_params
from emjax.parallel.compile import jit
from emjax.parallel.mesh import make_mesh, replicated


@pytest.fixture(scope="module")
def whole():
    """A network, its parameters, an input, and the output on one device."""
    unet = build_backbone({"name": "unet", "widths": (8, 12), "groups": 4, "skips": "add"})
    rng = np.random.default_rng(0)
    x = rng.random((4, 2, 16, 8, 1)).astype(np.float32)
    shapes = jax.eval_shape(lambda: init_params(unet, jax.random.key(0), x))
    params = jax.tree.map(lambda p: rng.normal(0.1, 0.3, p.shape).astype(p.dtype), shapes)
    return unet, params, x, np.asarray(jit(lambda p, x: apply(unet, p, x)["output"])(params, x))


@pytest.mark.parametrize("sizes", [(1, 1, 4), (2, 2, 2)])
def test_sharded_is_unsharded(whole, sizes):
    unet, params, x, wanted = whole
    mesh = make_mesh(dict(zip(("data", "fsdp", "spatial"), sizes, strict=True)))
    with jax.set_mesh(mesh):
        split = PartitionSpec(("data", "fsdp"), None, "spatial")
        placed = jax.device_put(x, NamedSharding(mesh, split))
        copied = jax.device_put(params, replicated(mesh))
        found = jit(lambda p, x: apply(unet, p, x)["output"])(copied, placed)
    assert not found.sharding.is_fully_replicated
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=1e-4)
