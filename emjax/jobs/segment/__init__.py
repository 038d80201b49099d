"""Turns a prediction of any size into objects, each with an id of its own."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import incomplete, mark_complete
from emjax.blocks.done import DoneBlocks
from emjax.blocks.inputs import Inputs
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import (
    CONTINUE,
    IDENTITY,
    REPLACE,
    check_apart,
    open_output,
    plan_output,
    work_identity,
)
from emjax.blocks.passes import Passes, goes_on
from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.jobs.segment.class_map import map_classes
from emjax.jobs.segment.opened import Opened, open_input
from emjax.jobs.segment.report import closing_lines
from emjax.jobs.segment.settings import Settings
from emjax.jobs.segment.written import Written, choose_written
from emjax.runs.folder import RESULTS_FILE, describe_changes, open_run_folder, write_results
from emjax.runs.whole_file import write_whole
from emjax.segmentation.cells import choose_blocks, choose_cells, layout
from emjax.segmentation.graph_files import read_columns
from emjax.segmentation.methods import METHODS
from emjax.segmentation.native import RelabelNative
from emjax.segmentation.passes import (
    FACES_FOLDER,
    FRAGMENTS,
    SEGMENTS,
    GatherEvidence,
    MakeFragments,
    Plan,
    Relabel,
    partition_graph,
)
from emjax.segmentation.settings import format_settings, fragment_key
from emjax.viewing.snapshot import draw_result, save_to_plots
from emjax.volumes.address import Address
from emjax.volumes.create import create_volume
from emjax.volumes.origin import place_of, whole_attribute
from emjax.volumes.volume import Volume
from emjax.volumes.write.zarr import ZarrOutput

GRAPH_FOLDER, BLOCKS_FOLDER = "graph", "blocks"
# In the folder of a graph: that it is whole, and of what.
_COMPLETE = "complete.json"


@dataclasses.dataclass(frozen=True)
class _Work:
    """Everything that the configuration and the prediction decide together.

    Attributes:
        volume: the prediction.
        plan: what is done with it.
        grid: blocks.
        written: the voxels of the output.
        graph_identity: hash of all that decides what the graph holds.
        identity: hash of all that decides what the output holds, and of its blocks.
        inputs: the prediction, as far as its files tell.
    """

    volume: Volume
    plan: Plan
    grid: Grid
    written: Written
    graph_identity: str
    identity: str
    inputs: Inputs

    def is_of(self, graph: Mapping[str, Any]) -> bool:
        """Whether a whole graph is that of this prediction; one of an earlier version does not say of which files."""
        input_ = self.inputs.prints["input"]
        return graph["identity"] == self.graph_identity and graph["input"] in (None, input_)


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Segments a prediction as configured, and writes the output volume and `results.json`.

    Args:
        config: as made by `configs/segment.py`.
        workdir: folder of the run; remembers which blocks are done.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration, the prediction or the output cannot work, or blocks could not be read or
            written.
    """
    settings = Settings.from_config(config)
    shared = settings.shared
    opened = open_input(settings)
    if METHODS.find(opened.method).classes:
        open_folder = functools.partial(open_run_folder, workdir, config)
        return map_classes(
            settings, opened, workdir, describe_changes(workdir, config), open_folder
        )
    work = _prepare(settings, opened, workdir)
    check_apart(settings.output, {"input": settings.input, "graph": Address(work.plan.graph)})
    with OutputLock(settings.output, "segment"):
        # Everything is checked before anything is deleted.
        changed = work.inputs.check_same(workdir, shared.overwrite)
        done = DoneBlocks(epath.Path(workdir) / BLOCKS_FOLDER, work.identity)
        finished = (epath.Path(workdir) / RESULTS_FILE).exists()
        anew = finished or changed
        how = plan_output(
            settings.output,
            done,
            overwrite=shared.overwrite,
            finished=anew,
            changes=describe_changes(workdir, config),
        )
        _check_graph(settings.graph, work)
        if anew and shared.overwrite and not settings.graph:
            # Asked for anew: the prediction may be another one under the same name. Before the run is forgotten, so
            # that a kill in between changes nothing.
            _forget_graph(work)
        folder = open_run_folder(workdir, config)
        if changed:
            done.clear()
        work.inputs.remember(workdir)
        logging.info(
            "%s of %s: %s; %d cell(s) of %s, %d block(s)",
            work.plan.method,
            settings.input,
            format_settings(dataclasses.asdict(work.plan.settings)),
            len(work.plan.cells),
            work.plan.cells.size,
            len(work.grid),
        )
        began, passes = time.monotonic(), Passes(shared.cluster, shared.num_workers)
        _make_graph(work, passes, named=bool(settings.graph))
        seconds = _make_output(settings.output, work, passes, how, done, os.fspath(folder))
        segments = os.fspath(epath.Path(folder) / SEGMENTS)
        (objects,) = read_columns(segments, "segment")
        seconds |= {name: s.seconds for name, s in passes.summaries.items() if s.voxels}
        results = passes.results(time.monotonic() - began) | {
            **{f"{name}_s": value for name, value in seconds.items()},
            "objects": int(objects.max(initial=0)),
            "fragments": len(objects),
            "voxels": work.written.outer.volume,
        }
        # What finished before keeps the figures of the time when it was done.
        if passes.voxels or not finished:
            write_results(folder, results)
        picture = save_to_plots(
            folder, "sections.png", draw_result(work.volume.address.absolute(), settings.output)
        )
        print(closing_lines(settings.output, folder, work.plan, results, picture), flush=True)
    return 0


def _prepare(settings: Settings, opened: Opened, workdir: str | os.PathLike[str]) -> _Work:
    """Decides everything that the configuration and the prediction decide together."""
    shared, volume, box = settings.shared, opened.volume, opened.box
    channels, method, of_method = opened.channels, opened.method, opened.settings
    known = METHODS.find(method)
    if shared.halo and not known.halo:
        raise InputError(f"halo={shared.halo}: method '{method}' needs none; leave it out")
    halo = shared.halo if known.halo else None
    cells = choose_cells(box, volume.voxel_nm, settings.fragment_size, halo, known.halo)
    graph = settings.graph or os.fspath(epath.Path(workdir) / GRAPH_FOLDER)
    if "://" not in graph:
        graph = os.path.abspath(os.path.expanduser(graph))
    plan = Plan(channels, cells, method, of_method, graph)
    if plan.stitched and min(cells.halo) < 1:
        raise InputError(
            f"halo={cells.halo}: method '{method}' joins what overlaps between cells; give 1 or more of each"
        )
    grid = choose_blocks(cells, shared.block_size)
    written = choose_written(volume, box, settings.at)
    graph_values = {
        "input": opened.identity,
        # Which prediction this is, where that is known.
        "made_by": opened.made_by,
        "cells": dataclasses.asdict(cells),
        "fragments": fragment_key(of_method),
        "tables": plan.table_names,
        "same": plan.share if plan.stitched else None,
    }
    graph_identity = work_identity(graph_values)
    identity = work_identity(
        {
            "graph": graph_identity,
            "method": method,
            "settings": dataclasses.asdict(of_method),
            "block_size": grid.core_size,
            **written.identity,
        }
    )
    return _Work(volume, plan, grid, written, graph_identity, identity, opened.inputs)


def _check_graph(graph: str, work: _Work) -> None:
    """Refuses a graph of something else, if one was named; changes nothing."""
    known = _read_complete(work.plan.graph)
    if known is not None and not work.is_of(known) and graph:
        raise InputError(
            f"graph={graph} is of another prediction, box, fragment_size, halo or settings of fragments; give "
            "those that it was made with, or another folder"
        )
    if known is None and graph:
        # Begun by this work, or not begun: another's is refused.
        _graph_marks(work)[0].begun()


def _forget_graph(work: _Work) -> None:
    """Makes sure that the graph of an earlier run is not taken for this one's."""
    epath.Path(work.plan.file(_COMPLETE)).unlink(missing_ok=True)
    for done in _graph_marks(work):
        done.clear()


def _graph_marks(work: _Work) -> tuple[DoneBlocks, DoneBlocks]:
    """Returns what remembers the done blocks of the two passes that make the graph."""
    # Blocks of another size have other numbers.
    values = {
        "graph": work.graph_identity,
        "block_size": work.grid.core_size,
        "input": work.inputs.prints["input"],
    }
    identity, file = work_identity(values), work.plan.file
    fragments, evidence = (DoneBlocks(file("done", n), identity) for n in ("fragments", "evidence"))
    return fragments, evidence


