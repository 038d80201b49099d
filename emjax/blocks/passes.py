"""Runs the passes of a job over its blocks, and sums up what was done, resumed and interrupted.

Some passes write a volume. Others measure something: each block leaves a part on disk, and the parts are added up at
the end. For these, the run folder holds `parts/PASS/block-N.npz` and the marks of the done blocks until the results
are written. A run that was killed continues from them; a finished run has no parts, so the same command measures the
volumes anew.
"""

from __future__ import annotations

import contextlib
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
from emjax.blocks.progress import Pieces
from emjax.blocks.run import Summary, run_blocks
from emjax.geometry.grid import Grid
from emjax.runs.exit_status import PREEMPTED
from emjax.runs.memory import peak_rss_bytes

_FOLDER, _DONE = "parts", "done"


class Interrupted(Exception):  # noqa: N818  (not an error)
    """The process was asked to stop; the same command continues the run."""


Job = Callable[[ConfigDict, str | os.PathLike[str]], int]


def goes_on(job: Job) -> Job:
    """Decorates a job's `run`: the job has one cluster for all passes, and `Interrupted` is the exit status PREEMPTED.

    A scheduler that does not answer is refused before the job has written anything.
    """

    @functools.wraps(job)
    def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
        try:
            with _kept_cluster(config.get("cluster") or ""):
                return job(config, workdir)
        except Interrupted:
            logging.info("interrupted; the same command goes on with the blocks that are not done")
            return PREEMPTED

    return run


def _kept_cluster(address: str) -> contextlib.AbstractContextManager[None]:
    # Other text is a mistake, which the job's settings explain by naming the forms that there are.
    if address != "local" and not address.startswith(("tcp://", "tls://")):
        return contextlib.nullcontext()
    # Imported here, since importing dask takes a second.
    from emjax.blocks.dask_clusters import kept

    return kept(address)


class Passes:
    """Runs passes one after the other, and keeps the summary of each.

    Attributes:
        summaries: name of each pass that ended, complete or not -> summary of its blocks.
    """

    def __init__(
        self, cluster: str = "", num_workers: int = 1, part: tuple[int, int] = (0, 1)
    ) -> None:
        """Stores the settings; touches no files.

        Args:
            cluster: as for `run_blocks`.
            num_workers: as for `run_blocks`.
            part: number of this process, and number of processes that share the blocks.
        """
        self._cluster, self._num_workers, self._part = cluster, num_workers, part
        self.summaries: dict[str, Summary] = {}
        self._asked = False

    def work_on(
        self,
        name: str,
        grid: Grid,
        work: Work,
        done: DoneBlocks,
        here: bool = False,
        pieces: Pieces | None = None,
    ) -> bool:
        """Works on every block that is not done.

        Args:
            name: name of the pass.
            grid: grid of the blocks.
            work: works on a block, and returns once its result is on disk.
            done: marks of the pass's done blocks; must have been begun.
            here: whether to work in this process even if there is a cluster, for too few blocks to be worth one.
            pieces: as for `run_blocks`.

        Returns:
            Whether all blocks are done; False if other processes still have blocks to do.

        Raises:
            Interrupted: if the process was asked to stop, or the disk is full.
            InputError: as raised by `work`, or if blocks failed.
        """
        rank, world = self._part
        if self._asked and not done.mask(len(grid)).all():
            # A signal came while the last blocks of the pass before were finished: no other pass is begun.
            raise Interrupted
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
                pieces=pieces,
            )
        finally:
            release()
        self.summaries[name] = summary
        self._asked = self._asked or summary.asked
        summary.check(grid)
        if summary.stopped:
            raise Interrupted
        return summary.complete

    @property
    def voxels(self) -> int:
        """Number of voxels in the blocks that this call has worked on, summed over all passes."""
        return sum(summary.voxels for summary in self.summaries.values())

    def results(self, seconds: float | None = None) -> dict[str, float | int]:
        """Returns `blocks`, `blocks_resumed`, `peak_rss_bytes` and `voxels_per_s` of all passes together.

        Args:
            seconds: time that all passes and the work between them took; None: the time of the passes alone.
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
        """Stores the settings; touches no files.

        Args:
            workdir: folder of the run.
            identity: hash of all that decides what the parts hold; parts of another identity are made anew.
            cluster: as for `run_blocks`.
            num_workers: as for `run_blocks`.
        """
        super().__init__(cluster, num_workers)
        self.folder = f"{os.fspath(workdir).rstrip('/')}/{_FOLDER}"
        self._identity = identity

    def path(self, name: str) -> str:
        """Returns the path of a file or folder in the folder of the parts, where each pass has its own folder."""
        return f"{self.folder}/{name}"

    def run(self, name: str, grid: Grid, work: Work, only: Sequence[int] | None = None) -> None:
        """Works on every block that is not done.

        Args:
            name: name of the pass, and of the folder that `work` writes its parts to.
            grid: grid of the blocks.
            work: works on a block, and returns once the block's part is on disk.
            only: numbers of the blocks that have to be worked on, the others count as done; None: all blocks.

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
                done.close()
        self.work_on(name, grid, work, done)

    def parts(self, name: str, indices: Sequence[int] | range) -> Iterator[dict[str, Any]]:
        """Yields the parts of blocks, in the order of `indices`."""
        return (read_part(part_path(self.path(name), int(index))) for index in indices)

    def clear(self) -> None:
        """Deletes the parts; call it once the results are written.

        The marks go first: after a kill in between, no part counts as done that may have been deleted.
        """
        folder = epath.Path(self.folder)
        if not folder.exists():
            return
        for marks in folder.glob(f"*-{_DONE}"):
            DoneBlocks(marks, self._identity).clear()
        folder.rmtree()
