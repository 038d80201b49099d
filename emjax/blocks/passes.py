"""Passes over blocks, and the account of them: what was done, resumed and interrupted, of every job that has blocks.

Some passes write a volume. Others find something out: each block leaves a part on disk, and the parts are added up at
the end. Of those the folder of a run has, until its results are written, `parts/PASS/block-N.npz` and the numbers of
the blocks that are done. A run that was killed goes on; one that is finished has no parts, and the same command looks
at the volumes anew.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.done import DoneBlocks
from emjax.blocks.engines import Work
from emjax.blocks.opening import release
from emjax.blocks.parts import part_path, read_part
from emjax.blocks.run import Summary, run_blocks
from emjax.geometry.grid import Grid
from emjax.runs.exit_status import PREEMPTED
from emjax.runs.memory import peak_rss_bytes

_FOLDER, _DONE = "parts", "done"


class Interrupted(Exception):  # noqa: N818  (not an error)
    """The process was asked to stop, and the same command goes on."""


Job = Callable[[ConfigDict, str | os.PathLike[str]], int]


def goes_on(job: Job) -> Job:
    """Turns `Interrupted` of a job's `run` into the exit status that says: the same command goes on."""

    @functools.wraps(job)
    def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
        try:
            return job(config, workdir)
        except Interrupted:
            logging.info("interrupted; the same command goes on with the blocks that are not done")
            return PREEMPTED

    return run


class Passes:
    """Runs passes one after the other, and keeps account of them.

    Attributes:
        summaries: name of each pass that ended, whole or not -> what became of its blocks.
    """

    def __init__(
        self, cluster: str = "", num_workers: int = 1, part: tuple[int, int] = (0, 1)
    ) -> None:
        """Touches nothing yet.

        Args:
            cluster: as for `run_blocks`.
            num_workers: as for `run_blocks`.
            part: number of this process, and how many share the blocks.
        """
        self._cluster, self._num_workers, self._part = cluster, num_workers, part
        self.summaries: dict[str, Summary] = {}

    def work_on(
        self, name: str, grid: Grid, work: Work, done: DoneBlocks, here: bool = False
    ) -> bool:
        """Works on every block that is not done.

        Args:
            name: of the pass.
            grid: of blocks.
            work: on a block; returns once its result is on disk.
            done: marks of the pass; begun.
            here: in this process though there is a cluster: too few blocks to be worth one.

        Returns:
            Whether all blocks are done; False while other processes have some that are not.

        Raises:
            Interrupted: if it was asked to stop, or the disk is full.
            InputError: as raised by `work`, or if blocks failed.
        """
        rank, world = self._part
        try:
            summary = run_blocks(
                grid,
                work,
                done,
                what=name,
                cluster="" if here else self._cluster,
                num_workers=self._num_workers,
                rank=rank,
                world=world,
            )
        finally:
            release()
        self.summaries[name] = summary
        summary.check(grid)
        if summary.stopped:
            raise Interrupted
        return summary.complete

    @property
    def voxels(self) -> int:
        """That the passes of this call have seen, all together."""
        return sum(summary.voxels for summary in self.summaries.values())

    def results(self, seconds: float | None = None) -> dict[str, float | int]:
        """Returns blocks, those done before, memory and rate of all passes together.

        Args:
            seconds: that all took, with what was done between them; None: the time of the passes alone.
        """
        summaries = self.summaries.values()
        values: dict[str, float | int] = {
            "blocks": max(summary.blocks for summary in summaries),
            "blocks_resumed": sum(summary.blocks_resumed for summary in summaries),
            "peak_rss_bytes": max(
                [peak_rss_bytes(), *(summary.peak_rss_bytes for summary in summaries)]
            ),
        }
        if self.voxels:
            seconds = seconds or sum(summary.seconds for summary in summaries)
            values["voxels_per_s"] = self.voxels / len(summaries) / seconds
        return values


class BlockPasses(Passes):
    """Passes that leave parts in the folder of a run."""

    def __init__(
        self, workdir: str | os.PathLike[str], identity: str, cluster: str, num_workers: int
    ) -> None:
        """Touches nothing yet.

        Args:
            workdir: folder of the run.
            identity: hash of all that decides what the parts hold; those of another are made anew.
            cluster: as for `run_blocks`.
            num_workers: as for `run_blocks`.
        """
        super().__init__(cluster, num_workers)
        self.folder = f"{os.fspath(workdir).rstrip('/')}/{_FOLDER}"
        self._identity = identity

    def path(self, name: str) -> str:
        """Returns a path in the folder of the parts, where each pass has a folder."""
        return f"{self.folder}/{name}"

    def run(self, name: str, grid: Grid, work: Work, only: Sequence[int] | None = None) -> None:
        """Works on every block that is not done.

        Args:
            name: of the pass, and of the folder that `work` writes parts to.
            grid: of blocks.
            work: returns once the block's part is on disk.
            only: numbers of the blocks that have to be worked on; None: all.

        Raises:
            Interrupted: as `work_on`.
            InputError: as `work_on`.
        """
        done = DoneBlocks(self.path(f"{name}-{_DONE}"), self._identity)
        if not done.begun_by_us():
            done.begin()
        if only is not None:
            idle = np.setdiff1d(np.flatnonzero(~done.mask(len(grid))), only)
            if len(idle):
                done.mark(*idle.tolist())
        self.work_on(name, grid, work, done)

    def parts(self, name: str, indices: Sequence[int] | range) -> Iterator[dict[str, Any]]:
        """Yields the parts of blocks, in the order of their numbers."""
        return (read_part(part_path(self.path(name), int(index))) for index in indices)

    def clear(self) -> None:
        """Deletes the parts, once the results are written."""
        folder = epath.Path(self.folder)
        if folder.exists():
            folder.rmtree()
