"""The mean uncertainty of each candidate, from a stored prediction, and which candidates show nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from emjax.annotation.candidates import Candidates
from emjax.annotation.uncertainty import entropy
from emjax.blocks.work import BlockWork, Parts
from emjax.data.grey_values import is_blank
from emjax.data.normalization import Normalization
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.jobs.suggest.placement import box_in
from emjax.volumes.volume import Volume

# Voxels of a prediction, of all channels, that are read at a time.
_PIECE = (16, 512, 512)


@dataclasses.dataclass(frozen=True)
class MeasureUncertainty(BlockWork):
    """Measures the candidates of a block.

    Attributes:
        candidates: all of them.
        volume: the images that they are boxes of.
        normalization: of the images.
        prediction: `[c, z, y, x]` of the same tissue.
        names: of its channels.
        folder: of the parts.
    """

    candidates: Candidates
    volume: Volume
    normalization: Normalization
    prediction: Volume
    names: tuple[str, ...]
    folder: str

    @property
    def sink(self) -> Parts:
        """Sink that writes the parts."""
        return Parts(self.folder)

    def compute(self, block: Block, *voxels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the candidates of a block.

        Returns:
            `indices`; `uncertainty`, NaN where nothing was predicted; and `blank`, where there is no texture to see.
        """
        found = self.candidates.within(block)
        means = [self._mean(box_in(self.volume, c.core, self.prediction)) for c in found]
        return {
            "indices": np.asarray([candidate.index for candidate in found], np.int64),
            "uncertainty": np.asarray(means, np.float64),
            "blank": np.asarray([self._shows_nothing(c.core) for c in found], bool),
        }

    def _mean(self, box: Box) -> float:
        if not box.volume:
            return float("nan")
        total = sum(
            float(entropy(self.prediction.read(piece), self.names).sum(dtype=np.float64))
            for piece in _pieces(box)
        )
        return total / box.volume

    def _shows_nothing(self, box: Box) -> bool:
        return all(
            is_blank(self.normalization.apply(self.volume.read(piece))) for piece in _pieces(box)
        )


def _pieces(box: Box) -> Iterator[Box]:
    return (block.core for block in Grid(box, _PIECE))
