"""Maps classes: one pass over blocks, without fragments and graph."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from emjax.blocks.block_size import fit_chunk
from emjax.blocks.complete import incomplete, mark_complete
from emjax.blocks.done import DoneBlocks
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import IDENTITY, check_apart, open_output, plan_output, work_identity
from emjax.blocks.passes import Passes
from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.jobs.segment.opened import Opened
from emjax.jobs.segment.report import class_lines
from emjax.jobs.segment.settings import Settings
from emjax.jobs.segment.written import Written, choose_written
from emjax.runs.folder import RESULTS_FILE, write_results
from emjax.segmentation.class_maps import MapClasses
from emjax.segmentation.methods import METHODS
from emjax.viewing.snapshot import draw_result, save_to_plots
from emjax.volumes.create import create_volume
from emjax.volumes.write.zarr import ZarrOutput

_BLOCKS_FOLDER = "blocks"


def map_classes(
    settings: Settings,
    opened: Opened,
    workdir: str | os.PathLike[str],
    changes: str,
    open_folder: Callable[[], epath.Path],
) -> int:
    """Writes the class of each voxel, and `results.json`.

    Args:
        settings: of the job.
        opened: the prediction.
        workdir: folder of the run; remembers which blocks are done.
        changes: what differs from the configuration that the folder was made for, for messages.
        open_folder: opens the folder for this configuration.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration or the output cannot work, or blocks could not be read or written.
        Interrupted: if the process was asked to stop.
    """
    shared = settings.shared
    idle = {"graph": settings.graph, "fragment_size": settings.fragment_size, "halo": shared.halo}
    for name, value in idle.items():
        if value:
            raise InputError(
                f"{name}={value}: method '{opened.method}' makes no fragments; leave it out"
            )
    classes = METHODS.find(opened.method).classes
    assert classes is not None, "this is a method of classes"
    meaning = classes(opened.channels.names, opened.settings)
    dtype = np.min_scalar_type(max(*meaning, getattr(opened.settings, "otherwise", 0), 1)).name
    written = choose_written(opened.volume, opened.box, settings.at)
    grid, chunk = written.blocks
    if shared.block_size:
        chunk = fit_chunk(chunk, shared.block_size)
        grid = Grid(written.outer, shared.block_size)
    check_apart(settings.output, {"input": settings.input})
    identity = work_identity(
        {
            "input": opened.identity,
            "made_by": opened.made_by,
            "method": opened.method,
            "settings": dataclasses.asdict(opened.settings),
            "blocks": [str(written.outer), grid.core_size, chunk],
            **written.identity,
        }
    )
    output = settings.output if "://" in settings.output else os.path.abspath(settings.output)
    with OutputLock(settings.output, "segment"):
        changed = opened.inputs.check_same(workdir, shared.overwrite)
        done = DoneBlocks(epath.Path(workdir) / _BLOCKS_FOLDER, identity)
        finished = (epath.Path(workdir) / RESULTS_FILE).exists()
        how = plan_output(
            settings.output,
            done,
            overwrite=shared.overwrite,
            finished=finished or changed,
            changes=changes,
        )
        folder = open_folder()
        if changed:
            done.clear()
        opened.inputs.remember(workdir)
        partial = opened.inputs.incomplete
        attributes = {
            "kind": "segmentation",
            "classes": {str(number): name for number, name in meaning.items()},
            "input": opened.channels.address,
            "method": opened.method,
            "settings": dataclasses.asdict(opened.settings),
            IDENTITY: identity,
            **written.attributes,
            **incomplete([] if partial else [(done, grid)]),
        }
        create = functools.partial(_create, output, written, dtype, attributes, grid, chunk)
        open_output(output, done, how, create)
        work = MapClasses(
            opened.channels,
            opened.method,
            opened.settings,
            ZarrOutput(output),
            written.outer.start,
            written.grid,
            dtype,
        )
        passes = Passes(shared.cluster, shared.num_workers)
        passes.work_on("classes", grid, work, done)
        # What was made of an incomplete volume stays one.
        if not partial:
            mark_complete(ZarrOutput(output))
        # What finished before keeps the figures of the time when it was done.
        if passes.voxels or not finished:
            results = passes.results() | {"classes": len(meaning), "voxels": written.outer.volume}
            write_results(folder, results)
        drawn = draw_result(opened.volume.address.absolute(), settings.output)
        picture = save_to_plots(folder, "sections.png", drawn)
        print(class_lines(settings.output, folder, meaning, passes.results(), picture), flush=True)
    return 0


def _create(
    path: str,
    written: Written,
    dtype: str,
    attributes: dict[str, Any],
    grid: Grid,
    chunk: tuple[int, ...],
) -> Any:
    return create_volume(
        path,
        written.outer.size,
        dtype,
        written.voxel_nm,
        attributes,
        chunk=chunk,
        shard=grid.core_size,
        origin=written.origin,
    )
