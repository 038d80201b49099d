"""What `predict` is going to do: configuration, checkpoint and volume, checked before anything is written."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import jax
import numpy as np

from emjax.blocks.block_size import default_block_size, fit_chunk
from emjax.blocks.output import check_apart, work_identity
from emjax.blocks.run import check_aligned
from emjax.config import plain
from emjax.data.normalization import Normalization, known_rule, measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size
from emjax.inference.tiles import Tiling
from emjax.inference.variants import Variant, make_variants
from emjax.jobs.predict.settings import Settings
from emjax.jobs.predict.voxel_size import VoxelSize, choose_voxel_size, refuse_native_affinities
from emjax.segmentation.prediction import NEAREST, parse_channels, show_channels
from emjax.tasks.build import build_segment
from emjax.train.weights import Weights, restore_params
from emjax.volumes.address import Address
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.slow import say_if_slow
from emjax.volumes.store import open_for_blocks
from emjax.volumes.volume import Volume
from emjax.volumes.write.pyramid import chunk_size

# Of `channels`: affinities between voxels that share a face, all that agglomeration asks for.
_NEAREST = "nearest"


class Plan(NamedTuple):
    """Everything that the configuration, the checkpoint and the volume decide together.

    Attributes:
        task: what predicts.
        weights: of the network.
        volume: the images.
        voxel_size: which the network sees, and which the output has.
        normalization: of the images.
        tiling: of the volume that the network sees.
        variants: of each tile.
        grid: blocks of the part of the volume that is predicted.
        chunk: (z, y, x) voxels of the output that are compressed together.
        channels: of the network's that are written.
        identity: hash of all that decides what the output holds.
        digest: hash of the weights.
    """

    task: Any
    weights: Weights
    volume: Volume
    voxel_size: VoxelSize
    normalization: Normalization
    tiling: Tiling
    variants: tuple[Variant, ...]
    grid: Grid
    chunk: Size
    channels: tuple[int, ...]
    identity: str
    digest: str

    @property
    def weights_print(self) -> dict[str, str]:
        """What tells these weights from others of the same checkpoint, for `emjax.blocks.inputs`."""
        return {"path": self.weights.source, "digest": self.digest}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the channels that are written."""
        return tuple(self.task.names[index] for index in self.channels)

    @property
    def offsets(self) -> tuple[Size | None, ...]:
        """Of the channels that are written, None for what is no affinity."""
        return tuple(self.task.offsets[index] for index in self.channels)

    @property
    def methods(self) -> tuple[str, ...]:
        """Of segmentation, that the targets of these channels name; each once."""
        named = (self.task.decoders[index] for index in self.channels)
        return tuple(dict.fromkeys(name for name in named if name))


