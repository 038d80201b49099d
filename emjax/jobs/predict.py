"""The job `predict`: a checkpoint and a volume of any size, to what the network says at every voxel."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tensorstore as ts
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.config import nearest
from emjax.data.normalization import RULE, Normalization, measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.inference.block_size import default_block_size, fit_chunk
from emjax.inference.blockwise import Summary, check_aligned, run_blocks
from emjax.inference.done_blocks import DoneBlocks
from emjax.inference.lock import OutputLock
from emjax.inference.output import (
    CONTINUE,
    IDENTITY,
    await_output,
    check_apart,
    open_output,
    plan_output,
    work_identity,
)
from emjax.inference.predictor import DTYPES, Predictor, default_batch_size
from emjax.inference.stopping import PREEMPTED
from emjax.inference.tiles import Tiling
from emjax.inference.variants import Variant, make_variants
from emjax.parallel import runtime
from emjax.parallel.mesh import make_mesh
from emjax.tasks.build import build_segment
from emjax.train.run_folder import RESULTS_FILE, open_run_folder, write_results
from emjax.train.run_spec import check_voxel_nm
from emjax.train.weights import Weights, restore_params
from emjax.volume_config import validate_volume_config
from emjax.volumes.address import Address
from emjax.volumes.create import chunk_size, create_volume
from emjax.volumes.slow import say_if_slow
from emjax.volumes.store import Volume, open_volume

BLOCKS_FOLDER = "blocks"


class _Work(NamedTuple):
    """Everything that the configuration, the checkpoint and the volume decide together.

    Attributes:
        task: what predicts.
        weights: of the network.
        volume: the images.
        normalization: of the images.
        tiling: of the volume.
        variants: of each tile.
        grid: blocks of the part of the volume that is predicted.
        chunk: (z, y, x) voxels of the output that are compressed together.
        identity: hash of all that decides what the output holds.
    """

    task: Any
    weights: Weights
    volume: Volume
    normalization: Normalization
    tiling: Tiling
    variants: tuple[Variant, ...]
    grid: Grid
    chunk: tuple[int, int, int]
    identity: str


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Predicts a volume as configured, and writes `results.json` to `workdir`.

    Args:
        config: as made by `configs/predict.py`.
        workdir: folder that remembers which blocks are done.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration, the checkpoint, the volume or the output cannot work, before anything is
            compiled; if a prediction is not finite, or blocks could not be read or written.
    """
    if jax.process_count() > 1:
        raise InputError(
            "processes share a prediction by its blocks, without knowing each other: start each with --num_processes=1 "
            f"and its own --config.part=I/{jax.process_count()}, all with the same --workdir"
        )
    rank, world = _part(config.part)
    work = _prepare(config)
    done = DoneBlocks(epath.Path(workdir) / BLOCKS_FOLDER, work.identity)
    # Other parts wait for the first one without a lock: it makes the output when nobody works on it.
    store = await_output(config.output, done) if rank else None
    with OutputLock(config.output, f"predict part={config.part}", (rank, world)) as lock:
        finished = (epath.Path(workdir) / RESULTS_FILE).exists()
        if store is None:
            store = _open(config, workdir, work, done, finished, lock)
        summary = _predict(config, work, store, done, rank, world)
        summary.check(work.grid)
        if summary.stopped:
            logging.info("interrupted; the same command goes on with the blocks that are not done")
            return PREEMPTED
        if not summary.complete:
            logging.info("this part is done; blocks of other parts are not yet")
            return 0
        # What finished before keeps the figures of the time when it was done.
        if summary.voxels or not finished:
            results = summary.results() | {
                "voxels": work.grid.outer.volume,
                "normalization_low": work.normalization.low,
                "normalization_high": work.normalization.high,
            }
            write_results(workdir, results)
    print(_closing_lines(config, workdir, work, summary), flush=True)
    return 0


