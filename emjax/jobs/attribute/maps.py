"""The maps of all methods that are asked for, tile by tile."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from emjax.attribution.gradients import (
    gradient,
    input_times_gradient,
    integrated_gradients,
    smooth_gradient,
)
from emjax.attribution.guided import grad_cam
from emjax.attribution.guided import guide as guide_activation
from emjax.attribution.occlusion import occlude_patches, occlude_sections
from emjax.jobs.attribute.images import Tiles
from emjax.jobs.attribute.network import Explained, as_input, window
from emjax.jobs.attribute.settings import Settings
from emjax.models.layers import replace_activations
from emjax.parallel.compile import jit

# A network and arrays -> what it makes of them.
Method: TypeAlias = Callable[..., Any]


class Maps(NamedTuple):
    """What was found in each tile.

    Attributes:
        voxels: method -> `[n, sections, y, x]`, of either sign.
        hidden: of section occlusion, `[n, sections]`; empty where it is not asked for.
        spatial: Grad-CAM's maps `[n, y', x']`; empty where it is not asked for.
        gaps: of integrated gradients, `[n]`: by which part they fail to add up.
        swapped: maps of the gradient, `[n, sections, y, x]`, with the neighbours of the middle exchanged.
    """

    voxels: dict[str, np.ndarray]
    hidden: np.ndarray
    spatial: np.ndarray
    gaps: np.ndarray
    swapped: np.ndarray


def make_maps(settings: Settings, explained: Explained, tiles: Tiles) -> Maps:
    """Runs every method on every tile, one tile at a time, so that memory does not grow with their number."""
    part = window(explained.size[0], settings.sections)
    runs = _compiled(settings, explained)
    voxels: dict[str, list[np.ndarray]] = {}
    hidden, spatial, gaps, swapped = [], [], [], []
    slope = runs.get("gradient") or _bound(explained, _gradient)
    pairs = zip(tiles.images, tiles.regions, strict=True)
    for image, mask in tqdm(
        pairs, desc="attribute", total=len(tiles.images), disable=None, unit="tile"
    ):
        x, region = as_input(image[None]), mask[None, None]
        for name, run in runs.items():
            found = run(x, region)
            if name == "grad_cam":
                spatial.append(_middle_plane(np.asarray(found)[0]))
            elif name == "section_occlusion":
                hidden.append(np.asarray(found.score)[0, part])
            else:
                if name == "integrated_gradients":
                    gaps.append(float(found.gap[0]))
                    found = found.attribution
                voxels.setdefault(name, []).append(np.asarray(found)[0, part, :, :, 0])
        exchanged = as_input(exchange(image)[None])
        swapped.append(np.asarray(slope(exchanged, region))[0, part, :, :, 0])
        if "gradient" not in runs:
            voxels.setdefault("gradient", []).append(np.asarray(slope(x, region))[0, part, :, :, 0])
    return Maps(
        {name: np.stack(found) for name, found in voxels.items()},
        np.array(hidden),
        np.array(spatial),
        np.array(gaps),
        np.stack(swapped),
    )


def exchange(image: np.ndarray) -> np.ndarray:
    """Returns a tile with the two neighbours of its middle exchanged."""
    middle = len(image) // 2
    out = image.copy()
    out[[middle - 1, middle + 1]] = image[[middle + 1, middle - 1]]
    return out


def _compiled(settings: Settings, explained: Explained) -> dict[str, Callable[..., Any]]:
    """Returns each method as a compiled function of a tile and its region."""
    grey = explained.grey

    def guided(net: Explained, x: jax.Array, region: jax.Array) -> jax.Array:
        with replace_activations(guide_activation):
            return gradient(net.score(region), x)

    def smooth(net: Explained, x: jax.Array, region: jax.Array) -> jax.Array:
        key = jax.random.key(settings.seed)
        return smooth_gradient(
            net.score(region), x, key, settings.smooth_sigma, settings.smooth_copies
        )

    known: dict[str, Method] = {
        "gradient": _gradient,
        "input_x_gradient": lambda net, x, region: input_times_gradient(net.score(region), x, grey),
        "integrated_gradients": lambda net, x, region: integrated_gradients(
            net.score(region), x, grey, settings.ig_steps
        ),
        "smooth_gradient": smooth,
        "section_occlusion": lambda net, x, region: occlude_sections(
            net.forward, region, net.channel, x, grey
        ),
        "patch_occlusion": lambda net, x, region: occlude_patches(
            net.score(region), x, settings.patch, settings.patch_stride, grey
        ),
        "guided_backpropagation": guided,
        "grad_cam": lambda net, x, region: grad_cam(net.tapped(region), x),
    }
    return {name: _bound(explained, known[name]) for name in settings.chosen}


def _gradient(net: Explained, x: jax.Array, region: jax.Array) -> jax.Array:
    return gradient(net.score(region), x)


def _bound(explained: Explained, method: Method) -> Callable[..., Any]:
    """Compiles a method; parameters are arguments, since as constants they would be compiled, too."""
    run = jit(lambda params, *arrays: method(explained._replace(params=params), *arrays))
    return functools.partial(run, explained.params)


def _middle_plane(found: np.ndarray) -> np.ndarray:
    """Returns the section of a coarse map that holds the middle of the tile."""
    return found[len(found) // 2]


def order_forward(explained: Explained) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the compiled network as a function of numpy arrays: `[n, z, y, x]` -> the explained logits."""
    run = _bound(explained, lambda net, x: net.forward(x)[:, 0, :, :, net.channel])

    def forward(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.asarray(run(jnp.asarray(as_input(one[None])))) for one in x])

    return forward
