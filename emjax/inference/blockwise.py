"""The engine of every job on a whole volume: each block once, however often it is stopped.

A block is read, computed and written by one function, which returns when its data is on disk; then it is marked done.
Blocks do not know each other, so that any number of processes may share them by their numbers, and one that is lost
does not stop the others. Nothing here imports jax: stages on CPU workers use it too.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import logging

from emjax.errors import InputError
from emjax.geometry.grid import Block, Grid
from emjax.inference.done_blocks import DoneBlocks
from emjax.inference.progress import BlockProgress
from emjax.inference.stopping import Stopping

# Failed blocks after which no more are begun: something is wrong with all of them.
_MOST_FAILURES = 16


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the blocks.

    Attributes:
        blocks: of the grid, of all processes.
        blocks_resumed: of this process's share, done before this call.
        voxels: in the cores of the blocks done by this call.
        seconds: that this call took.
        failures: number of each block that failed -> its last error.
        stopped: whether SIGTERM or Ctrl-C ended the call early.
        complete: whether all blocks of the grid are done, those of other processes too.
    """

    blocks: int
    blocks_resumed: int
    voxels: int
    seconds: float
    failures: Mapping[int, str]
    stopped: bool
    complete: bool

    def results(self) -> dict[str, float | int]:
        """Returns what `results.json` holds of every job on blocks; the rate only where something was done."""
        values: dict[str, float | int] = {
            "blocks": self.blocks,
            "blocks_resumed": self.blocks_resumed,
            "peak_rss_bytes": peak_rss_bytes(),
        }
        if self.voxels:
            values["voxels_per_s"] = self.voxels / self.seconds
        return values

    def check(self, grid: Grid) -> None:
        """Checks that no block failed.

        Args:
            grid: of the blocks.

        Raises:
            InputError: naming the first failed block, its place and its error, and how many there are.
        """
        if not self.failures:
            return
        first = min(self.failures)
        raise InputError(
            f"{len(self.failures)} of {self.blocks} blocks failed, the first is block {first} "
            f"{grid[first].core}: {self.failures[first]}; the same command tries the blocks that are not done again"
        )


def run_blocks(
    grid: Grid,
    work: Callable[[Block], None],
    done: DoneBlocks,
    *,
    what: str,
    num_workers: int = 1,
    rank: int = 0,
    world: int = 1,
    retries: int = 2,
    backoff_s: float = 1.0,
) -> Summary:
    """Works on every block of a grid that is not done, and marks it.

    Args:
        grid: blocks; their cores must not share a write chunk (see `check_aligned`).
        work: reads, computes and writes a block; returns once its data is on disk. Any error but InputError is
            taken as one that may pass, such as of a network drive.
        done: marks; must have been begun.
        what: name for the progress bar.
        num_workers: threads; 1 works in this one.
        rank: of this process: it takes the blocks `rank, rank + world, ...`.
        world: processes that share the grid.
        retries: further tries of a block.
        backoff_s: seconds before the first of them, doubled each time.

    Returns:
        What was done, resumed and failed.

    Raises:
        InputError: as raised by `work`: no other try can help. Blocks begun are finished before.
    """
    if not 0 <= rank < world:
        raise InputError(
            f"rank={rank} must be 0 to {world - 1}, the processes that share the blocks"
        )
    before = done.indices() & set(range(len(grid)))
    todo = [index for index in range(rank, len(grid), world) if index not in before]
    mine = len(range(rank, len(grid), world))
    began = time.monotonic()
    voxels, failures = 0, {}
    shown = BlockProgress(what, mine, mine - len(todo), sum(grid[i].core.volume for i in todo))

    def attempt(block: Block) -> str:
        """Returns the error of a block, '' when it is done."""
        for trial in range(retries + 1):
            try:
                work(block)
                done.mark(block.index)
                return ""
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, the other blocks go on)
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
                logging.warning(
                    "block %d %s, try %d of %d: %s",
                    block.index,
                    block.core,
                    trial + 1,
                    retries + 1,
                    reason,
                    exc_info=trial == retries,
                )
            if trial < retries:
                time.sleep(backoff_s * 2**trial)
        return reason

    with Stopping() as stopping:
        try:
            for index, error in _each(todo, grid, attempt, num_workers, stopping):
                if error:
                    failures[index] = error
                    if len(failures) >= _MOST_FAILURES:
                        logging.error("%d blocks failed; no more are begun", len(failures))
                        break
                else:
                    voxels += grid[index].core.volume
                    shown.update(grid[index].core.volume)
        finally:
            shown.close()
    after = done.indices() & set(range(len(grid)))
    complete = len(after) == len(grid)
    return Summary(
        blocks=len(grid),
        blocks_resumed=mine - len(todo),
        voxels=voxels,
        seconds=time.monotonic() - began,
        failures=failures,
        stopped=stopping.requested and not complete,
        complete=complete,
    )


def check_aligned(grid: Grid, shard: Sequence[int]) -> None:
    """Checks that no two blocks write the same shard.

    Args:
        grid: of the blocks; the output begins where its outer box does.
        shard: (z, y, x) voxels that are written together.

    Raises:
        InputError: if the blocks are no multiple of the shards.
    """
    blocks = zip(grid.core_size, shard, grid.shape, strict=True)
    if any(core % side and count > 1 for core, side, count in blocks):
        raise InputError(
            f"block_size={grid.core_size} is no multiple of the output's shards of {tuple(shard)} voxels"
        )


def peak_rss_bytes() -> int:
    """Returns the most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def _each(
    todo: Sequence[int],
    grid: Grid,
    attempt: Callable[[Block], str],
    num_workers: int,
    stopping: Stopping,
) -> Iterator[tuple[int, str]]:
    """Yields number and error of each block as it ends, and begins no more once asked to stop."""
    if num_workers <= 1:
        for index in todo:
            if stopping.requested:
                return
            yield index, attempt(grid[index])
        return
    waiting = iter(todo)
    running: dict[concurrent.futures.Future[str], int] = {}
    with concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="block") as pool:
        while True:
            # Handed out one by one: a volume may have a million blocks, and those not begun can be left.
            while len(running) < num_workers and not stopping.requested:
                index = next(waiting, None)
                if index is None:
                    break
                running[pool.submit(attempt, grid[index])] = index
            if not running:
                return
            # A signal's handler runs only while this thread does not wait in C.
            ended, _ = concurrent.futures.wait(
                running, timeout=1, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in ended:
                yield running.pop(future), future.result()