def _make_graph(work: _Work, passes: Passes, named: bool) -> None:
    """Makes fragments and the graph where they are not there; one that was `named` may be another run's."""
    plan = work.plan
    known = _read_complete(plan.graph)
    if known is not None and work.is_of(known):
        logging.info("fragments and graph are taken from %s", plan.graph)
        if not named:
            _delete_faces(plan)
        return
    with OutputLock(plan.graph, "make a graph"):
        fragments, evidence = _graph_marks(work)
        path = plan.file(FRAGMENTS)
        begun = fragments.begun_by_us()
        how = plan_output(path, fragments, overwrite=True, finished=False) if begun else REPLACE
        if how != CONTINUE:
            epath.Path(plan.file(_COMPLETE)).unlink(missing_ok=True)
        open_output(path, fragments, how, lambda: _create_fragments(path, work, fragments.identity))
        if not evidence.begun_by_us() or how != CONTINUE:
            evidence.begin()
        passes.work_on("fragments", work.grid, MakeFragments(plan), fragments)
        passes.work_on("evidence", work.grid, GatherEvidence(plan), evidence)
        complete = {
            "identity": work.graph_identity,
            "blocks": len(work.grid),
            "input": work.inputs.prints["input"],
        }
        write_whole(plan.file(_COMPLETE), json.dumps(complete).encode())
        _delete_faces(plan)


def _delete_faces(plan: Plan) -> None:
    """Deletes what only the making of a graph needs; once the graph is whole, so that a kill loses nothing."""
    faces = epath.Path(plan.file(FACES_FOLDER))
    if faces.exists():
        faces.rmtree()


def _make_output(
    output: str, work: _Work, passes: Passes, how: str, done: DoneBlocks, folder: str
) -> dict[str, float]:
    """Partitions the graph and relabels the fragments; returns the seconds of what sees the whole graph."""
    segments, seconds = os.path.join(folder, SEGMENTS), {}
    if how != CONTINUE or not epath.Path(segments).exists():
        known = _read_complete(work.plan.graph)
        assert known is not None, "the graph was made before"
        blocks = known["blocks"]
        began = time.monotonic()
        partition_graph(work.plan, blocks, segments)
        seconds["partition"] = time.monotonic() - began
    output = output if "://" in output else os.path.abspath(output)
    partial, written = work.inputs.incomplete, work.written
    grid, relabel = work.grid, Relabel(work.plan, segments, output)
    if written.grid is not None:
        grid, _ = written.blocks
        start = written.outer.start
        relabel = RelabelNative(work.plan, segments, output, written.grid, start)
    mark = incomplete([] if partial else [(done, grid)])
    open_output(output, done, how, lambda: _create_output(output, work, mark))
    passes.work_on("relabel", grid, relabel, done)
    # What was made of an incomplete volume stays one.
    if not partial:
        mark_complete(ZarrOutput(output))
    return seconds


def _create_output(path: str, work: _Work, mark: Mapping[str, Any]) -> Any:
    """Makes the volume of objects."""
    written, plan = work.written, work.plan
    if written.grid is None:
        chunk, shard = layout(plan.cells, work.volume.voxel_nm)
    else:
        grid, chunk = written.blocks
        shard = grid.core_size
    attributes = {
        "kind": "segmentation",
        "input": plan.channels.address,
        "method": plan.method,
        "settings": dataclasses.asdict(plan.settings),
        IDENTITY: work.identity,
        **written.attributes,
        **mark,
    }
    return create_volume(
        path,
        written.outer.size,
        np.uint64,
        written.voxel_nm,
        attributes,
        chunk=chunk,
        shard=shard,
        origin=written.origin,
    )


def _create_fragments(path: str, work: _Work, identity: str) -> Any:
    """Makes the volume of fragments."""
    plan = work.plan
    chunk, shard = layout(plan.cells, work.volume.voxel_nm)
    attributes = {
        "kind": "segmentation",
        "input": plan.channels.address,
        "method": plan.method,
        "settings": dataclasses.asdict(plan.settings),
        IDENTITY: identity,
        **whole_attribute(work.volume, work.volume.voxel_nm),
    }
    return create_volume(
        path,
        plan.cells.outer.size,
        np.uint64,
        work.volume.voxel_nm,
        attributes,
        chunk=chunk,
        shard=shard,
        origin=place_of(work.volume, plan.cells.outer),
    )


def _read_complete(graph: str) -> dict[str, Any] | None:
    """Returns what a whole graph is of; None where there is none, or not all of it."""
    path = epath.Path(graph) / _COMPLETE
    if not path.exists():
        return None
    try:
        known = json.loads(path.read_text())
        return {
            "identity": known["identity"],
            "blocks": int(known["blocks"]),
            "input": known.get("input"),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; delete it, and run the same command again") from error
