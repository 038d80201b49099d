"""What XLA makes of the default networks on a CPU: nothing that is many times slower there than what it could be.

A timing would need a quiet machine; the compiled program says the same without noise. If one of these fails after an
upgrade of jaxlib, run benchmarks/models.py before anything else.
"""

from __future__ import annotations

import collections
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from emjax.models.build import apply, build_backbone, init_params
from emjax.models.normalization import norm_act
from emjax.models.presets import network
from emjax.parallel.compile import jit

from .conditionals import check_conditionals

# As small as each network allows with its coarsest level wider than deep: where it is not, XLA swaps the two.
NETWORKS = {
    "small_unet": (network("small_unet"), (2, 32, 32)),
    "paper_unet": (network("paper_unet"), (2, 64, 64)),
    "base_vit": (network("base_vit"), (4, 64, 64)),
}


def _network(name, **fields):
    config, crop = NETWORKS[name]
    backbone = build_backbone({**config.to_dict(), **fields})
    image = jax.ShapeDtypeStruct((1, *crop, 1), jnp.float32)
    params = jax.eval_shape(lambda key: init_params(backbone, key, image), jax.random.key(0))
    return backbone, params, image


def _kernels(params) -> int:
    """Convolutions that are more than a matrix product."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    return sum(len(shape) == 5 and shape[:3] != (1, 1, 1) for shape in shapes)


def _convolutions(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(r" convolution(?:\.\d+)?\(", line)]


def _assert_fast(lowered, text: str) -> None:
    # Before XLA's passes: they turn it into a loop that is as slow.
    assert "select_and_scatter" not in lowered.as_text()
    for line in _convolutions(text):
        # Two dimensions, batch first, channels last: the one layout that reaches Eigen's matrix products.
        assert "dim_labels=b01f_01io->b01f" in line, line
        # Transposed, strided, grouped and depthwise ones are 20 to 240 times slower.
        assert not re.search("lhs_dilate|rhs_dilate|stride=|_group_count", line), line
    check_conditionals(text)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_one_plane_convolution_a_kernel(name):
    backbone, params, image = _network(name)
    forward = jit(lambda params, image: apply(backbone, params, image)["output"])
    lowered = forward.lower(params, image)
    text = lowered.compile().as_text()
    _assert_fast(lowered, text)
    assert len(_convolutions(text)) == _kernels(params) > 0
    # The layers of a transformer are one loop, which compiles once; in it are the heads.
    assert len(re.findall(r" while\(", text)) == 2 * (name == "base_vit")


def test_training_is_three_plane_convolutions_a_kernel():
    # Three of its five levels: the others add nothing but minutes.
    backbone, params, image = _network("paper_unet", skips="add", widths=(28, 36, 48))

    def loss(params, image):
        return (apply(backbone, params, image)["output"] ** 2).mean()

    lowered = jit(jax.value_and_grad(loss)).lower(params, image)
    text = lowered.compile().as_text()
    _assert_fast(lowered, text)
    # Of the layer that sees the image, nobody asks for the gradient of its input.
    assert len(_convolutions(text)) == 3 * _kernels(params) - 1


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv(4, (3, 3, 3)),
        nn.Conv(2, (1, 3, 3), feature_group_count=2),
        nn.ConvTranspose(4, (1, 2, 2), (1, 2, 2)),
    ],
)
def test_what_flax_has_is_found_slow(layer):
    x = jnp.ones((1, 4, 8, 8, 2))
    params = jax.eval_shape(lambda key: layer.init(key, x), jax.random.key(0))
    lowered = jit(layer.apply).lower(params, x)
    with pytest.raises(AssertionError):
        _assert_fast(lowered, lowered.compile().as_text())


def test_max_pooling_of_flax_is_found_slow():
    slope = jax.grad(lambda x: nn.max_pool(x, (1, 2, 2), (1, 2, 2)).sum())
    lowered = jit(slope).lower(jnp.ones((1, 4, 8, 8, 2)))
    with pytest.raises(AssertionError):
        _assert_fast(lowered, "")


def _passes(compiled, size: int) -> tuple[list[set[str]], int]:
    """What each sum over an array of a size waits for beside it, and how many arrays of that size are written.

    Sums within a conditional do not count.
    """
    entry = compiled.as_text().split("ENTRY")[1]
    # A conditional returns a tuple of small arrays, which has no shape of its own.
    sizes, kinds, sums, written = collections.defaultdict(int), {}, [], 0
    for line in entry.splitlines():
        found = re.match(r"\s+(?:ROOT )?%(\S+) = \w+\[([\d,]*)\]\S* ([\w-]+)\(([^)]*)\)", line)
        if not found:
            continue
        name, shape, kind, operands = found.groups()
        operands = re.findall(r"%([\w.-]+)", operands)
        sizes[name], kinds[name] = math.prod(map(int, filter(None, shape.split(",")))), kind
        computed = kind not in ("parameter", "bitcast")
        written += computed and sizes[name] == size
        if computed and sizes[name] < size and any(sizes[o] == size for o in operands):
            small = {o for o in operands if sizes[o] < size and kinds.get(o) != "constant"}
            sums.append(small)
    return sums, written


def test_statistics_of_a_normalization_wait_for_nothing():
    x, ones = jnp.ones((1, 8, 32, 32, 8)), jnp.ones(8)

    def ours(x):
        return norm_act(x, ones, ones, 4, "elu", 1e-5)

    # Two sums of the input, none of which needs the other, and the result; no volume between. Further sums, which wait
    # for the mean, are only taken where it is far from 0.
    assert _passes(jit(ours).lower(x).compile(), x.size) == ([set(), set()], 1)
    gradient = jax.grad(lambda x, slope: jnp.vdot(ours(x), slope))
    sums, written = _passes(jit(gradient).lower(x, x).compile(), x.size)
    assert len(sums) == 4 and not any(sums)
    assert written == 2
    # The variance about a mean that has to be known first is what this would find.
    norm = nn.GroupNorm(4, use_fast_variance=False)
    params = norm.init(jax.random.key(0), x)
    sums, _ = _passes(jit(lambda x: norm.apply(params, x)).lower(x).compile(), x.size)
    assert any(sums)
