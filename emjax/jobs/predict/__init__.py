"""Applies a trained network to a volume of any size."""

from __future__ import annotations

import dataclasses
import os
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
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import CONTINUE, IDENTITY, await_output, open_output, plan_output
from emjax.blocks.passes import Passes, goes_on
from emjax.blocks.work import BlockWork, Voxels
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.inference.predictor import Predictor, default_batch_size
from emjax.jobs.predict.plan import Plan, make_plan
from emjax.parallel import runtime
from emjax.parallel.mesh import make_mesh
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.volumes.create import create_volume
from emjax.volumes.origin import place_of
from emjax.volumes.volume import Volume
from emjax.volumes.write.zarr import ZarrOutput

ON_DEVICES = True

BLOCKS_FOLDER = "blocks"


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
    if jax.process_count() > 1:
        raise InputError(
            "processes share a prediction by its blocks, without knowing each other: start each with --num_processes=1 "
            f"and its own --config.part=I/{jax.process_count()}, all with the same --workdir"
        )
    rank, world = _part(config.part)
    plan = make_plan(config)
    weights: Fingerprint = [config.checkpoint, plan.weights_print]
    inputs = Inputs.of(config, "input").with_print("checkpoint", weights)
    changed = inputs.check_same(workdir, config.overwrite)
    done = DoneBlocks(epath.Path(workdir) / BLOCKS_FOLDER, plan.identity)
    # Other parts wait for the first one without a lock: it makes the output when nobody works on it.
    if rank:
        await_output(config.output, done, lambda: not inputs.changed(workdir))
    with OutputLock(config.output, f"predict part={config.part}", (rank, world)) as lock:
        finished = (epath.Path(workdir) / RESULTS_FILE).exists()
        if not rank:
            _open(config, workdir, plan, done, finished or changed, lock, inputs)
        passes = Passes(num_workers=config.num_workers, part=(rank, world))
        if not passes.work_on("predict", plan.grid, _make_work(config, plan), done):
            logging.info("this part is done; blocks of other parts are not yet")
            return 0
        if not inputs.incomplete:
            mark_complete(ZarrOutput(config.output))
        # What finished before keeps the figures of the time when it was done.
        if passes.voxels or not finished:
            results = passes.results() | {
                "voxels": plan.grid.outer.volume,
                "normalization_low": plan.normalization.low,
                "normalization_high": plan.normalization.high,
            }
            write_results(workdir, results)
    print(_closing_lines(config, workdir, plan, passes), flush=True)
    return 0


@dataclasses.dataclass(frozen=True)
class _Predict(BlockWork):
    """Predicts a block; never leaves this process, which drives the devices."""

    plan: Plan
    predictor: Predictor
    output: ZarrOutput

    @property
    def sink(self) -> Voxels:
        """See `BlockWork`."""
        return Voxels(self.output, self.plan.grid.outer.start)

    def reads(self, block: Block) -> Sequence[tuple[Volume, Box]]:
        """Returns the images under all tiles that reach into the block."""
        return ((self.plan.volume, self.predictor.reads(block)),)

    def compute(self, block: Block, voxels: np.ndarray) -> np.ndarray:
        """Returns the channels that are wanted, `[c, z, y, x]`."""
        image = self.plan.normalization.apply(voxels)
        return self.predictor(lambda _: image, block)[list(self.plan.channels)]


def _make_work(config: ConfigDict, plan: Plan) -> _Predict:
    """Puts the network on the devices of this process."""
    runtime.use_compilation_cache()
    mesh = make_mesh({"data": -1, "fsdp": 1, "spatial": 1}, devices=jax.local_devices())
    predictor = Predictor(
        plan.task.predict,
        plan.weights.params,
        plan.tiling,
        plan.grid,
        variants=plan.variants,
        batch_size=config.batch_size or default_batch_size(plan.tiling.tile_size, mesh),
        mesh=mesh,
        dtype=config.dtype,
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
    return _Predict(plan, predictor, ZarrOutput(config.output))


def _open(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    plan: Plan,
    done: DoneBlocks,
    finished: bool,
    lock: OutputLock,
    inputs: Inputs,
) -> None:
    """Makes the output or goes on with it; everything is checked before anything is deleted."""
    how = plan_output(config.output, done, overwrite=config.overwrite, finished=finished)
    # Which part this process takes is no part of what is computed.
    shared = config.copy_and_resolve_references()
    shared.part = "0/1"
    attributes = {
        "targets": list(plan.names),
        "offsets": [offset and list(offset) for offset in plan.offsets],
        "methods": list(plan.methods),
        "scale": 1 / 255 if config.dtype == "uint8" else 1.0,
        "checkpoint": plan.weights.source,
        IDENTITY: plan.identity,
        **incomplete([] if inputs.incomplete else [(done, plan.grid)]),
    }

    def create() -> ts.TensorStore:
        return create_volume(
            config.output,
            (len(plan.names), *plan.grid.outer.size),
            config.dtype,
            plan.volume.voxel_nm,
            attributes,
            chunk=plan.chunk,
            shard=plan.grid.core_size,
            # Where the part lies in the file that it is of.
            origin=place_of(plan.volume, plan.grid.outer),
        )

    if how == CONTINUE:
        open_run_folder(workdir, shared)
        inputs.remember(workdir)
        return
    with lock.without_other_parts():
        open_run_folder(workdir, shared)
        done.clear()
        open_output(config.output, done, how, create)
        # Other parts wait for this.
        inputs.remember(workdir)


def _part(text: str) -> tuple[int, int]:
    """Reads `I/N`."""
    first, _, last = text.partition("/")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise InputError(f"part={text} must be I/N with I from 0 to N - 1, as in part=0/4")
    return int(first), int(last)


def _closing_lines(
    config: ConfigDict, workdir: str | os.PathLike[str], plan: Plan, passes: Passes
) -> str:
    """Returns what a user wants to know at the end."""
    names = plan.names
    kinds = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    found = passes.results().get("voxels_per_s")
    rate = f", {found / 1e6:.3g} Mvoxel/s" if found else ""
    return "\n".join(
        (
            f"prediction   {config.output}: {kinds}; {plan.grid.outer.volume:,} voxels{rate}",
            f"results      {Path(os.fspath(workdir)) / RESULTS_FILE}",
            f"next         python -m emjax.main --config configs/segment.py --config.input={config.output} "
            "--config.output=segmentation.zarr",
        )
    )
