"""Cuts the training examples: example i depends only on the seed and i, on any machine with any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from emjax.data.grey_values import is_blank
from emjax.data.label_arrays import IGNORE, class_ids, dense_ids
from emjax.data.opening import OpenedEntry
from emjax.data.sampling import Origins, entry_probabilities
from emjax.errors import InputError, reason
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.volumes.address import MASK
from emjax.volumes.resampling import Resampling
from emjax.volumes.volume import Volume

Example = dict[str, np.ndarray]
# Seconds before each further try of a read that failed, since remote stores fail now and then.
_RETRY_SECONDS = (0.5, 2.0, 8.0)
# Number of windows after which a run is stopped if none had texture. If 1 in 100 windows of a volume has texture, the
# run is stopped wrongly in 6 of 1000 cases.
_ALL_BLANK = 512


class _Window(NamedTuple):
    """A window that is being read.

    Attributes:
        rng: generator that drew the window, and draws the next one if it is rejected.
        number: number of the entry.
        box: box of the window, in voxels of the entry's image.
        image: function that waits for the voxels and returns them.
    """

    rng: np.random.Generator
    number: int
    box: Box
    image: Callable[[], np.ndarray]


class Crops:
    """Random windows of a mixture of volumes.

    Args:
        entries: the volumes.
        window_size: (z, y, x) voxels of a window.
        seed: seed of the order of volumes and of the places in them.
        voxel_nm: (z, y, x) voxel size that all windows are resampled to, nm; empty: as they are stored.
        probabilities: probability of each group; empty: by weights (see `entry_probabilities`).
        pad: 'error' or 'reflect', for volumes smaller than a window.
        max_blank_tries: how often a window without texture is redrawn before it is taken anyway; 0: never.
        min_labelled: voxels of objects that a window of labels should have; 0: no minimum.
        reject_probability: probability that a window with fewer is redrawn, up to `max_blank_tries` times.
        keep_ids: whether labelled examples also have `classes`, the ids as they are stored.
        label_names: names of the labels that examples have; '' are those without a name.

    Raises:
        InputError: if no window fits into a volume, or a volume lacks the voxel size that resampling needs.

    Source: the rejection of windows without objects follows PyTorch Connectomics (arXiv:2112.05754).
    """

    def __init__(
        self,
        entries: Sequence[OpenedEntry],
        window_size: Size,
        *,
        seed: int,
        voxel_nm: Sequence[float] = (),
        probabilities: Sequence[float] = (),
        pad: str = "error",
        max_blank_tries: int = 10,
        min_labelled: int = 0,
        reject_probability: float = 0.95,
        keep_ids: bool = False,
        label_names: Sequence[str] = ("",),
    ) -> None:
        self.entries = list(entries)
        self.window_size = tuple(window_size)
        self._seed = seed
        self._voxel_nm = tuple(voxel_nm)
        self._tries = max_blank_tries
        self._min_labelled = min_labelled
        self._reject_probability = reject_probability
        self._keep_ids = keep_ids
        # All rows of a batch have labels, or none has.
        self._names = tuple(label_names)
        self._labelled = all(set(self._names) & set(e.all_labels) for e in entries)
        groups, weights = [e.group for e in entries], [e.weight for e in entries]
        self._shares = np.cumsum(entry_probabilities(groups, weights, probabilities))
        self._read_sizes = [self._read_size(e.image) for e in entries]
        self._origins = [
            Origins(e.image.size, size, e.excluded, pad=pad, name=e.image.name)
            for e, size in zip(entries, self._read_sizes, strict=True)
        ]
        self._lock = threading.Lock()
        self._taken_blank = 0
        self._found_texture = False

    def example(self, index: int) -> Example:
        """Cuts one window.

        Args:
            index: number of the example, 0 or more.

        Returns:
            `image` `[z, y, x]` uint8, normalized; `index`; `volume`, the number of the entry;
            `start` `[3]` z, y, x, in voxels of the file; `voxel_nm` `[3]` float32, 0 if unknown. If
            all entries have labels, also `labels` `[z, y, x]` int32, the dense ids of this window,
            0 for background and -1 for unlabelled; and with `keep_ids` `classes` `[z, y, x]` int32,
            the ids as stored, likewise. Labels with a name are called `labels.NAME` and `classes.NAME`; where a volume
            does not have those of a name, or its mask is 0, all are -1.

        Raises:
            InputError: if a volume cannot be read even after several tries (names it), or no window
                at all has texture.
        """
        return {name: values[0] for name, values in self.stack([index]).items()}

    def stack(self, indices: Sequence[int]) -> Example:
        """Returns several examples, stacked along a new first axis; they are read concurrently."""
        # Begin to read all windows before waiting for the first.
        windows = [
            self._draw(np.random.Generator(np.random.Philox(key=[self._seed, i]))) for i in indices
        ]
        batch: Example = {}
        for row, (index, window) in enumerate(zip(indices, windows, strict=True)):
            for name, value in self._finish(index, window).items():
                if not row:
                    batch[name] = np.empty((len(windows), *value.shape), value.dtype)
                batch[name][row] = value
        return batch

    def _draw(self, rng: np.random.Generator) -> _Window:
        """Draws a window and begins to read it."""
        drawn = int(np.searchsorted(self._shares, rng.random(), side="right"))
        number = min(drawn, len(self.entries) - 1)
        volume = self.entries[number].image
        start = self._origins[number].draw(rng)
        box = Box(start, self._read_sizes[number]).clip(Box((0, 0, 0), volume.size))
        return _Window(rng, number, box, volume.begin_read(box))

    def _finish(self, index: int, window: _Window) -> Example:
        """Waits for a window, redraws it if it is blank or lacks objects, and makes an example of it."""
        for attempt in range(self._tries + 1):
            if attempt:
                window = self._draw(window.rng)
            number, box, entry = window.number, window.box, self.entries[window.number]
            image = entry.normalization.apply(_wait(window.image, entry.image, box))
            blank = is_blank(image)
            self._found_texture |= not blank
            labels = None
            if not blank and self._labelled:
                labels = self._read_labels(entry, box)
                if self._is_wanted(labels, entry, window.rng):
                    break
            elif not blank:
                break
            if blank and attempt == self._tries:
                self._count_blank(entry)
        origin = entry.image.box.start
        example = {
            "image": self._fit(image, number),
            "index": np.asarray(index, np.int32),
            "volume": np.asarray(number, np.int32),
            "start": np.asarray(box.translate(origin).start, np.int32),
            "voxel_nm": np.asarray(self._voxel_nm or entry.image.voxel_nm or (0, 0, 0), np.float32),
        }
        if self._labelled:
            labels = labels or self._read_labels(entry, box)
            example |= self._label_arrays(labels, entry, number)
        return example

    def _read_labels(self, entry: OpenedEntry, box: Box) -> dict[str, np.ndarray]:
        """Reads the labels that a volume has, and its mask."""
        volumes = {n: part.volume for n, part in entry.all_labels.items() if n in self._names}
        if entry.mask:
            volumes[MASK] = entry.mask
        begun = {name: volume.begin_read(box) for name, volume in volumes.items()}
        return {name: _wait(reading, volumes[name], box) for name, reading in begun.items()}

    def _label_arrays(
        self, labels: Mapping[str, np.ndarray], entry: OpenedEntry, number: int
    ) -> Example:
        """Returns what an example has of labels."""
        found: Example = {}
        shape = next(iter(labels.values())).shape
        nowhere = np.full(shape, IGNORE, np.int32)
        for name in self._names:
            arrays = {"labels": nowhere, **({"classes": nowhere} if self._keep_ids else {})}
            if name in labels:
                source = entry.all_labels[name]
                arrays["labels"] = dense_ids(labels[name], source.ids)
                if self._keep_ids:
                    arrays["classes"] = class_ids(labels[name], source)
            for kind, array in arrays.items():
                if MASK in labels:
                    array = np.where(labels[MASK] != 0, array, np.int32(IGNORE))
                found[f"{kind}.{name}" if name else kind] = self._fit(array, number, ids=True)
        return found

    def _is_wanted(
        self, labels: Mapping[str, np.ndarray], entry: OpenedEntry, rng: np.random.Generator
    ) -> bool:
        """Whether a window of labels has enough voxels of objects, or is kept by chance nevertheless."""
        if not self._min_labelled:
            return True
        for name, part in entry.all_labels.items():
            if name in labels:
                objects = part.ids.objects(labels[name])
                if MASK in labels:
                    objects &= labels[MASK] != 0
                if np.count_nonzero(objects) >= self._min_labelled:
                    return True
        return bool(rng.random() >= self._reject_probability)

    def _read_size(self, image: Volume) -> Size:
        """Returns the (z, y, x) voxels to read so that resampling gives a window."""
        if not self._voxel_nm:
            return self.window_size
        if image.voxel_nm is None:
            raise InputError(
                f"{image.name} does not say its voxel size, which data.voxel_nm={self._voxel_nm} needs; add "
                "?voxel_nm=z,y,x to its address"
            )
        return tuple(
            max(1, int(np.ceil(n * ratio - 1e-6)))
            for n, ratio in zip(self.window_size, self._ratios(image), strict=True)
        )

    def _ratios(self, image: Volume) -> tuple[float, ...]:
        """Returns the number of stored voxels per voxel of a window along z, y, x."""
        return tuple(a / b for a, b in zip(self._voxel_nm, image.voxel_nm or (), strict=True))

    def _fit(self, array: np.ndarray, number: int, *, ids: bool = False) -> np.ndarray:
        """Pads a crop of a small volume by mirroring, and brings it to the size of a window.

        Args:
            array: `[z, y, x]`, what was read.
            number: number of the entry.
            ids: whether values are ids, which are never mixed; grey values become means where voxels become larger, so
                that fine texture does not alias.
        """
        size = self._read_sizes[number]
        lacking = [(0, n - s) for n, s in zip(size, array.shape, strict=True)]
        if any(after for _, after in lacking):
            array = np.pad(array, lacking, mode="symmetric")
        if not self._voxel_nm:
            return array
        grid = Resampling(size, self.window_size, self._ratios(self.entries[number].image))
        window = Box((0, 0, 0), self.window_size)
        resample = grid.nearest if ids else grid.interpolate
        # Not all voxels that were read may be needed.
        used = grid.reads_nearest(window) if ids else grid.reads(window)
        return resample(array[used.slices], window)

    def _count_blank(self, entry: OpenedEntry) -> None:
        with self._lock:
            self._taken_blank += 1
            count = self._taken_blank
        # Warn at counts of 1, 2, 4, 8 ...: often enough to be noticed, without flooding the log.
        if count & (count - 1) == 0:
            logging.warning(
                "%d crops without texture were taken after %d tries (the last from %s); exclude empty parts by a box",
                count,
                self._tries,
                entry.image.name,
            )
        if self._tries and not self._found_texture and count * (self._tries + 1) >= _ALL_BLANK:
            raise InputError(
                f"none of {count * (self._tries + 1)} windows of {self.window_size} voxels has texture (the last from "
                f"{entry.image.name}); check the addresses, exclude empty parts by a box, or take all with "
                "data.max_blank_tries=0"
            )


def _wait(reading: Callable[[], np.ndarray], volume: Volume, box: Box) -> np.ndarray:
    """Waits for a read and returns its voxels; retries errors that may be temporary."""
    for seconds in (*_RETRY_SECONDS, None):
        try:
            return reading()
        # An OSError may be temporary, and names the volume and the box; permanent errors are InputErrors already.
        except OSError as error:
            if seconds is None:
                raise InputError(reason(error)) from error
            logging.warning("%s; trying again", reason(error))
            time.sleep(seconds)
            reading = volume.begin_read(box)
    raise AssertionError("unreachable")
