"""Applies a trained network to a volume of any size."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import tensorstore as ts
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import incomplete, mark_complete
from emjax.blocks.done import DoneBlocks
from emjax.blocks.fingerprint import Fingerprint
from emjax.blocks.inputs import Inputs
from emjax.blocks.lock import FolderLock, OutputLock
from emjax.blocks.output import CONTINUE, IDENTITY, await_output, open_output, plan_output
from emjax.blocks.passes import Interrupted, Passes, goes_on
from emjax.blocks.progress import Pieces
from emjax.blocks.stopping import Stopping
from emjax.blocks.work import BlockWork, Voxels
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.inference.predictor import Predictor, default_batch_size
from emjax.jobs.predict.plan import Plan, make_plan
from emjax.jobs.predict.settings import Settings
from emjax.jobs.predict.voxel_size import NATIVE, TRAINED
from emjax.parallel.compiled_programs import use_compilation_cache
from emjax.parallel.mesh import make_mesh
from emjax.runs.folder import RESULTS_FILE, describe_changes, open_run_folder, write_results
from emjax.viewing.snapshot import IMAGE, draw_result, save_to_plots, source_address
from emjax.volumes.address import Address
from emjax.volumes.create import create_volume
from emjax.volumes.volume import Volume
from emjax.volumes.write.zarr import ZarrOutput

ON_DEVICES = True
# Parts share the folder, each with a lock of its own.
LOCKS_FOLDER = True

BLOCKS_FOLDER = "blocks"
# Seconds between looks at what the other processes of a run have done.
_POLL_S = 1.0


@goes_on
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
    settings = _as_one_of_several(Settings.from_config(config))
    shared, output, (rank, world) = settings.shared, settings.output, settings.rank_and_world
    plan = make_plan(settings)
    weights: Fingerprint = [settings.checkpoint, plan.weights_print]
    inputs = Inputs.of({"input": settings.input}, shared.allow_incomplete)
    inputs = inputs.with_print("checkpoint", weights)
    done = DoneBlocks(epath.Path(workdir) / BLOCKS_FOLDER, plan.identity)
    # Other parts wait for the first one without a lock: it makes the output when nobody works on it.
    if rank:
        inputs.check_same(workdir, shared.overwrite)
        await_output(output, done, lambda: not _begins_anew(workdir, inputs, shared.overwrite))
    what = f"predict part={settings.part}"
    with (
        FolderLock(workdir, what, (rank, world)) as folder_lock,
        OutputLock(output, what, (rank, world)) as lock,
    ):
        changed = inputs.check_same(workdir, shared.overwrite)
        finished = _is_finished(workdir)
        if not rank:
            # Everything is checked before anything is deleted.
            anew = finished or changed
            # Which part this process takes is no part of what is computed.
            claim = config.copy_and_resolve_references()
            claim.part = "0/1"
            how = plan_output(
                output,
                done,
                overwrite=shared.overwrite,
                finished=anew,
                changes=describe_changes(workdir, claim),
            )
            with contextlib.ExitStack() as alone:
                if how != CONTINUE:
                    alone.enter_context(folder_lock.without_other_parts())
                    alone.enter_context(lock.without_other_parts())
                open_run_folder(workdir, claim)

                def create() -> None:
                    # What is old is gone. Other parts begin as soon as the new output is there, and take the locks.
                    alone.close()
                    inputs.remember(workdir)
                    _create(settings, plan, done, inputs)

                if how == CONTINUE:
                    inputs.remember(workdir)
                else:
                    open_output(output, done, how, create)
        passes = Passes(num_workers=shared.num_workers, part=(rank, world))
        cores = plan.voxel_size.cores(plan.grid)
        tiles = Pieces("tile", lambda _, indices: plan.tiling.count(cores, indices))
        work = _make_work(settings, plan, tiles)
        if not passes.work_on("predict", plan.grid, work, done, pieces=tiles):
            logging.info("this part is done; blocks of other parts are not yet")
            _await_others(done, len(plan.grid))
            return 0
        if not inputs.incomplete:
            mark_complete(ZarrOutput(output))
        # What finished before keeps the figures of the time when it was done.
        if passes.voxels or not finished:
            results = passes.results() | {
                "voxels": plan.grid.outer.volume,
                "normalization_low": plan.normalization.low,
                "normalization_high": plan.normalization.high,
            }
            write_results(workdir, results)
    # Of an absolute path: a prediction that this process drew before may have been replaced.
    picture = save_to_plots(workdir, "sections.png", draw_result(Address(output).absolute()))
    print(_closing_lines(output, workdir, plan, passes, picture), flush=True)
    return 0


def _as_one_of_several(settings: Settings) -> Settings:
    """Returns the settings with the part of this process, where several processes were started as one run.

    Each has its blocks, its own devices and a copy of the network, so they need not compute together.

    Raises:
        InputError: if a part was chosen as well.
    """
    count = jax.process_count()
    if count == 1:
        return settings
    part = f"{jax.process_index()}/{count}"
    if settings.part not in ("0/1", part):
        raise InputError(
            f"part={settings.part}: this is process {part} of one run, which has a part of its own; leave out "
            f"--config.part, or start each process with --num_processes=1 and its own --config.part=I/{count}"
        )
    return dataclasses.replace(settings, part=part)


def _is_finished(workdir: str | os.PathLike[str]) -> bool:
    return (epath.Path(workdir) / RESULTS_FILE).exists()


def _begins_anew(workdir: str | os.PathLike[str], inputs: Inputs, overwrite: bool) -> bool:
    """Whether the first part has yet to replace an output that is finished, or of other inputs."""
    return (overwrite and _is_finished(workdir)) or bool(inputs.changed(workdir))


def _await_others(done: DoneBlocks, count: int) -> None:
    """Waits for all blocks, where several processes were started as one run: JAX ends them if one leaves early.

    Raises:
        Interrupted: if the process was asked to stop, as the others were.
    """
    if jax.process_count() == 1:
        return
    with Stopping() as stopping:
        while not done.mask(count).all():
            if stopping.requested:
                raise Interrupted
            time.sleep(_POLL_S)


@dataclasses.dataclass(frozen=True)
class _Predict(BlockWork):
    """Predicts a block; never leaves this process, which drives the devices."""

    plan: Plan
    predictor: Predictor
    output: ZarrOutput
    dtype: str

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output, self.plan.grid.outer.start)

    def reads(self, block: Block) -> Sequence[tuple[Volume, Box]]:
        """Returns the images under all tiles that reach into the block."""
        seen = self.predictor.reads(self._core(block))
        return ((self.plan.volume, self.plan.voxel_size.reads(seen)),)

    def compute(self, block: Block, voxels: np.ndarray) -> np.ndarray:
        """Returns the channels that are wanted, `[c, z, y, x]`."""
        core, size = self._core(block), self.plan.voxel_size
        image = size.see(self.plan.normalization.apply(voxels), self.predictor.reads(core))
        found = self.predictor(lambda _: image, core)[list(self.plan.channels)]
        return self._written(found, block)

    def _core(self, block: Block) -> Block:
        """Returns what the network predicts for a block."""
        return self.predictor.grid[block.index]

    def _written(self, found: np.ndarray, block: Block) -> np.ndarray:
        """Returns a prediction in the voxels of the output."""
        size = self.plan.voxel_size
        if size.resampling is None or size.at == TRAINED:
            return found
        native = size.resampling.back.interpolate(found, block.core)
        if self.dtype == "uint8":
            return np.rint(255 * native).astype(np.uint8)
        return native.astype(self.dtype)


def _make_work(settings: Settings, plan: Plan, tiles: Pieces) -> _Predict:
    """Puts the network on the devices of this process."""
    use_compilation_cache()
    mesh = make_mesh({"data": -1, "fsdp": 1, "spatial": 1}, devices=jax.local_devices())
    size = plan.voxel_size
    predictor = Predictor(
        plan.task.predict,
        plan.weights.params,
        plan.tiling,
        size.cores(plan.grid),
        variants=plan.variants,
        batch_size=settings.batch_size or default_batch_size(plan.tiling.tile_size, mesh),
        mesh=mesh,
        # What is interpolated is rounded once, afterwards.
        dtype="float16" if size.resampling and size.at == NATIVE else settings.dtype,
        on_tiles=tiles.done,
    )
    logging.info(
        "%d tiles of %s, %d variants, %d together; %d blocks of %s, each %.0f MiB beside the network",
        len(plan.tiling),
        plan.tiling.tile_size,
        len(plan.variants),
        predictor.batch_size,
        len(plan.grid),
        plan.grid.core_size,
        predictor.block_bytes / 2**20,
    )
    return _Predict(plan, predictor, ZarrOutput(settings.output), settings.dtype)


def _create(settings: Settings, plan: Plan, done: DoneBlocks, inputs: Inputs) -> ts.TensorStore:
    """Makes the output, which remembers what its channels are."""
    attributes = {
        "targets": list(plan.names),
        "offsets": [offset and list(offset) for offset in plan.offsets],
        "methods": list(plan.methods),
        "scale": 1 / 255 if settings.dtype == "uint8" else 1.0,
        "checkpoint": plan.weights.source,
        IMAGE: source_address(plan.volume.address),
        IDENTITY: plan.identity,
        **plan.voxel_size.attributes(settings.shared.box),
        **incomplete([] if inputs.incomplete else [(done, plan.grid)]),
    }
    return create_volume(
        settings.output,
        (len(plan.names), *plan.grid.outer.size),
        settings.dtype,
        plan.voxel_size.output_nm,
        attributes,
        chunk=plan.chunk,
        shard=plan.grid.core_size,
        # Where the part lies in the file that it is of.
        origin=plan.voxel_size.origin(plan.grid.outer),
    )


def _closing_lines(
    output: str, workdir: str | os.PathLike[str], plan: Plan, passes: Passes, picture: str
) -> str:
    """Returns what a user wants to know at the end."""
    names = plan.names
    address = Address(output)
    kinds = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    found = passes.results().get("voxels_per_s")
    rate = f", {found / 1e6:.3g} Mvoxel/s" if found else ""
    return "\n".join(
        (
            f"prediction   {address}: {kinds}; {plan.grid.outer.volume:,} voxels{rate}",
            f"results      {Path(os.fspath(workdir)) / RESULTS_FILE}",
            *([f"picture      {picture}"] if picture else []),
            f"next         python -m emjax.main --config configs/segment.py --config.input={address} "
            "--config.output=segmentation.zarr",
        )
    )
