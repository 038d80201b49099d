"""Copies a volume of any format to another: OME-Zarr with a pyramid, precomputed, HDF5, TIFF, sections."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import tensorstore as ts
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import incomplete, mark_complete
from emjax.blocks.done import DoneBlocks
from emjax.blocks.inputs import Inputs
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import CONTINUE, open_output, plan_output
from emjax.blocks.passes import Passes, goes_on
from emjax.errors import InputError
from emjax.jobs.convert.plan import Plan, make_plan
from emjax.jobs.convert.settings import Settings
from emjax.runs.folder import RESULTS_FILE, describe_changes, open_run_folder, write_results

BLOCKS_FOLDER = "blocks"
# Blocks of a coarse level that are done before a cluster has started or answered.
_MOST_HERE = 4


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Converts a volume as configured, and writes `results.json` to `workdir`.

    Args:
        config: as made by `configs/convert.py`.
        workdir: folder that remembers which blocks are done.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration, the input or the output cannot work, before anything is written; if a value
            cannot be held, or blocks could not be read or written.
    """
    settings = Settings.from_config(config)
    shared = settings.shared
    plan = make_plan(settings)
    inputs = Inputs.of({"input": settings.input}, shared.allow_incomplete)
    if inputs.incomplete and plan.output.hidden:
        raise InputError(
            f"output={settings.output}: this format has no mark that a volume is not complete, and input "
            f"{settings.input} is not; give output=NAME.zarr, or complete the input first"
        )
    changed = inputs.check_same(workdir, shared.overwrite)
    levels = [
        DoneBlocks(epath.Path(workdir) / BLOCKS_FOLDER / str(level), plan.identity)
        for level in range(len(plan.grids))
    ]
    finished = (epath.Path(workdir) / RESULTS_FILE).exists()
    # Of sections the folder is locked, from outside: nothing else may lie in it.
    path = plan.output.path
    with OutputLock(os.path.dirname(path) if plan.output.whole_sections else path, "convert"):
        # Everything is checked before anything is deleted.
        anew = finished or changed
        how = plan_output(
            plan.output,
            levels[0],
            overwrite=shared.overwrite,
            finished=anew,
            changes=describe_changes(workdir, config),
        )
        open_run_folder(workdir, config)
        _open(workdir, plan, levels, how, inputs)
        passes = Passes(shared.cluster, shared.num_workers)
        began = time.monotonic()
        for level, (grid, done) in enumerate(zip(plan.grids, levels, strict=True)):
            name = f"level {level} of {len(levels) - 1}"
            passes.work_on(name, grid, plan.work(level), done, here=len(grid) <= _MOST_HERE)
        # What was made of an incomplete volume stays one.
        plan.output.finish() if inputs.incomplete else mark_complete(plan.output)
    # What finished before keeps the figures of the time when it was done.
    if passes.voxels or not finished:
        write_results(workdir, _results(plan, passes, time.monotonic() - began))
    print(_closing_lines(settings.output, workdir, plan), flush=True)
    return 0


def _open(
    workdir: str | os.PathLike[str],
    plan: Plan,
    levels: Sequence[DoneBlocks],
    how: str,
    inputs: Inputs,
) -> None:
    """Makes the output or goes on with it, as `plan_output` said."""
    if how != CONTINUE:
        # Before the first level is claimed: else, after a kill in between, coarse levels would count as done.
        for done in levels:
            done.clear()
    inputs.remember(workdir)
    new = plan.new
    if not plan.output.hidden:
        mark = incomplete([] if inputs.incomplete else list(zip(levels, plan.grids, strict=True)))
        new = dataclasses.replace(new, attributes={**new.attributes, **mark})

    def create() -> ts.TensorStore:
        plan.output.create(new)
        return plan.output.open()

    open_output(plan.output, levels[0], how, create)
    for done in levels[1:]:
        if not done.begun_by_us():
            done.begin()


def _results(plan: Plan, passes: Passes, seconds: float) -> dict[str, float | int]:
    summaries = list(passes.summaries.values())
    results = passes.results() | {
        "voxels": plan.grids[0].outer.volume,
        "levels": len(plan.new.levels),
        # Each level has blocks of its own.
        "blocks": sum(summary.blocks for summary in summaries),
    }
    results.pop("voxels_per_s", None)
    # Voxels of full resolution, the time for the coarser levels counted in.
    if summaries[0].voxels:
        results["voxels_per_s"] = summaries[0].voxels / seconds
    return results


def _closing_lines(output: str, workdir: str | os.PathLike[str], plan: Plan) -> str:
    """Returns what a user wants to know at the end."""
    new = plan.new
    sizes = ", ".join("x".join(map(str, level.size)) for level in new.levels)
    nm = "unknown" if new.voxel_nm is None else "x".join(f"{v:g}" for v in new.voxel_nm) + " nm"
    # Neuroglancer's prefix is for outputs: what is written is known by its files.
    address = output.removeprefix("precomputed://")
    channels = f", {new.channels} channels" if new.channels else ""
    return "\n".join(
        (
            f"volume       {output}: {new.kind} of {new.dtype}{channels}, voxels {nm}",
            f"levels       {sizes} ({new.downscaling})"
            if len(new.levels) > 1
            else f"size         {sizes}",
            f"results      {Path(os.fspath(workdir)) / RESULTS_FILE}",
            f"next         python -m emjax.main --config configs/view.py --config.volumes={address}",
        )
    )
