"""Runs the work of a job on every block of a volume exactly once, however often the run is stopped.

One function reads, computes and writes a block, and returns when the block's data is on disk; then the block is marked
done. Blocks are independent of each other, so that any number of processes may share them by their numbers, and the
loss of one process does not stop the others. Nothing here imports jax, since CPU workers use it too.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from emjax.blocks.done import DoneBlocks
from emjax.blocks.engines import Engine, EngineLost, Outcome, ThisThread, Threads, Work, describe
from emjax.blocks.progress import BlockProgress, Pieces
from emjax.blocks.stopping import Stopping
from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.runs.disk import is_disk_full
from emjax.runs.memory import peak_rss_bytes
from emjax.runs.summary import Summary

__all__ = ["Summary", "check_aligned", "count_voxels", "peak_rss_bytes", "run_blocks"]

# Number of failed blocks after which no more are begun, since something is probably wrong with all of them.
_MOST_FAILURES = 16


def run_blocks(
    grid: Grid,
    work: Work,
    done: DoneBlocks,
    *,
    what: str,
    cluster: str = "",
    num_workers: int = 1,
    rank: int = 0,
    world: int = 1,
    retries: int = 2,
    backoff_s: float = 1.0,
    pieces: Pieces | None = None,
) -> Summary:
    """Works on every block of a grid that is not done, and marks it done.

    Args:
        grid: grid of the blocks; their cores must not share a write chunk (see `check_aligned`).
        work: reads, computes and writes a block; returns once its data is on disk. Any error except InputError counts
            as one that may pass, such as of a network drive, and the block is tried again. With a cluster, `work` is
            pickled: it should be a frozen dataclass of addresses and settings that opens what it needs when called.
        done: marks of the done blocks; must have been begun.
        what: name for the progress bar.
        cluster: '': threads of this process; 'local': `num_workers` processes on this machine; 'tcp://host:port': all
            workers of that dask scheduler.
        num_workers: number of threads or processes; 1 means the calling thread.
        rank: number of this process, which takes the blocks `rank, rank + world, ...`.
        world: number of processes that share the grid.
        retries: number of further tries of a block that failed.
        backoff_s: seconds before the first further try, doubled for each one after it.
        pieces: what `work` counts within a block, for the progress bar; for a work in this process.

    Returns:
        How many blocks were done, resumed and failed. A full disk stops the run as a signal does: the same command
        continues it.

    Raises:
        InputError: if `work` raised it, since another try cannot help, or if the cluster cannot be used; raised after
            the blocks that were begun are finished.
    """
    if not 0 <= rank < world:
        raise InputError(
            f"rank={rank} must be 0 to {world - 1}, the processes that share the blocks"
        )
    mine = np.arange(rank, len(grid), world)
    todo = mine[~done.mask(len(grid))[mine]]
    began = time.monotonic()
    named = None if pieces is None else (pieces.unit, pieces.count(grid, todo))
    left = count_voxels(grid, todo)
    shown = BlockProgress(what, len(mine), len(mine) - len(todo), left, pieces=named)
    if pieces is not None:
        pieces.listen(shown.piece)
    run, asked = _Run(grid, done, shown, retries, backoff_s), False
    if len(todo):
        with Stopping() as stopping:
            try:
                with _engine(work, cluster, num_workers, done) as engine:
                    run.work_on(todo, engine, stopping)
            except EngineLost as error:
                logging.error("%s, and the same command goes on", error)
                run.stopped = True
            finally:
                if pieces is not None:
                    pieces.listen(None)
                shown.close()
                done.close()
        if run.refusal:
            raise InputError(run.refusal)
        asked = stopping.requested
        run.stopped = run.stopped or asked
    complete = bool(done.mask(len(grid)).all())
    return Summary(
        blocks=len(grid),
        blocks_resumed=len(mine) - len(todo),
        voxels=run.voxels,
        seconds=time.monotonic() - began,
        failures=run.failures,
        stopped=run.stopped and not complete,
        complete=complete,
        peak_rss_bytes=run.peak_rss_bytes,
        asked=asked,
    )


def _engine(work: Work, cluster: str, num_workers: int, done: DoneBlocks) -> Engine:
    if cluster:
        # Imported here, since importing dask takes a second.
        from emjax.blocks.dask_engine import DaskWorkers

        return DaskWorkers(work, cluster, num_workers, done.folder)
    return ThisThread(work) if num_workers <= 1 else Threads(work, num_workers)


class _Run:
    """The state of one call of `run_blocks`: which blocks wait for another try, which have failed.

    Attributes:
        voxels: number of voxels in the blocks that were done.
        failures: number of each block that failed -> its last error.
        stopped: whether the run ended early because the disk was full or the engine was lost.
        refusal: message of the first `InputError` of a block; '' if there was none.
        peak_rss_bytes: most memory that any process reported to have held, in bytes.
    """

    def __init__(
        self, grid: Grid, done: DoneBlocks, shown: BlockProgress, retries: int, backoff_s: float
    ) -> None:
        self.voxels, self.peak_rss_bytes = 0, 0
        self.failures: dict[int, str] = {}
        self.stopped = False
        self.refusal = ""
        self._grid, self._done, self._shown = grid, done, shown
        self._retries, self._backoff_s = retries, backoff_s
        self._tries: dict[int, int] = {}
        # Heap of (time of the next try, block) for the blocks that failed.
        self._again: list[tuple[float, int]] = []

    def work_on(self, todo: np.ndarray, engine: Engine, stopping: Stopping) -> None:
        """Works on blocks until all are done or have failed, or the run is stopped; finishes the blocks begun."""
        fresh = iter(todo)
        running = 0
        while True:
            going = not (stopping.requested or self.refusal or self.stopped or self._failed())
            if not going:
                engine.stop()
            # Hand out only as many as fit: a volume may have a million blocks, and a stopped run leaves the rest.
            for _ in range(engine.capacity() - running if going else 0):
                index = self._next(fresh)
                if index is None:
                    break
                engine.submit(self._grid[index])
                running += 1
            if running:
                # With a timeout, since Python runs signal handlers only while this thread does not wait in C.
                ended = engine.wait(timeout_s=1.0)
                running -= len(ended)
                self._take(ended)
            elif going and self._again:
                time.sleep(min(max(self._again[0][0] - time.monotonic(), 0.0), 0.5))
            else:
                return

    def _next(self, fresh: Iterator[int]) -> int | None:
        """Returns the number of the block to begin next; None if none can be begun now."""
        if self._again and self._again[0][0] <= time.monotonic():
            return heapq.heappop(self._again)[1]
        # If many blocks have failed, others probably would too: first try those again.
        if len(self._again) + len(self.failures) >= _MOST_FAILURES:
            return None
        index = next(fresh, None)
        return None if index is None else int(index)

    def _failed(self) -> bool:
        return len(self.failures) >= _MOST_FAILURES

    def _take(self, ended: Sequence[tuple[int, Outcome]]) -> None:
        """Marks the blocks that succeeded, and judges those that failed."""
        self.peak_rss_bytes = max([self.peak_rss_bytes, *(o.peak_rss_bytes for _, o in ended)])
        ready = [index for index, outcome in ended if not outcome.error and not outcome.not_begun]
        failed = [(index, outcome) for index, outcome in ended if outcome.error]
        try:
            if ready:
                self._done.mark(*ready)
        except OSError as error:
            full, text = is_disk_full(error), f"cannot be marked done: {describe(error)}"
            failed += [(index, Outcome(error=text, disk_full=full)) for index in ready]
            ready = []
        for index in ready:
            voxels = self._grid[index].core.volume
            self.voxels += voxels
            self._shown.update(voxels)
        for index, outcome in failed:
            self._judge(index, outcome)

    def _judge(self, index: int, outcome: Outcome) -> None:
        """Decides whether a failed block is tried again, is given up, or ends the run."""
        block = self._grid[index]
        if outcome.wrong_input:
            self.refusal = self.refusal or outcome.error
            return
        where = f" on {outcome.place}" if outcome.place else ""
        if outcome.disk_full:
            if not self.stopped:
                logging.error(
                    "no room on the disk for block %d %s%s (%s): make room, and the same command goes on",
                    index,
                    block.core,
                    where,
                    outcome.error,
                )
            self.stopped = True
            return
        tries = self._tries[index] = self._tries.get(index, 0) + 1
        last = tries > self._retries
        logging.warning(
            "block %d %s%s, try %d of %d: %s%s",
            index,
            block.core,
            where,
            tries,
            self._retries + 1,
            outcome.error,
            f"\n{outcome.trace}" if last and outcome.trace else "",
        )
        if not last:
            heapq.heappush(
                self._again, (time.monotonic() + self._backoff_s * 2 ** (tries - 1), index)
            )
            return
        self.failures[index] = outcome.error + where
        if len(self.failures) == _MOST_FAILURES:
            logging.error("%d blocks failed; no more are begun", len(self.failures))


def count_voxels(grid: Grid, indices: np.ndarray) -> int:
    """Returns the number of voxels in the cores of blocks; vectorized, since there may be millions of blocks.

    Args:
        grid: grid of the blocks.
        indices: `[n]` numbers of the blocks.
    """
    voxels = np.ones(len(indices), np.int64)
    places = np.unravel_index(indices, grid.shape)
    for place, side, size in zip(places, grid.core_size, grid.outer.size, strict=True):
        # The last block of an axis may be shorter.
        voxels *= np.minimum(side, size - place * side)
    return int(voxels.sum())


def check_aligned(grid: Grid, shard: Sequence[int]) -> None:
    """Checks that no two blocks write the same shard.

    Args:
        grid: grid of the blocks; the output begins where the grid's outer box does.
        shard: (z, y, x) voxels of a shard, which are written together.

    Raises:
        InputError: if the block size is no multiple of the shard size.
    """
    blocks = zip(grid.core_size, shard, grid.shape, strict=True)
    if any(core % side and count > 1 for core, side, count in blocks):
        raise InputError(
            f"block_size={grid.core_size} is no multiple of the output's shards of {tuple(shard)} voxels"
        )
