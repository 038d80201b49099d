"""How much arithmetic a step needs, counted from the task's own program."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

# A backward pass differentiates each product twice. What rematerialisation computes again does not count: it is a
# cost, not work.
# Source: "PaLM: Scaling Language Modeling with Pathways" (arXiv:2204.02311), appendix B.
TRAINING_FACTOR = 3


def training_flops(loss: Callable[..., Any], *arguments: Any) -> int:
    """Returns the FLOPs of one step on all devices together: three times those of the loss.

    Args:
        loss: pure function; it is traced, not run.
        *arguments: arrays or their shapes.
    """
    return TRAINING_FACTOR * count_flops(loss, *arguments)


def count_flops(fun: Callable[..., Any], *arguments: Any) -> int:
    """Returns the FLOPs of the matrix products and convolutions of a function; all else is small beside them.

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
            # One of the branches runs; those of `platform_dependent` do the same work.
            total += max(_count(branch.jaxpr) for branch in settings["branches"])
        elif name == "custom_vjp_call":
            total += _count(settings["call_jaxpr"].jaxpr)
        else:
            # How often a `while` runs is not known; here none holds a product.
            times = settings["length"] if name == "scan" else 1
            total += times * sum(_count(inner) for inner in _inner(settings))
    return total


def _inner(settings: dict[str, Any]) -> list[core.Jaxpr]:
    """Returns the programs that an equation holds."""
    values = [value for value in settings.values()]
    values += [item for value in values if isinstance(value, tuple | list) for item in value]
    # Of jax 0.11, a closed program is a `Jaxpr`, too.
    return [
        value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
        for value in values
        if isinstance(value, core.ClosedJaxpr | core.Jaxpr)
    ]


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape
