"""Improves a segmentation or a prediction by a chain of operations: fills, filters, sizes, linked sections."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.block_size import fit_chunk
from emjax.blocks.complete import COMPLETE, PROGRESS, incomplete, mark_complete
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
from emjax.blocks.parts import part_path, read_part, write_part
from emjax.blocks.passes import Passes, goes_on
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size
from emjax.jobs.postprocess.settings import Settings
from emjax.postprocess.operation import Global, Local, Operation
from emjax.postprocess.passes import ApplyLocal, Change, Gather, Place
from emjax.runs.folder import RESULTS_FILE, describe_changes, open_run_folder, write_results
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.label_ids import NONE_NAMED, LabelIds
from emjax.volumes.origin import place_of, whole_attribute
from emjax.volumes.roles import open_ids, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume
from emjax.volumes.write.pyramid import chunk_size, shard_size
from emjax.volumes.write.zarr import ZarrOutput

_BLOCKS, _TABLES = "blocks", "tables"


@dataclasses.dataclass(frozen=True)
class _Work:
    """Everything that the configuration and the input decide together.

    Attributes:
        volume: the input.
        box: the part of it that is changed.
        label_ids: which of its ids stand for no object.
        grid: blocks, from 0.
        chunk: (z, y, x) voxels that are compressed together.
        stages: operations that are one pass each: local ones together, each global one alone.
        output: absolute path of the output.
        folder: of the run.
    """

    volume: Volume
    box: Box
    label_ids: LabelIds
    grid: Grid
    chunk: Size
    stages: tuple[tuple[Operation, ...], ...]
    output: str
    folder: str

    def path(self, index: int) -> str:
        """Returns where the volume of a stage lies: that of the last one is the output."""
        last = index == len(self.stages) - 1
        return self.output if last else f"{self.folder}/stage-{index}.zarr"

    def place(self, index: int) -> Place:
        """Returns what a stage reads: the input, or the volume of the stage before."""
        if index == 0:
            address = str(self.volume.address.absolute())
            return Place(address, self.box.start, self.grid.outer, self.label_ids)
        return Place(self.path(index - 1), (0, 0, 0), self.grid.outer)

    def done(self, index: int, what: str) -> DoneBlocks:
        """Returns the marks of the done blocks of a pass of a stage."""
        known = {
            "input": str(self.volume.address.absolute()),
            "box": str(self.box),
            "blocks": [self.grid.core_size, self.chunk],
            "operations": [repr(stage) for stage in self.stages[: index + 1]],
        }
        folder = epath.Path(self.folder) / _BLOCKS / f"{index}-{what}"
        return DoneBlocks(folder, work_identity(known))


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Changes a volume as configured, and writes the output and `results.json`.

    Args:
        config: as made by `configs/postprocess.py`.
        workdir: folder of the run; remembers which blocks are done, and holds what lies between two passes.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration, the input or the output cannot work, or blocks could not be read or written.
    """
    settings = Settings.from_config(config)
    shared = settings.shared
    work = _prepare(settings, workdir)
    inputs = Inputs.of({"input": settings.input}, shared.allow_incomplete)
    check_apart(settings.output, {"input": settings.input})
    last = len(work.stages) - 1
    with OutputLock(settings.output, "postprocess"):
        # Everything is checked before anything is deleted.
        changed = inputs.check_same(workdir, shared.overwrite)
        finished = (epath.Path(workdir) / RESULTS_FILE).exists()
        how = plan_output(
            settings.output,
            work.done(last, "write"),
            overwrite=shared.overwrite,
            finished=finished or changed,
            changes=describe_changes(workdir, config),
        )
        folder = open_run_folder(workdir, config)
        if how != CONTINUE and (changed or finished):
            for index, what in itertools.product(range(last + 1), ("gather", "write")):
                work.done(index, what).clear()
        inputs.remember(workdir)
        passes = Passes(shared.cluster, shared.num_workers)
        # The output is claimed first, so that the same command finds it begun.
        done = work.done(last, "write")
        mark = incomplete([] if inputs.incomplete else [(done, work.grid)])
        open_output(settings.output, done, how, _creator(work, last, mark))
        if how != CONTINUE or len(done.indices()) < len(work.grid):
            for index in range(last + 1):
                _do(work, index, passes)
        # What was made of an incomplete volume stays one.
        if not inputs.incomplete:
            mark_complete(ZarrOutput(work.output))
        for index in range(last):
            if epath.Path(work.path(index)).exists():
                epath.Path(work.path(index)).rmtree()
        # What finished before keeps the figures of the time when it was done.
        if passes.voxels or not finished:
            figures = passes.results() if passes.summaries else {}
            write_results(folder, figures | {"voxels": work.box.volume})
    names = ", ".join(operation.kind for stage in work.stages for operation in stage)
    print(
        f"output       {settings.output}: {names}\nresults      {folder / RESULTS_FILE}", flush=True
    )
    return 0