def _predict(
    config: ConfigDict,
    work: _Work,
    store: ts.TensorStore,
    done: DoneBlocks,
    rank: int,
    world: int,
) -> Summary:
    """Works on this process's blocks."""
    runtime.use_compilation_cache()
    mesh = make_mesh({"data": -1, "fsdp": 1, "spatial": 1}, devices=jax.local_devices())
    predictor = Predictor(
        work.task.predict,
        work.weights.params,
        work.tiling,
        work.grid,
        variants=work.variants,
        batch_size=config.batch_size or default_batch_size(work.tiling.tile_size, mesh),
        mesh=mesh,
        dtype=config.dtype,
    )
    logging.info(
        "%d tiles of %s, %d variants, %d together; %d blocks of %s, each %.0f MiB beside the network",
        len(work.tiling),
        work.tiling.tile_size,
        len(work.variants),
        predictor.batch_size,
        len(work.grid),
        work.grid.core_size,
        predictor.block_bytes / 2**20,
    )

    def read(box: Box) -> np.ndarray:
        return work.normalization.apply(work.volume.read(box))

    origin = tuple(-o for o in work.grid.outer.start)

    def predict_block(block: Block) -> None:
        prediction = predictor(read, block)
        # Returns once the shard is on disk.
        store[(slice(None), *block.core.translate(origin).slices)].write(prediction).result()

    return run_blocks(
        work.grid,
        predict_block,
        done,
        what="predict",
        num_workers=config.num_workers,
        rank=rank,
        world=world,
    )


def _prepare(config: ConfigDict) -> _Work:
    """Opens and checks everything that is read."""
    validate_volume_config(config, ("checkpoint", "input", "output"))
    if config.cluster:
        raise InputError(
            f"cluster={config.cluster}: accelerators share the blocks, without a scheduler; leave it out, "
            "and start N processes, each with its own --config.part=I/N, I from 0 to N - 1, and all with one --workdir"
        )
    if len(config.halo):
        raise InputError(
            f"halo={tuple(config.halo)}: prediction reads what its tiles need; leave it out, and set overlap"
        )
    if config.dtype not in DTYPES:
        raise InputError(f"dtype='{config.dtype}' is unknown{nearest(config.dtype, DTYPES)}")
    if config.batch_size < 0:
        raise InputError(f"batch_size={config.batch_size} must be 0 or more tiles")
    weights = restore_params(config.checkpoint)
    spec = weights.spec
    task = build_segment(spec.config)
    if dict(spec.normalization) != RULE:
        raise InputError(
            f"{weights.source} was trained with images scaled by {dict(spec.normalization)}; this version has {RULE}"
        )
    volume = open_volume(config.input)
    say_if_slow(volume)
    check_apart(config.output, volume.address)
    normalization = measure(volume)
    check_voxel_nm(volume.voxel_nm or (), spec.voxel_nm, config.input, config.checkpoint)
    if volume.voxel_nm is None or not spec.voxel_nm:
        unknown = config.input if volume.voxel_nm is None else config.checkpoint
        logging.warning(
            "the voxel size of %s is unknown: make sure that it is that of the training", unknown
        )
    tile_size = _tile_size(config, task, weights)
    variants = make_variants(config.variants, tile_size)
    if variants[-1].transpose and volume.voxel_nm and volume.voxel_nm[1] != volume.voxel_nm[2]:
        raise InputError(
            f"variants=16 exchanges y and x, which have voxels of {volume.voxel_nm[1]:g} and {volume.voxel_nm[2]:g} nm "
            f"in {config.input}; use variants=8"
        )
    tiling = Tiling(volume.size, tile_size, config.overlap, config.blending, task.offsets)
    outer = Box((0, 0, 0), volume.size)
    if config.box:
        outer = Box.from_text(config.box, volume.size)
    grid, chunk = _blocks(config, tiling, outer, volume)
    identity = work_identity(
        {
            "weights": _digest(weights.params),
            "network": spec.to_json()["config"]["model"],
            "targets": spec.config["targets"],
            "input": [str(volume.address.source), str(volume.box), volume.dtype.name, volume.size],
            "normalization": list(normalization),
            "output": str(Address(config.output).source),
            "dtype": config.dtype,
            "tiles": [tile_size, config.overlap, config.blending, config.variants],
            "blocks": [str(outer), grid.core_size, chunk],
        }
    )
    return _Work(task, weights, volume, normalization, tiling, variants, grid, chunk, identity)


