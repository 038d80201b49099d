"""Shardings by shape and by name, and networks whose result they do not change."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from emjax.models.build import apply, build_backbone, init_params
from emjax.parallel.compile import cpu_compiler_options, jit
from emjax.parallel.mesh import batch_sharding, make_mesh, replicated
from emjax.parallel.sharding import constrain, describe_copies, infer_sharding

MODELS = {
    "unet": {"name": "unet", "widths": (4, 8), "groups": 2},
    "vit": {
        "name": "vit",
        "patch_size": (1, 4, 4),
        "width": 8,
        "depth": 2,
        "heads": 2,
        "head_width": 4,
        "mlp_width": 8,
        "taps": (0,),
        "decoder_widths": (4, 4),
        "decoder_strides": ((1, 2, 2), (1, 2, 2)),
        "groups": 2,
    },
}


def mesh_of(data: int, fsdp: int, spatial: int):
    count = data * fsdp * spatial
    return make_mesh({"data": data, "fsdp": fsdp, "spatial": spatial}, jax.devices()[:count])


def test_large_parameters_are_split_along_their_largest_divisible_axis():
    mesh = mesh_of(2, 4, 1)
    tree = {
        "kernel": jax.ShapeDtypeStruct((3, 3, 3, 64, 64), jnp.float32),
        "odd": jax.ShapeDtypeStruct((513, 400), jnp.float32),
        "small": jax.ShapeDtypeStruct((64,), jnp.float32),
        "indivisible": jax.ShapeDtypeStruct((513, 513), jnp.float32),
        "key": jax.eval_shape(lambda: jax.random.key(0)),
    }
    specs = jax.tree.map(lambda sharding: sharding.spec, infer_sharding(tree, mesh))
    assert specs["kernel"] == PartitionSpec(None, None, None, None, "fsdp")
    assert specs["odd"] == PartitionSpec(None, "fsdp")
    assert specs["small"] == PartitionSpec(None)
    assert specs["indivisible"] == PartitionSpec(None, None)
    assert specs["key"] == PartitionSpec()


def test_large_parameters_that_stay_whole_are_named():
    tree = {
        "even": jax.ShapeDtypeStruct((512, 512), jnp.float32),
        "layer": {"odd": jax.ShapeDtypeStruct((513, 513), jnp.float32)},
        "small": jax.ShapeDtypeStruct((63,), jnp.float32),
    }

    def placed(mesh):
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            infer_sharding(tree, mesh),
        )

    said = describe_copies(placed(mesh_of(2, 4, 1)))
    assert "mesh.fsdp=4, but every device holds 1 of 2 MiB" in said
    assert "layer/odd (513, 513);" in said and "even" not in said and "small" not in said
    # Where nothing is to be split, nothing is wrong.
    assert describe_copies(placed(mesh_of(8, 1, 1))) == ""
    del tree["layer"]
    assert describe_copies(placed(mesh_of(2, 4, 1))) == ""


def test_without_a_mesh_nothing_is_asked():
    x = jnp.ones((2, 3))
    assert constrain(x, "batch", "channel") is x


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((8, 1, 4, 4, 3), PartitionSpec(("data", "fsdp"), None, "spatial")),
        ((2, 1, 4, 4, 3), PartitionSpec("data", None, "spatial")),
        ((3, 1, 5, 4, 3), PartitionSpec()),
    ],
)
def test_axes_that_do_not_divide_stay_whole(shape, spec):
    mesh = mesh_of(2, 2, 2)
    with jax.set_mesh(mesh):
        out = jit(lambda x: constrain(x, "batch", "z", "y", "x", "channel"))(jnp.ones(shape))
    assert out.sharding.is_equivalent_to(NamedSharding(mesh, spec), 5)


def test_an_unknown_name_is_a_mistake_of_the_code():
    with jax.set_mesh(mesh_of(2, 2, 2)), pytest.raises(KeyError):
        constrain(jnp.ones((2,)), "rows")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_split_network_equals_the_whole_one(name):
    """y over 4 of 8 devices, batch over 2: value and gradient."""
    backbone = build_backbone(MODELS[name])
    x = jnp.asarray(np.random.default_rng(0).random((2, 2, 16, 16, 1)), jnp.float32)
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda a: rng.normal(0.1, 0.5, a.shape).astype(a.dtype), shapes)

    def loss(params, x):
        out = apply(backbone, params, x)
        weights = jnp.linspace(-1.0, 1.0, out["output"].size).reshape(out["output"].shape)
        return (weights * out["output"]).sum(), out["output"]

    step = jax.value_and_grad(loss, has_aux=True)
    # Only the result matters here: code that is not optimised compiles in half the time.
    options = {**cpu_compiler_options(), "xla_backend_optimization_level": 0}
    (expected, whole), slopes = jax.jit(step, compiler_options=options)(params, x)
    mesh = mesh_of(2, 1, 4)
    with jax.set_mesh(mesh):
        compiled = jax.jit(
            step,
            in_shardings=(replicated(mesh), batch_sharding(mesh)),
            compiler_options=options,
        )
        compiled = compiled.lower(params, x).compile()
        (found, split), split_slopes = compiled(
            jax.device_put(params, replicated(mesh)), jax.device_put(x, batch_sharding(mesh))
        )
    # The halos of y do travel between devices.
    assert "collective-permute" in compiled.as_text()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(split, whole, atol=2e-5 * np.abs(whole).max() + 1e-6)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * largest), split_slopes, slopes
    )
