"""The network that is explained, and which number of its answer."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emjax.attribution.guided import Tapped
from emjax.attribution.score import Score, make_score
from emjax.config import nearest, plain
from emjax.errors import InputError
from emjax.jobs.attribute.settings import Settings
from emjax.models.backbone import Backbone
from emjax.models.build import Params, build_backbone
from emjax.models.middle import apply_middle, is_flat, open_centre
from emjax.tasks.build import build_segment
from emjax.train.weights import Weights


class Explained(NamedTuple):
    """A network and a channel.

    Attributes:
        backbone: the network.
        params: its parameters.
        channel: number of the channel.
        title: name of the channel.
        size: (z, y, x) voxels of a tile; z may be more than the sections that are measured.
        grey: grey value that stands for nothing to be seen, in [0, 1].
    """

    backbone: Backbone
    params: Params
    channel: int
    title: str
    size: tuple[int, int, int]
    grey: float

    def forward(self, x: jax.Array) -> jax.Array:
        """Returns the logits of the middle section, `[b, 1, y, x, k]`."""
        return apply_middle(self.backbone, self.params, x)

    def score(self, region: jax.Array) -> Score:
        """Returns the score over a region of the middle section, `[b, 1, y, x]`."""
        return make_score(self.forward, region, self.channel)

    def tapped(self, region: jax.Array) -> Tapped:
        """Returns the network with its deepest features laid open, for Grad-CAM."""

        def run(x: jax.Array, added: jax.Array) -> tuple[jax.Array, jax.Array]:
            with open_centre(added) as seen:
                scores = self.score(region)(x)
            return scores, seen[0]

        return run


def make_explained(settings: Settings, weights: Weights) -> Explained:
    """Builds the network of a checkpoint.

    Args:
        settings: of the job.
        weights: of the checkpoint.

    Raises:
        InputError: if the channel does not exist, or the network cannot run on such tiles.
    """
    config = plain(weights.spec.config)
    if config.get("targets"):
        task = build_segment(config)
        backbone, names = task.backbone, tuple(task.names)
    else:
        backbone = build_backbone(config["model"])
        names = tuple(str(number) for number in range(backbone.out_channels))
    channel = _channel(settings.channel, names)
    crop = tuple((config.get("data") or {}).get("crop_size") or ())
    stride = backbone.footprint.stride
    tile = settings.tile_size or crop[1:] or tuple(max(64 // s, 1) * s for s in stride[1:])
    if is_flat(backbone):
        depth = max(settings.sections, getattr(backbone, "slices", 1))
    else:
        # Sections enough for the middle one and its neighbours, and a multiple of what the network needs.
        least = settings.sections + 1 - stride[0] % 2
        depth = max(-(-least // stride[0]) * stride[0], crop[0] if crop else 0)
    size = (depth, int(tile[0]), int(tile[1]))
    backbone.check_crop((stride[0], *size[1:]) if is_flat(backbone) else size)
    grey = float(getattr(backbone, "input_mean", 0.5))
    return Explained(
        backbone,
        jax.tree.map(jnp.asarray, weights.params["backbone"]),
        channel,
        names[channel],
        size,
        grey,
    )


def _channel(given: str, names: tuple[str, ...]) -> int:
    if not given:
        return 0
    if given in names:
        return names.index(given)
    if given.isdigit() and int(given) < len(names):
        return int(given)
    raise InputError(
        f"channel='{given}' does not exist{nearest(given, names)}; or give its number, 0 to {len(names) - 1}"
    )


def window(size: int, sections: int) -> slice:
    """Returns which sections of a tile are measured: those around its middle."""
    middle = size // 2
    return slice(middle - sections // 2, middle + sections // 2 + 1)


def as_input(x: np.ndarray) -> np.ndarray:
    """Returns `[b, z, y, x, 1]` of `[b, z, y, x]`."""
    return np.ascontiguousarray(x[..., None], np.float32)