def _prepare(settings: Settings, workdir: str | os.PathLike[str]) -> _Work:
    chain, label_ids = settings.chain, NONE_NAMED
    if chain[0].of == "labels":
        volume = open_ids(settings.input, "input", ("background",))
        label_ids = LabelIds.of(volume.address)
    else:
        volume = open_volume(settings.input)
        refuse_idle_keys(volume.address, "input")
        if volume.dtype.kind not in "uf" or volume.dtype.itemsize > 4:
            raise InputError(
                f"input {volume.name} is {volume.dtype}; {chain[0].kind} is of images and predictions: uint8, uint16 "
                "or floats of up to 32 bits"
            )
    shared = settings.shared
    box = Box.from_text(shared.box, volume.size) if shared.box else Box((0, 0, 0), volume.size)
    chunk = chunk_size(box.size, volume.voxel_nm)
    size = shared.block_size or shard_size(box.size, chunk)
    if shared.block_size:
        chunk = fit_chunk(chunk, shared.block_size)
    stages = []
    for is_local, group in itertools.groupby(chain, lambda operation: isinstance(operation, Local)):
        operations = tuple(group)
        stages += [operations] if is_local else [(operation,) for operation in operations]
    output = settings.output if "://" in settings.output else os.path.abspath(settings.output)
    grid = Grid(Box((0, 0, 0), box.size), size)
    folder = os.path.abspath(workdir) if "://" not in os.fspath(workdir) else os.fspath(workdir)
    return _Work(volume, box, label_ids, grid, chunk, tuple(stages), output, folder)


def _do(work: _Work, index: int, passes: Passes) -> None:
    """Does the passes of a stage whose blocks are not done."""
    stage, place, path = work.stages[index], work.place(index), work.path(index)
    done = work.done(index, "write")
    if index < len(work.stages) - 1:
        begun = done.begun_by_us()
        how = plan_output(path, done, overwrite=True, finished=False) if begun else REPLACE
        open_output(path, done, how, _creator(work, index, {}))
    name = f"{index + 1} of {len(work.stages)} ({', '.join(o.kind for o in stage)})"
    operation = stage[0]
    if not isinstance(operation, Global):
        local = tuple(o for o in stage if isinstance(o, Local))
        passes.work_on(name, work.grid, ApplyLocal(place, local, ZarrOutput(path)), done)
        return
    folder = f"{work.folder}/parts/{index}"
    gathered = work.done(index, "gather")
    if not gathered.begun_by_us():
        gathered.begin()
    passes.work_on(f"{name}, gather", work.grid, Gather(place, operation, folder), gathered)

    def parts() -> Iterator[dict[str, np.ndarray]]:
        for block in range(len(work.grid)):
            yield read_part(part_path(folder, block))

    table = f"{work.folder}/{_TABLES}/{index}.npz"
    write_part(table, operation.decide(work.grid, parts()))
    passes.work_on(name, work.grid, Change(place, operation, table, ZarrOutput(path)), done)


def _creator(work: _Work, index: int, mark: dict[str, Any]) -> Callable[[], Any]:
    """Returns what makes the empty volume of a stage."""
    volume, stage = work.volume, work.stages[index]
    labels = stage[0].of == "labels"
    known = {} if labels else read_attributes(volume.address)
    for name in (IDENTITY, COMPLETE, PROGRESS):
        known.pop(name, None)
    attributes = {
        **known,
        **({"kind": "segmentation"} if labels else {}),
        "input": str(volume.address.absolute()),
        "operations": [repr(operation) for group in work.stages for operation in group],
        IDENTITY: work.done(index, "write").identity,
        **whole_attribute(volume, volume.voxel_nm),
        **mark,
    }

    def create() -> Any:
        channels = volume.shape[:-3]
        return create_volume(
            work.path(index),
            (*channels, *work.box.size),
            np.uint64 if labels else volume.dtype,
            volume.voxel_nm,
            attributes,
            chunk=work.chunk,
            shard=work.grid.core_size,
            origin=place_of(volume, work.box),
        )

    return create
