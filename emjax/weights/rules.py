"""What of a file of weights becomes which parameter, and the check that nothing is left out on either side."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from emjax.errors import InputError
from emjax.weights.arrays import Arrays

_MOST_NAMED = 6


@dataclasses.dataclass(frozen=True)
class Rule:
    """How one kind of parameter is made.

    Attributes:
        parameter: regular expression of the whole path of such parameters in the network, its names joined by '/'.
        sources: names of arrays in the file, in which `{0}` is the first group of the match, `{layer}` the layer.
        make: makes the parameter of those arrays.
        stacked: whether the parameter's first axis counts layers, for each of which the file has arrays of its own.
    """

    parameter: str
    sources: tuple[str, ...]
    make: Callable[..., np.ndarray]
    stacked: bool = False


@dataclasses.dataclass(frozen=True)
class Filled:
    """Parameters made of a file.

    Attributes:
        params: path -> array.
        sources: path -> the names that it was made of.
        unused: names of arrays of the file that nothing was made of.
    """

    params: Mapping[str, np.ndarray]
    sources: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...]


def fill(
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Arrays,
    rules: Sequence[Rule],
    prefix: str = "",
) -> Filled:
    """Makes every parameter of a network from a file.

    Args:
        shapes: path -> shape of the parameters that must be filled.
        arrays: of the file.
        rules: the first whose expression matches counts.
        prefix: what stands before the names in the file.

    Raises:
        InputError: if a parameter has no rule, an array is not there, or has another shape than is needed; names the
            first of them, and how many there are.
    """
    params, used_by, wrong = {}, {}, []
    for path, shape in shapes.items():
        made = _sources(path, shape, rules)
        if made is None:
            wrong.append(f"{path} {shape} (no rule for it)")
            continue
        rule, layers = made
        names = [[prefix + name for name in layer] for layer in layers]
        missing = [name for layer in names for name in layer if name not in arrays]
        if missing:
            wrong.append(f"{path} {shape} (the file has no {missing[0]})")
            continue
        try:
            parts = [rule.make(*(arrays[name] for name in layer)) for layer in names]
        except InputError:
            raise
        except (ValueError, IndexError) as error:
            wrong.append(f"{path} {shape} (of {names[0][0]}: {error})")
            continue
        value = np.stack(parts) if rule.stacked else parts[0]
        if value.shape != tuple(shape):
            there = tuple(arrays.shape(names[0][0]))
            wrong.append(f"{path} {tuple(shape)} (of {names[0][0]} {there}: {value.shape})")
            continue
        params[path] = np.ascontiguousarray(value, np.float32)
        used_by[path] = tuple(name for layer in names for name in layer)
    if wrong:
        more = f", and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        raise InputError(
            f"{arrays.source} does not fit: {'; '.join(wrong[:_MOST_NAMED])}{more}; give the family and the "
            "fields of the network that it is of"
        )
    used = {name for names in used_by.values() for name in names}
    return Filled(params, used_by, tuple(name for name in arrays if name not in used))


def _sources(
    path: str, shape: tuple[int, ...], rules: Sequence[Rule]
) -> tuple[Rule, list[list[str]]] | None:
    """Returns the rule of a parameter, and for each layer the names that it is made of."""
    for rule in rules:
        match = re.fullmatch(rule.parameter, path)
        if match:
            layers = range(shape[0]) if rule.stacked else range(1)
            groups = match.groups()
            return rule, [[n.format(*groups, layer=i) for n in rule.sources] for i in layers]
    return None


def as_is(array: np.ndarray) -> np.ndarray:
    """Returns an array as it is."""
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """Returns the kernel `[i, o]` of a dense layer that torch has as `[o, i]`."""
    if array.ndim != 2:
        raise ValueError(f"shape {array.shape} is no matrix")
    return array.T


def plane_kernel(array: np.ndarray) -> np.ndarray:
    """Returns the kernel `[y, x, i, o]` of a convolution that torch has as `[o, i, y, x]`."""
    if array.ndim != 4:
        raise ValueError(f"shape {array.shape} is no kernel in two dimensions")
    return array.transpose(2, 3, 1, 0)


def norm_scale(epsilon: float) -> Callable[..., np.ndarray]:
    """Returns the factor that a batch normalization is at inference, of its weight and variance."""

    def make(weight: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return weight / np.sqrt(variance.astype(np.float64) + epsilon)

    return make


def norm_bias(epsilon: float) -> Callable[..., np.ndarray]:
    """Returns the shift that a batch normalization is at inference, of weight, bias, mean and variance."""

    def make(
        weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> np.ndarray:
        return bias - mean * weight / np.sqrt(variance.astype(np.float64) + epsilon)

    return make
