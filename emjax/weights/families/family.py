"""One way in which weights of a network are published, and the rules that such families have in common."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from emjax.weights.inflate import inflate
from emjax.weights.rules import Rule, as_is, norm_bias, norm_scale, plane_kernel, transposed

Model: TypeAlias = dict[str, Any]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Family:
    """One way in which weights of a network are published.

    Attributes:
        network: `model.name` of the network.
        first: the name of the first kernel, by which the names' prefix is found.
        marks: expressions of names, without the prefix, that all of the family have and no other family has.
        describe: fields of the network that follow from the file: name -> shape, without the prefix.
        rules: of the network, given all its fields, and the shapes.
        expected: expressions of names that such files have for another purpose than features.
        parts: of the network that the file has; the others begin anew.
        epsilon: what its batch normalizations add to a variance.
    """

    network: str
    first: str
    marks: tuple[str, ...]
    describe: Callable[[Shapes], Model]
    rules: Callable[[Mapping[str, Any], Shapes], tuple[Rule, ...]]
    expected: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("stem", "encoder", "centre")
    epsilon: float = 1e-5


def stem_kernel(model: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what lays a first kernel onto sections, as the network's fields say."""

    def make(array: np.ndarray) -> np.ndarray:
        kernel = plane_kernel(array)
        return inflate(
            kernel,
            model["slices"],
            model["stem_fill"],
            model["stem_scale"],
            colour=kernel.shape[2] == 3,
        )

    return make


def deep_kernel(model: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what gives a later kernel its depth; one of a single pixel stays flat."""

    def make(array: np.ndarray) -> np.ndarray:
        kernel = plane_kernel(array)
        depth = model["kernel_depth"] if kernel.shape[0] > 1 else 1
        return inflate(kernel, depth, model["kernel_fill"], colour=False)

    return make


def flat_kernel(array: np.ndarray) -> np.ndarray:
    """Returns a kernel that stays flat."""
    return plane_kernel(array)[None]


def batch_norm(parameter: str, source: str, epsilon: float) -> tuple[Rule, Rule]:
    """Returns the rules of a batch normalization at inference."""
    weight, bias, mean, variance = (
        f"{source}.{part}" for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (
        Rule(f"{parameter}/scale", (weight, variance), norm_scale(epsilon)),
        Rule(f"{parameter}/bias", (weight, bias, mean, variance), norm_bias(epsilon)),
    )


def layer_norm(parameter: str, source: str, stacked: bool = False) -> tuple[Rule, Rule]:
    """Returns the rules of a layer normalization."""
    return (
        Rule(f"{parameter}/scale", (f"{source}.weight",), as_is, stacked),
        Rule(f"{parameter}/bias", (f"{source}.bias",), as_is, stacked),
    )


def dense(parameter: str, source: str, stacked: bool = False) -> tuple[Rule, Rule]:
    """Returns the rules of a dense layer."""
    return (
        Rule(f"{parameter}/kernel", (f"{source}.weight",), transposed, stacked),
        Rule(f"{parameter}/bias", (f"{source}.bias",), as_is, stacked),
    )


def count(names: Iterable[str], pattern: str) -> int:
    """Returns one more than the largest number that a group of names has."""
    found = [re.fullmatch(pattern, name) for name in names]
    return max((int(match[1]) for match in found if match), default=-1) + 1