def make_plan(settings: Settings) -> Plan:
    """Opens and checks everything that is read; writes nothing.

    Args:
        settings: of the job.

    Raises:
        InputError: if anything in it cannot work.
    """
    weights = restore_params(settings.checkpoint)
    spec = weights.spec
    task = build_segment(spec.config)
    channels = _channels(settings.channels, task)
    rule = known_rule(plain(spec.normalization), str(weights.source))
    volume = open_for_blocks(settings.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    say_if_slow(volume, parts="blocks")
    check_apart(settings.output, {"input": volume.address})
    normalization = measure(volume, rule)
    size = choose_voxel_size(
        volume, spec, settings.checkpoint, at=settings.at, resample=settings.resample
    )
    wanted = [(task.names[index], task.offsets[index]) for index in channels]
    refuse_native_affinities(settings.at, size, *zip(*wanted, strict=True))
    tile_size = _tile_size(settings, task, weights)
    variants = make_variants(settings.variants, tile_size)
    seen_nm = size.trained_nm if size.resampling else volume.voxel_nm
    if variants[-1].transpose and seen_nm and seen_nm[1] != seen_nm[2]:
        raise InputError(
            f"variants=16 exchanges y and x, which have voxels of {seen_nm[1]:g} and {seen_nm[2]:g} nm in "
            f"{settings.input}; use variants=8"
        )
    tiling = Tiling(size.seen_size, tile_size, settings.overlap, settings.blending, task.offsets)
    outer = size.outer(settings.shared.box)
    grid, chunk = _blocks(settings, tiling, outer, size)
    digest = weights_digest(weights.params)
    identity = work_identity(
        {
            "weights": digest,
            "network": spec.to_json()["config"]["model"],
            "targets": spec.config["targets"],
            "input": [str(volume.address.source), str(volume.box), volume.dtype.name, volume.size],
            "normalization": list(normalization),
            "output": str(Address(settings.output).source),
            "dtype": settings.dtype,
            "tiles": [tile_size, settings.overlap, settings.blending, settings.variants],
            "blocks": [str(outer), grid.core_size, chunk],
            "channels": channels,
            **({"resampled": size.identity} if size.identity else {}),
        }
    )
    return Plan(
        task,
        weights,
        volume,
        size,
        normalization,
        tiling,
        variants,
        grid,
        chunk,
        channels,
        identity,
        digest,
    )


def _channels(text: str, task: Any) -> tuple[int, ...]:
    """Returns which of the network's channels are written."""
    known = list(zip(task.names, task.offsets, strict=True))
    if not text:
        return tuple(range(len(known)))
    if text == _NEAREST:
        group = next((n.rpartition("affinity")[0] for n in task.names if "affinity" in n), "")
        wanted = [(f"{group}affinity", offset) for offset in NEAREST]
    else:
        wanted = list(zip(*parse_channels(text), strict=True))
    if missing := [channel for channel in wanted if channel not in known]:
        raise InputError(
            f"channels={text}: the network has no {show_channels(*zip(*missing, strict=True))}; it has "
            f"{show_channels(task.names, task.offsets)}"
        )
    return tuple(known.index(channel) for channel in wanted)


def _tile_size(settings: Settings, task: Any, weights: Weights) -> Size:
    """Returns the size of tiles, checked against the network."""
    if not settings.tile_size:
        return task.crop_size
    size = settings.tile_size
    if len(size) != 3 or any(not isinstance(n, int) or n < 1 for n in size):
        raise InputError(f"tile_size={size} needs three positive whole numbers, z, y, x voxels")
    try:
        task.backbone.check_crop(size)
    except InputError as error:
        # Tiles are what crops are in training, and named so there.
        raise InputError(str(error).replace("data.crop_size", "tile_size")) from error
    # A ViT with learned positions has as many as its crop has patches.
    resized = dataclasses.replace(task, crop_size=size)
    wanted = jax.eval_shape(resized.init, jax.random.key(0))
    same = jax.tree.map(lambda a, b: a.shape == b.shape, wanted, weights.params)
    if not all(jax.tree.leaves(same)):
        raise InputError(
            f"tile_size={size}: this network was made for crops of {task.crop_size} voxels alone; leave out tile_size"
        )
    return size


def _blocks(settings: Settings, tiling: Tiling, outer: Box, size: VoxelSize) -> tuple[Grid, Size]:
    """Returns the blocks, each a shard of the output, and the output's chunks."""
    chunk = chunk_size(outer.size, size.output_nm)
    if settings.shared.block_size:
        block_size = settings.shared.block_size
        grid = Grid(outer, block_size)
        chunk = fit_chunk(chunk, block_size)
    else:
        channels = len(tiling.offsets)
        tile = size.tile_in_output(tiling.tile_size)
        grid = Grid(outer, default_block_size(outer.size, chunk, tile, channels))
    check_aligned(grid, grid.core_size)
    return grid, chunk


def weights_digest(params: Any) -> str:
    """Returns a hash of all weights: a checkpoint that was trained again has the same path.

    Args:
        params: nested dicts of arrays.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
