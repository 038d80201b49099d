"""Passes over blocks that find something out: each block leaves a part on disk, and the parts are added up at the end.

The folder of a run has, until its results are written, `parts/PASS/block-N.npz` and the numbers of the blocks that are
done. A run that was killed goes on; one that is finished has no parts, and the same command looks at the volumes anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath

from emjax.blocks.done import DoneBlocks
from emjax.blocks.engines import Work
from emjax.blocks.parts import part_path, read_part
from emjax.blocks.run import Summary, run_blocks
from emjax.errors import InputError
from emjax.geometry.grid import Grid
from emjax.runs.memory import peak_rss_bytes
from emjax.volumes.address import Address
from emjax.volumes.read.folder_metadata import METADATA_FILES

_FOLDER, _DONE = "parts", "done"


class Interrupted(Exception):  # noqa: N818  (not an error)
    """The process was asked to stop, and the same command goes on."""


class BlockPasses:
    """Runs passes, and keeps account of them."""

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
        self.folder = f"{os.fspath(workdir).rstrip('/')}/{_FOLDER}"
        self._identity, self._cluster, self._num_workers = identity, cluster, num_workers
        self._summaries: list[Summary] = []

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
            Interrupted: if it was asked to stop, or the disk is full.
            InputError: as raised by `work`, or if blocks failed.
        """
        done = DoneBlocks(self.path(f"{name}-{_DONE}"), self._identity)
        if not self._begun(done):
            done.begin()
        if only is not None:
            idle = np.setdiff1d(np.flatnonzero(~done.mask(len(grid))), only)
            if len(idle):
                done.mark(*idle.tolist())
        summary = run_blocks(
            grid, work, done, what=name, cluster=self._cluster, num_workers=self._num_workers
        )
        self._summaries.append(summary)
        summary.check(grid)
        if not summary.complete:
            raise Interrupted

    def parts(self, name: str, indices: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
        """Yields the parts of blocks, in the order of their numbers."""
        return (read_part(part_path(self.path(name), int(index))) for index in indices)

    def results(self) -> dict[str, float | int]:
        """Returns blocks, those done before, memory and rate of all passes together."""
        rates = [summary.voxels for summary in self._summaries]
        seconds = sum(summary.seconds for summary in self._summaries)
        values: dict[str, float | int] = {
            "blocks": max(summary.blocks for summary in self._summaries),
            "blocks_resumed": sum(summary.blocks_resumed for summary in self._summaries),
            "peak_rss_bytes": max(
                [peak_rss_bytes(), *(summary.peak_rss_bytes for summary in self._summaries)]
            ),
        }
        if any(rates):
            values["voxels_per_s"] = sum(rates) / len(rates) / seconds
        return values

    def clear(self) -> None:
        """Deletes the parts, once the results are written."""
        folder = epath.Path(self.folder)
        if folder.exists():
            folder.rmtree()

    def _begun(self, done: DoneBlocks) -> bool:
        try:
            return done.begun()
        except InputError:
            logging.info("%s is of other volumes or settings: beginning anew", self.folder)
            return False


def fingerprint(address: str | Address) -> list[Mapping[str, int] | str]:
    """Returns what changes when a volume is replaced by another one of the same name, as far as files tell.

    Args:
        address: of the volume; of a remote one the address alone is known.
    """
    known = Address.parse(address) if isinstance(address, str) else address
    known = known.absolute()
    found: list[Mapping[str, int] | str] = [str(known)]
    if "://" in known.path:
        return found
    folders = [known.path, *([os.path.join(known.path, known.dataset)] if known.dataset else [])]
    files = [os.path.join(folder, name) for folder in folders for name in METADATA_FILES]
    for path in (known.path, *files):
        if os.path.isfile(path):
            status = os.stat(path)
            found.append({"time_ns": status.st_mtime_ns, "bytes": status.st_size})
    return found
