"""The summary of a job on blocks: how many were done, resumed and failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.runs.memory import peak_rss_bytes


@dataclasses.dataclass(frozen=True)
class Summary:
    """What one call of `emjax.blocks.run.run_blocks` did.

    Attributes:
        blocks: number of blocks in the grid, those of other processes included.
        blocks_resumed: number of blocks in this process's share that were done before this call.
        voxels: number of voxels in the cores of the blocks that this call did.
        seconds: time that this call took.
        failures: number of each block that failed -> its last error.
        stopped: whether a signal, a full disk or a lost engine ended the call early.
        complete: whether all blocks of the grid are done, those of other processes included.
        peak_rss_bytes: most memory that any process working on blocks has held, in bytes; 0 if none reported it.
        asked: whether a signal asked the process to stop, though the last blocks may have been begun by then.
    """

    blocks: int
    blocks_resumed: int
    voxels: int
    seconds: float
    failures: Mapping[int, str]
    stopped: bool
    complete: bool
    peak_rss_bytes: int = 0
    asked: bool = False

    def results(self) -> dict[str, float | int]:
        """Returns what `results.json` holds for every job on blocks; without a rate if no voxels were done."""
        values: dict[str, float | int] = {
            "blocks": self.blocks,
            "blocks_resumed": self.blocks_resumed,
            # Of the one process that held most, although a cluster has several.
            "peak_rss_bytes": max(self.peak_rss_bytes, peak_rss_bytes()),
        }
        if self.voxels:
            values["voxels_per_s"] = self.voxels / self.seconds
        return values

    def check(self, grid: Grid) -> None:
        """Checks that no block failed.

        Args:
            grid: grid of the blocks.

        Raises:
            InputError: if blocks failed; names the first one, its place and its error, and says how many failed.
        """
        if not self.failures:
            return
        first = min(self.failures)
        raise InputError(
            f"{len(self.failures)} of {self.blocks} blocks failed, the first is block {first} "
            f"{grid[first].core}: {self.failures[first]}; the same command tries the blocks that are not done again"
        )
