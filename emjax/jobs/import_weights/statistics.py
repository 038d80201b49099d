"""Statistics of imported normalizations, taken again on volumes that the network is meant for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from emjax.blocks.complete import refuse_incomplete
from emjax.data.normalization import check_image, measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.import_weights.settings import Refit
from emjax.models.build import Params, build_backbone
from emjax.models.encoder_decoder import EncoderDecoder
from emjax.models.published import Published
from emjax.models.refit import learnt_norms, refit
from emjax.volumes.address import parse_volumes
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume
from emjax.weights.arrays import Arrays
from emjax.weights.families.find import FAMILIES

_SIDE, _BATCH = 128, 2


def read_images(published: Published, arrays: Arrays, given: Refit, seed: int) -> list[np.ndarray]:
    """Reads the batches of crops on which a network's statistics are taken.

    Args:
        published: the network.
        arrays: the file that it was made of.
        given: the volumes, and how many batches of two crops are drawn of them.
        seed: of the crops.

    Returns:
        Batches `[2, z, y, x, 1]` in [0, 1].

    Raises:
        InputError: if the network has no such normalizations, or a volume cannot be used.
    """
    backbone = build_backbone(published.model)
    if not learnt_norms(published, arrays) or not isinstance(backbone, EncoderDecoder):
        raise InputError(
            f"refit.volumes: a network of the family '{published.family}' has no batch normalizations of photographs; "
            "leave it out"
        )
    stride = backbone.footprint.stride
    side = max(_SIDE // stride[1], 1) * stride[1]
    depth = -(-backbone.slices // stride[0]) * stride[0]
    crops = draw_crops(given.volumes, (depth, side, side), given.passes * _BATCH, seed)
    return [np.stack(group)[..., None] for group in zip(*[crops] * _BATCH, strict=True)]


def refit_on(
    published: Published, arrays: Arrays, params: Params, images: Sequence[np.ndarray]
) -> Params:
    """Returns the parameters of a network with the statistics of images in the place of those of photographs.

    Args:
        published: the network.
        arrays: the file that it was made of.
        params: all its parameters.
        images: as of `read_images`.
    """
    backbone, learnt = build_backbone(published.model), learnt_norms(published, arrays)
    epsilon = FAMILIES.find(published.family).epsilon
    return refit(backbone, params, learnt, map(jnp.asarray, images), epsilon)


def draw_crops(
    text: str, size: tuple[int, int, int], count: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields crops from anywhere in the volumes, each volume as often as the others, scaled as networks see them.

    Args:
        text: addresses of images, separated by ';'.
        size: (z, y, x) voxels of a crop.
        count: of crops.
        seed: of their places.

    Yields:
        `[z, y, x]` float32 in [0, 1].

    Raises:
        InputError: if there is no address, or a volume is no image, not complete, or smaller than a crop.
    """
    volumes = _open_images(text)
    scales = []
    for volume in volumes:
        check_image(volume)
        if any(have < need for have, need in zip(volume.size, size, strict=True)):
            raise InputError(
                f"refit.volumes: {volume.address} has {volume.size} voxels, and a crop needs {size}"
            )
        scales.append(measure(volume))
    rng = np.random.default_rng(seed)
    for number in range(count):
        volume, scale = volumes[number % len(volumes)], scales[number % len(volumes)]
        room = [have - need + 1 for have, need in zip(volume.size, size, strict=True)]
        z, y, x = (int(start) for start in rng.integers(0, room))
        yield scale.apply(volume.read(Box((z, y, x), size))).astype(np.float32) / 255


def _open_images(text: str) -> list[Volume]:
    """Opens the volumes of `refit.volumes`.

    Raises:
        InputError: if there is none, one has labels, or one is not complete: what is missing reads as 0.
    """
    entries = parse_volumes(text)
    if not entries:
        raise InputError("refit.volumes names no volume; give addresses, separated by ';'")
    for entry in entries:
        if entry.all_labels or entry.mask:
            raise InputError(
                f"refit.volumes: '{entry}' has labels, and only images are read; leave them out"
            )
        refuse_idle_keys(entry.image, "refit.volumes:", IMAGE_KEYS)
        refuse_incomplete(entry.image, "refit.volumes:", hint=False)
    return [open_volume(entry.image) for entry in entries]
