"""Makes networks from published weights: the encoder, or all parts, come from a file; the rest is initialized."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emjax.models.backbone import Backbone
from emjax.models.build import Params, build_backbone, init_params
from emjax.parallel.compile import jit
from emjax.weights.arrays import Arrays
from emjax.weights.families.family import Family
from emjax.weights.families.find import FAMILIES, find_family, shapes_of
from emjax.weights.rules import Filled, fill


class Published(NamedTuple):
    """A network, and those of its parameters that come from a file.

    Attributes:
        family: the family of networks that the file belongs to.
        model: the network's fields, including `name`, as a configuration has them.
        params: nested dicts of float32 arrays, for the parts that the family has.
        filled: which parameter was made from which array, and which arrays were not used.
        unexpected: the unused arrays that files of this family normally do not have.
    """

    family: str
    model: dict[str, Any]
    params: Params
    filled: Filled
    unexpected: tuple[str, ...]


def load_published(arrays: Arrays, fields: Mapping[str, Any], family: str = "") -> Published:
    """Makes the parts of a network that a file of published weights contains.

    Args:
        arrays: arrays of the file.
        fields: fields of the network, before those that follow from the file: `slices`, `stem_fill` and others.
        family: family that the file belongs to; '': found by the names of its arrays.

    Raises:
        InputError: if the family cannot be found, the fields do not fit together, or the file does not fit them.
    """
    name, prefix = find_family(arrays, family)
    known: Family = FAMILIES.find(name)
    shapes = shapes_of(arrays, prefix)
    model = {"name": known.network, **known.describe(shapes), **fields}
    backbone = build_backbone(model)
    needed = _shapes(backbone, known.parts)
    filled = fill(needed, arrays, known.rules(_fields(backbone), shapes), prefix)
    unexpected = tuple(
        unused
        for unused in filled.unused
        if not any(re.fullmatch(p, unused.removeprefix(prefix)) for p in known.expected)
    )
    return Published(name, model, _nested(filled.params), filled, unexpected)


def begin_rest_anew(published: Published, key: jax.Array) -> Params:
    """Returns all parameters of the network: those of the file, and newly initialized ones for decoder and head.

    Args:
        published: made by `load_published`.
        key: typed PRNG key.
    """
    backbone = build_backbone(published.model)

    def draw(key: jax.Array) -> Params:
        params = init_params(backbone, key, _smallest(backbone))
        return {name: part for name, part in params.items() if name not in published.params}

    return {**jit(draw)(key), **published.params}


def _fields(backbone: Backbone) -> dict[str, Any]:
    """Returns all fields of a network, including those with defaults."""
    return {f.name: getattr(backbone, f.name) for f in dataclasses.fields(backbone)}


def _smallest(backbone: Backbone) -> jax.ShapeDtypeStruct:
    """Returns the shape of the smallest possible input."""
    return jax.ShapeDtypeStruct((1, *backbone.footprint.stride, 1), jnp.float32)


def _shapes(backbone: Backbone, parts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Returns path -> shape for the parameters of some parts."""
    tree = jax.eval_shape(
        lambda key: init_params(backbone, key, _smallest(backbone)), jax.random.key(0)
    )
    paths = {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    return {path: shape for path, shape in paths.items() if path.startswith(parts)}


def _nested(flat: Mapping[str, Any]) -> Params:
    """Returns nested dicts from path -> array."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        at = tree
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = value
    return tree
