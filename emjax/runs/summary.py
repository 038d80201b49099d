"""What became of the blocks of a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.runs.memory import peak_rss_bytes


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
        peak_rss_bytes: of the worker process that held most; 0 where there were none.
    """

    blocks: int
    blocks_resumed: int
    voxels: int
    seconds: float
    failures: Mapping[int, str]
    stopped: bool
    complete: bool
    peak_rss_bytes: int = 0

    def results(self) -> dict[str, float | int]:
        """Returns what `results.json` holds of every job on blocks; the rate only where something was done."""
        values: dict[str, float | int] = {
            "blocks": self.blocks,
            "blocks_resumed": self.blocks_resumed,
            # Of one process: blocks of a cluster are held by several.
            "peak_rss_bytes": max(self.peak_rss_bytes, peak_rss_bytes()),
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
