"""Counts the arithmetic of a training step from the program of the task's loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

# One forward pass, and a backward pass of twice its FLOPs, which differentiates each product by both factors. What
# rematerialization computes again does not count, since it is overhead.
# Source: "PaLM: Scaling Language Modeling with Pathways" (arXiv:2204.02311), appendix B.
TRAINING_FACTOR = 3


def training_flops(loss: Callable[..., Any], *arguments: Any) -> int:
    """Returns the number of FLOPs of one step on all devices together: three times those of the loss.

    Args:
        loss: pure function; it is traced, not run.
        *arguments: arrays or their shapes.
    """
    return TRAINING_FACTOR * count_flops(loss, *arguments)


def count_flops(fun: Callable[..., Any], *arguments: Any) -> int:
    """Returns the number of FLOPs of a function's matrix products and convolutions; all others are negligible.

    Args:
        fun: pure function; it is traced, not run.
        *arguments: arrays or their shapes.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    return _count(jax.make_jaxpr(fun)(*shapes).jaxpr)


def _count(program: core.Jaxpr) -> int:
    total = 0
    for equation in program.eqns:
        name, settings = equation.primitive.name, equation.params
        if name == "dot_general":
            left = _shape(equation.invars[0])
            ((contracted, _), _) = settings["dimension_numbers"]
            size = math.prod(left[axis] for axis in contracted)
            total += 2 * math.prod(_shape(equation.outvars[0])) * size
        elif name == "conv_general_dilated":
            kernel = _shape(equation.invars[1])
            features = kernel[settings["dimension_numbers"].rhs_spec[0]]
            products = math.prod(kernel) // features
            total += 2 * math.prod(_shape(equation.outvars[0])) * products
        elif name == "cond":
            # Only one of the branches runs; the branches of `platform_dependent` do the same work.
            total += max(_count(branch.jaxpr) for branch in settings["branches"])
        elif name == "custom_vjp_call":
            total += _count(settings["call_jaxpr"].jaxpr)
        else:
            # How often a `while` loop runs is unknown; none of emjax's contains a product.
            times = settings["length"] if name == "scan" else 1
            total += times * sum(_count(inner) for inner in _inner(settings))
    return total


def _inner(settings: dict[str, Any]) -> list[core.Jaxpr]:
    """Returns the programs that the settings of an equation contain."""
    values = [value for value in settings.values()]
    values += [item for value in values if isinstance(value, tuple | list) for item in value]
    # Since jax 0.11, a closed program is a `Jaxpr`, too.
    return [
        value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
        for value in values
        if isinstance(value, core.ClosedJaxpr | core.Jaxpr)
    ]


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape
