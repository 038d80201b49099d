"""Attention between tokens: the same numbers from every form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from emjax.models import attention as module
from emjax.models.attention import attention
from emjax.parallel.compile import jit


def _tokens(shape, dtype=jnp.float32):
    return [jax.random.normal(jax.random.key(i), shape, dtype) for i in range(3)]


def test_by_hand():
    # Two tokens whose logits differ by log 3: three quarters of one, a quarter of the other.
    query = jnp.full((1, 2, 1, 4), np.log(3.0) / 2)
    key = jnp.stack([jnp.zeros(4), jnp.ones(4)])[None, :, None]
    value = jnp.stack([jnp.zeros(4), jnp.full(4, 8.0)])[None, :, None]
    scaled = attention(query, key, value)
    weight = 1 / (1 + np.exp(-4 * np.log(3.0) / 2 / np.sqrt(4)))
    assert weight == pytest.approx(0.75)
    np.testing.assert_allclose(scaled, np.full((1, 2, 1, 4), 6.0), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-6), (jnp.bfloat16, 2e-2)])
def test_values_and_gradients_are_those_of_jax(dtype, tolerance):
    arrays = _tokens((2, 37, 3, 16), dtype)

    def loss(form):
        return lambda *a: (form(*a).astype(jnp.float32) ** 2).sum()

    found = attention(*arrays)
    assert found.dtype == dtype
    expected = jax.nn.dot_product_attention(*arrays)
    np.testing.assert_allclose(
        found.astype(jnp.float32), expected.astype(jnp.float32), atol=tolerance
    )
    ours, theirs = (
        jit(jax.grad(loss(form), argnums=(0, 1, 2)))(*arrays)
        for form in (attention, jax.nn.dot_product_attention)
    )
    for one, other in zip(ours, theirs, strict=True):
        one, other = one.astype(jnp.float32), other.astype(jnp.float32)
        np.testing.assert_allclose(one, other, atol=tolerance * float(jnp.abs(other).max()))


def test_large_logits_do_not_overflow():
    query, key, value = _tokens((1, 5, 1, 8))
    found = attention(1e3 * query, 1e3 * key, value)
    assert np.isfinite(found).all()


def test_a_cpu_keeps_the_pairs_of_one_head_alone():
    arrays = _tokens((1, 256, 8, 16))
    gradient = jit(jax.grad(lambda *a: attention(*a).sum(), argnums=(0, 1, 2)))
    memory = gradient.lower(*arrays).compile().memory_analysis().temp_size_in_bytes
    # Logits, weights and their gradients of one head; of all heads they would be 2 MiB each.
    assert memory < 8 * 256 * 256 * 4


def _lowered(platform, dtype):
    arrays = _tokens((2, 32, 2, 64), dtype)
    loss = jax.jit(jax.grad(lambda *a: attention(*a).astype(jnp.float32).sum()))
    return loss.trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


class _Client:
    platform_version = "PJRT C API\ncuda 13000"


class _Chip:
    platform = "gpu"
    client = _Client

    def __init__(self, capability):
        self.compute_capability = capability


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "fits"),
    [
        ("9.0", jnp.bfloat16, 64, True),
        ("8.0", jnp.float16, 128, True),
        ("10.3", jnp.bfloat16, 64, True),
        ("7.5", jnp.bfloat16, 64, False),
        ("9.0", jnp.float32, 64, False),
        ("9.0", jnp.bfloat16, 60, False),
        ("9.0", jnp.bfloat16, 192, False),
    ],
)
def test_which_chips_have_the_fused_kernel(monkeypatch, capability, dtype, width, fits):
    query = jnp.zeros((1, 2, 2, width), dtype)
    assert not module._has_fused_kernel(query)
    monkeypatch.setattr(module.jax, "local_devices", lambda: [_Chip(capability)])
    assert module._has_fused_kernel(query) == fits


def test_a_gpu_takes_the_fused_kernel_in_16_bits(monkeypatch):
    # What asks the chip that is not here; the programs are lowered, not compiled.
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda _: True)
    monkeypatch.setattr(cudnn, "is_cuda_compute_capability_equal", lambda _: False)
    monkeypatch.setattr(module, "_has_fused_kernel", lambda query: query.dtype == jnp.bfloat16)
    text = _lowered("cuda", jnp.bfloat16)
    assert "__cudnn$fmhaSoftmax" in text and "__cudnn$fmhaSoftmaxBackward" in text
    assert "cudnn" not in _lowered("cuda", jnp.float32)
    assert "cudnn" not in _lowered("tpu", jnp.bfloat16)
