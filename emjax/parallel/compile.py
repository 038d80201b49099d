"""Compiles model functions by `jax.jit`, with the options that make convolutions fast on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

# Leaves convolutions to Eigen, since YNNPACK's gradients of kernels are 5 to 10 times slower (jaxlib 0.10): the default
# list without INDIVIDUAL_CONVOLUTION.
_CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


@functools.cache
def cpu_compiler_options() -> dict[str, str]:
    """Returns compiler options for the CPU; empty on other backends, and if this jaxlib does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_CPU_OPTIONS).lower(jnp.zeros(())).compile()
    except Exception as error:  # noqa: BLE001  (any refusal, whatever its class in this version)
        logging.warning(
            "this jaxlib refuses %s (%s); training on CPU is slower", _CPU_OPTIONS, error
        )
        return {}
    return dict(_CPU_OPTIONS)


def jit(fun: Callable[..., Any], *, platform: str = "", **options: Any) -> Any:
    """Compiles a function that contains a model; never call `jax.jit` on one.

    Args:
        fun: pure function.
        platform: platform of the devices that will run it; '': this machine's. Programs for a TPU can be compiled on
            a machine that has none.
        **options: further options of `jax.jit`.
    """
    own = platform in ("", jax.default_backend())
    return jax.jit(fun, compiler_options=(own and cpu_compiler_options()) or None, **options)
