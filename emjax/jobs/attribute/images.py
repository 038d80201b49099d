"""Which tiles of a volume are explained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.attribution.score import region_of
from emjax.blocks.complete import refuse_incomplete
from emjax.config import plain
from emjax.data.normalization import check_image, known_rule, measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.attribute.settings import Settings
from emjax.runs.spec import RunSpec, check_voxel_nm
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.pairs import lay
from emjax.volumes.roles import IMAGE_KEYS, open_ids, refuse_idle_keys
from emjax.volumes.store import open_volume

_MOST_TRIED = 20


class Tiles(NamedTuple):
    """Tiles and what is explained in each.

    Attributes:
        images: `[n, z, y, x]` float32 in [0, 1].
        regions: `[n, y, x]` bool, of the middle section.
        places: (z, y, x) of the middle section and the corner of each tile, in voxels of the input.
        voxel_nm: (z, y, x) size of a voxel, nm; (): unknown.
    """

    images: np.ndarray
    regions: np.ndarray
    places: tuple[tuple[int, int, int], ...]
    voxel_nm: tuple[float, ...] = ()


def read_tiles(settings: Settings, size: tuple[int, int, int], spec: RunSpec) -> Tiles:
    """Draws tiles that have enough voxels of the region.

    Args:
        settings: of the job.
        size: (z, y, x) voxels of a tile.
        spec: of the checkpoint: its images are scaled as those of its training, and have the same voxel size.

    Raises:
        InputError: if the voxel size is another one, the box is too small, or no tile has enough of the region.
    """
    volume = open_volume(settings.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    text = settings.shared.box
    box = Box.from_text(text, volume.size) if text else Box((0, 0, 0), volume.size)
    check_image(volume)
    rule = known_rule(plain(spec.normalization), settings.checkpoint)
    check_voxel_nm(volume.voxel_nm or (), spec.voxel_nm, settings.input, settings.checkpoint)
    refuse_incomplete(settings.input, "input", settings.shared.allow_incomplete)
    labels = None
    if settings.labels and settings.region != "all":
        refuse_incomplete(settings.labels, "labels", settings.shared.allow_incomplete)
        found = lay({"input": volume, "labels": open_ids(settings.labels, "labels")})
        found.log()
        labels = found.volumes["labels"]
        shared = box.intersect(Box(found.moved, labels.size))
        if shared is None:
            raise InputError(f"labels {settings.labels} have nothing in the box {box} of the input")
        box = shared.translate(tuple(-moved for moved in found.moved))
        volume = found.volumes["input"]
    if any(have < need for have, need in zip(box.size, size, strict=True)):
        raise InputError(
            f"{settings.input} has {box.size} voxels, a tile needs {size}; give a larger box, or a smaller tile_size"
        )
    normalization = measure(volume, rule)
    ids = LabelIds.of(labels.address) if labels is not None else None
    images, regions, places = [], [], []
    for corner in _corners(box, size, settings):
        part = Box(corner, size)
        middle = corner[0] + size[0] // 2
        region = np.ones(size[1:], bool)
        if labels is not None and ids is not None:
            raw = labels.read(Box((middle, *corner[1:]), (1, *size[1:])))[0]
            kinds = np.where(ids.unknown(raw), -1, ids.objects(raw).astype(np.int8))
            wanted = (kinds > 0) if settings.region == "foreground" else (kinds == 0)
            if wanted.sum() < settings.least_voxels:
                continue
            region = region_of(kinds[None, None], settings.region)[0, 0]
        images.append(normalization.apply(volume.read(part)).astype(np.float32) / 255)
        regions.append(region)
        places.append((middle, *corner[1:]))
        if len(images) == settings.images:
            break
    if not images:
        raise InputError(
            f"no tile of {size[1:]} pixels has {settings.least_voxels} voxels of {settings.region}: is "
            f"{settings.labels} of this image? Give another box, region or least_voxels"
        )
    return Tiles(np.stack(images), np.stack(regions), tuple(places), tuple(volume.voxel_nm or ()))


def _corners(
    box: Box, size: tuple[int, int, int], settings: Settings
) -> list[tuple[int, int, int]]:
    """Returns corners of tiles that do not overlap in their section, in an order that the seed decides."""
    z, y, x = box.start
    depth, height, width = box.size
    all_ = [
        (z + a, y + b, x + c)
        for a in range(depth - size[0] + 1)
        for b in range(0, height - size[1] + 1, size[1])
        for c in range(0, width - size[2] + 1, size[2])
    ]
    order = np.random.default_rng(settings.seed).permutation(len(all_))
    return [all_[i] for i in order[: _MOST_TRIED * settings.images]]
