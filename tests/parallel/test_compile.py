"""Compiler options for the CPU: known to this jaxlib, used, and left out elsewhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from emjax.models.convolution import convolve
from emjax.parallel import compile as m


@pytest.fixture
def fresh_probe():
    m.cpu_compiler_options.cache_clear()
    yield
    m.cpu_compiler_options.cache_clear()


def test_this_jaxlib_knows_the_options():
    # If this fails after an upgrade, measure convolutions again: they may be several times slower.
    assert m.cpu_compiler_options()


def test_jit_passes_options_of_jax_on():
    double = m.jit(lambda x, times: x * times, static_argnums=1)
    assert double(jnp.ones(()), 2) == 2


def test_kernel_gradients_are_left_to_eigen():
    x, kernel = jnp.ones((8, 16, 16, 8)), jnp.ones((3, 3, 8, 8))
    convolve = lambda x, kernel: jax.lax.conv_general_dilated(  # noqa: E731
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    text = m.jit(convolve).lower(x, kernel).compile().as_text()
    assert " convolution(" in text
    assert "ynn" not in next(line for line in text.splitlines() if " convolution(" in line)


def test_no_options_on_an_accelerator(monkeypatch, fresh_probe):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert m.cpu_compiler_options() == {}


def test_a_jaxlib_that_refuses_still_compiles(monkeypatch, fresh_probe):
    monkeypatch.setattr(m, "_CPU_OPTIONS", {"xla_no_such_option": "1"})
    assert m.cpu_compiler_options() == {}
    assert m.jit(lambda x: x + 1)(jnp.zeros(())) == 1


def test_kernel_gradients_inside_a_loop_keep_the_fast_form():
    """XLA rewrites such convolutions outside of loops alone; any other layout is 60 to 120 times slower here."""
    xs, kernel = jnp.ones((2, 1, 3, 6, 6, 2)), jnp.ones((3, 3, 3, 2, 2))
    slope = jax.grad(lambda kernel, x: (convolve(x, kernel) ** 2).sum())

    def scanned(kernel):
        return jax.lax.scan(lambda total, x: (total + slope(kernel, x), None), 0 * kernel, xs)[0]

    compiled = m.jit(scanned).lower(kernel).compile()
    lines = [line for line in compiled.as_text().splitlines() if " convolution(" in line]
    assert lines
    assert all("dim_labels=b01f_01io->b01f" in line for line in lines)
    assert jnp.allclose(compiled(kernel), sum(slope(kernel, x) for x in xs), rtol=1e-4)