def _open(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    work: _Work,
    done: DoneBlocks,
    finished: bool,
    lock: OutputLock,
) -> ts.TensorStore:
    """Makes the output or goes on with it; everything is checked before anything is deleted."""
    plan = plan_output(config.output, done, overwrite=config.overwrite, finished=finished)
    # Which part this process takes is no part of what is computed.
    shared = config.copy_and_resolve_references()
    shared.part = "0/1"
    attributes = {
        "targets": list(work.task.names),
        "offsets": [offset and list(offset) for offset in work.task.offsets],
        "scale": 1 / 255 if config.dtype == "uint8" else 1.0,
        "checkpoint": work.weights.source,
        IDENTITY: work.identity,
    }

    def create() -> ts.TensorStore:
        return create_volume(
            config.output,
            (len(work.task.names), *work.grid.outer.size),
            config.dtype,
            work.volume.voxel_nm,
            attributes,
            chunk=work.chunk,
            shard=work.grid.core_size,
            # Where the part lies in the file that it is of.
            origin=work.grid.outer.translate(work.volume.box.start).start,
        )

    if plan == CONTINUE:
        open_run_folder(workdir, shared)
        return open_output(config.output, done, plan, create)
    with lock.without_other_parts():
        open_run_folder(workdir, shared)
        return open_output(config.output, done, plan, create)


def _tile_size(config: ConfigDict, task: Any, weights: Weights) -> tuple[int, int, int]:
    """Returns the size of tiles, checked against the network."""
    if not len(config.tile_size):
        return task.crop_size
    size = tuple(config.tile_size)
    if len(size) != 3 or any(not isinstance(n, int) or n < 1 for n in size):
        raise InputError(f"tile_size={size} needs three positive whole numbers, z, y, x voxels")
    task.backbone.check_crop(size)
    # A ViT with learned positions has as many as its crop has patches.
    resized = dataclasses.replace(task, crop_size=size)
    wanted = jax.eval_shape(resized.init, jax.random.key(0))
    same = jax.tree.map(lambda a, b: a.shape == b.shape, wanted, weights.params)
    if not all(jax.tree.leaves(same)):
        raise InputError(
            f"tile_size={size}: this network was made for crops of {task.crop_size} voxels alone; leave out tile_size"
        )
    return size


def _blocks(
    config: ConfigDict, tiling: Tiling, outer: Box, volume: Volume
) -> tuple[Grid, tuple[int, int, int]]:
    """Returns the blocks, each a shard of the output, and the output's chunks."""
    chunk = chunk_size(outer.size, volume.voxel_nm)
    if len(config.block_size):
        size = tuple(config.block_size)
        grid = Grid(outer, size)
        chunk = fit_chunk(chunk, size)
    else:
        channels = len(tiling.offsets)
        grid = Grid(outer, default_block_size(outer.size, chunk, tiling.tile_size, channels))
    check_aligned(grid, grid.core_size)
    return grid, chunk


def _part(text: str) -> tuple[int, int]:
    """Reads `I/N`."""
    first, _, last = text.partition("/")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise InputError(f"part={text} must be I/N with I from 0 to N - 1, as in part=0/4")
    return int(first), int(last)


def _digest(params: Any) -> str:
    """Returns a hash of all weights: a checkpoint that was trained again has the same path."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _closing_lines(
    config: ConfigDict, workdir: str | os.PathLike[str], work: _Work, summary: Summary
) -> str:
    """Returns what a user wants to know at the end."""
    names = work.task.names
    kinds = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    rate = f", {summary.voxels / summary.seconds / 1e6:.3g} Mvoxel/s" if summary.voxels else ""
    return "\n".join(
        (
            f"prediction   {config.output}: {kinds}; {work.grid.outer.volume:,} voxels{rate}",
            f"results      {Path(os.fspath(workdir)) / RESULTS_FILE}",
            f"next         python -m emjax.main --config configs/segment.py --config.input={config.output} "
            "--config.output=segmentation.zarr",
        )
    )
