"""Labels to doubt: how much of each small box a network contradicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.annotation.candidates import Candidates
from emjax.annotation.disagreement import contradicted
from emjax.annotation.uncertainty import groups
from emjax.blocks.work import BlockWork, Parts
from emjax.data.labelled import check_names
from emjax.data.opening import OpenedEntry, open_entries
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.jobs.suggest.placement import box_in
from emjax.runs.spec import RunSpec, show_nm
from emjax.tasks.label_targets import targets_at
from emjax.tasks.segment import Segment
from emjax.volumes.pairs import same_voxels
from emjax.volumes.volume import Volume


@dataclasses.dataclass(frozen=True)
class Doubted:
    """Labels, and the network that doubts them.

    Attributes:
        entry: image and labels.
        task: what the network learnt, which makes targets of labels.
    """

    entry: OpenedEntry
    task: Segment

    def with_prediction(self, prediction: Volume) -> Contradiction:
        """Returns them with the network's prediction.

        Raises:
            InputError: if the prediction lacks channels of the network, or has other voxels than the labels.
        """
        if len(prediction.shape) != 4 or prediction.shape[0] != len(self.task.names):
            raise InputError(
                f"prediction {prediction.name} is {prediction.shape}, but the network has the channels "
                f"{', '.join(self.task.names)}: doubts need all of them"
            )
        whole = Box((0, 0, 0), self.entry.image.size)
        if box_in(self.entry.image, whole, prediction).size != whole.size:
            raise InputError(
                f"prediction {prediction.name} does not cover the labels {whole} of {self.entry.image.name}; give a "
                "box of labels that it does"
            )
        ours, theirs = self.entry.image.voxel_nm, prediction.voxel_nm
        if ours is not None and theirs is not None and not same_voxels(ours, theirs):
            raise InputError(_other_voxels(self.entry.image.name, ours, theirs))
        return Contradiction(self.entry, self.task, prediction)


@dataclasses.dataclass(frozen=True)
class Contradiction(Doubted):
    """Labels, and a prediction that contradicts them here and there.

    Attributes:
        prediction: of the network, `[c, z, y, x]`.
    """

    prediction: Volume


def open_labels(
    image: str, part: tuple[Volume, Box], labels: str, task: Segment, spec: RunSpec
) -> Doubted:
    """Opens labels, and checks that they can be compared with what a network predicts.

    Args:
        image: address of the images.
        part: the images, and the box of them that is predicted.
        labels: what stands after '|' in `data.volumes`.
        task: of the network.
        spec: of the network.

    Raises:
        InputError: if they cannot.
    """
    entries = open_entries(f"{image}|{labels}")
    if len(entries) != 1:
        raise InputError(f"labels={labels}: give the labels of one volume")
    check_names(entries, task.label_names, "labels")
    ours, theirs = entries[0].image.voxel_nm, spec.voxel_nm
    if ours is not None and theirs and not same_voxels(ours, theirs):
        raise InputError(_other_voxels(entries[0].image.name, ours, theirs))
    inside = box_in(*part, entries[0].image)
    if not inside.volume:
        raise InputError(f"labels={labels}: none of them lies in box={part[1]}")
    return Doubted(entries[0].crop(inside), task)


def _other_voxels(name: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    return (
        f"{name} has voxels of {show_nm(ours)} nm, the network sees {show_nm(theirs)} nm: doubts need labels of the "
        "voxels that the network sees; convert image and labels to them first"
    )


@dataclasses.dataclass(frozen=True)
class DoubtLabels(BlockWork):
    """Counts the contradicted voxels of the boxes of a block; never leaves this process.

    Attributes:
        boxes: all of them, in voxels of the labels.
        doubted: labels and prediction.
        least: see `emjax.annotation.disagreement.contradicted`.
        thickness: see there.
        folder: of the parts.
    """

    boxes: Candidates
    doubted: Contradiction
    least: float
    thickness: int
    folder: str

    @property
    def sink(self) -> Parts:
        """Sink that writes the parts."""
        return Parts(self.folder)

    def compute(self, block: Block, *voxels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns `indices` and, of each box, `counts`: known voxels, contradicted ones, of a yes, of a no."""
        found = self.boxes.within(block)
        indices = np.asarray([box.index for box in found], np.int64)
        marks = self._marks(block.core)
        counts = np.zeros((len(found), 4), np.int64)
        for row, box in enumerate(found):
            part = box.core.translate(tuple(-s for s in block.core.start)).slices
            counts[row] = [np.count_nonzero(mark[part]) for mark in marks]
        return {"indices": indices, "counts": counts}

    def _marks(self, core: Box) -> tuple[np.ndarray, ...]:
        """Returns where labels are known, are contradicted, by a yes and by a no in any channel, `[z, y, x]` bool."""
        entry, task, prediction = (
            self.doubted.entry,
            self.doubted.task,
            self.doubted.prediction,
        )
        values, masks = targets_at(entry, task, core)
        stored = prediction.read(box_in(entry.image, core, prediction))
        shown = stored.astype(np.float32) / (255 if stored.dtype == np.uint8 else 1)
        chosen = sorted(index for group in groups(task.names) for index in group)
        known = masks[chosen] > 0
        yes, no = contradicted(shown[chosen], values[chosen], known, self.least, self.thickness)
        # A voxel may have both, in two channels, and counts once.
        return np.any(known, axis=0, keepdims=True)[0], yes | no, yes, no
