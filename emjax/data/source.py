"""Examples: example i is a function of the seed and i alone, on any machine and with any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from scipy import ndimage

from emjax.data.grey_values import is_blank
from emjax.data.opening import OpenedEntry
from emjax.data.sampling import Origins, entry_probabilities
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.volumes.label_ids import NONE_NAMED, LabelIds
from emjax.volumes.volume import Volume

Example = dict[str, np.ndarray]
# Seconds before each new try at a read that failed; remote stores fail now and then.
_RETRY_SECONDS = (0.5, 2.0, 8.0)
# Windows without any texture that stop a run. Of volumes where 1 in 100 has texture, 6 in 1000 are stopped in error.
_ALL_BLANK = 512
IGNORE = -1


class _Window(NamedTuple):
    """A place that is being read.

    Attributes:
        rng: that drew it; the next draw follows.
        number: of the entry.
        box: in voxels of the entry's image.
        image: waits for the voxels.
    """

    rng: np.random.Generator
    number: int
    box: Box
    image: Callable[[], np.ndarray]


class Crops:
    """Random windows of a mixture of volumes.

    Args:
        entries: the volumes.
        window_size: (z, y, x) of a window, voxels.
        seed: of the order and the places.
        voxel_nm: (z, y, x) nm to bring all windows to; empty: as they are stored.
        probabilities: of each data set; empty: equal.
        pad: 'error' or 'reflect', for volumes smaller than a window.
        max_blank_tries: redraws of a window without texture, before it is taken anyway; 0 takes all as they come.
        min_labelled: voxels of objects that a window of labels should have; 0: any will do.
        reject_probability: that a window with fewer is drawn again, up to `max_blank_tries` times.
        keep_ids: whether labelled examples also have `classes`, the ids as they are stored.

    Raises:
        InputError: if a volume cannot give a window, or lacks the voxel size that resampling needs.

    Source: rejection of windows without objects after PyTorch Connectomics (arXiv:2112.05754).
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
    ) -> None:
        self.entries = list(entries)
        self.window_size = tuple(window_size)
        self._seed = seed
        self._voxel_nm = tuple(voxel_nm)
        self._tries = max_blank_tries
        self._min_labelled = min_labelled
        self._reject_probability = reject_probability
        self._keep_ids = keep_ids
        # A batch has labels in all of its rows or in none.
        self._labelled = all(e.labels is not None for e in entries)
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
            `image` `[z, y, x]` uint8, contrast-normalized; where all entries have labels, `labels`
            `[z, y, x]` int32, dense ids of this window, 0 for background and -1 for unlabelled, and,
            with `keep_ids`, `classes` `[z, y, x]` int32, the ids as stored and -1; `index`,
            `volume` (number of the entry), `start` `[3]` (in voxels of the file), `voxel_nm` `[3]`
            float32 (0 where unknown).

        Raises:
            InputError: if a volume stays unreadable, naming it, or no window at all has texture.
        """
        return {name: values[0] for name, values in self.stack([index]).items()}

    def stack(self, indices: Sequence[int]) -> Example:
        """Returns examples as one batch, leading axis first; all are read at once."""
        # All first places are drawn and begun before the first is waited for.
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
        """Draws a place and begins to read there."""
        drawn = int(np.searchsorted(self._shares, rng.random(), side="right"))
        number = min(drawn, len(self.entries) - 1)
        volume = self.entries[number].image
        start = self._origins[number].draw(rng)
        box = Box(start, self._read_sizes[number]).clip(Box((0, 0, 0), volume.size))
        return _Window(rng, number, box, volume.begin_read(box))

    def _finish(self, index: int, window: _Window) -> Example:
        """Waits for a window, draws others while there is nothing in it, and makes an example of it."""
        for attempt in range(self._tries + 1):
            if attempt:
                window = self._draw(window.rng)
            number, box, entry = window.number, window.box, self.entries[window.number]
            image = entry.normalization.apply(_wait(window.image, entry.image, box))
            blank = is_blank(image)
            self._found_texture |= not blank
            labels = None
            if not blank and self._labelled and entry.labels:
                labels = _read(entry.labels, box)
                if self._is_wanted(labels, entry, window.rng):
                    break
            elif not blank:
                break
            if blank and attempt == self._tries:
                self._count_blank(entry)
        origin = entry.image.box.start
        example = {
            "image": self._fit(image, number, order=1),
            "index": np.asarray(index, np.int32),
            "volume": np.asarray(number, np.int32),
            "start": np.asarray(box.translate(origin).start, np.int32),
            "voxel_nm": np.asarray(self._voxel_nm or entry.image.voxel_nm or (0, 0, 0), np.float32),
        }
        if self._labelled and entry.labels:
            labels = _read(entry.labels, box) if labels is None else labels
            dense = _dense(labels, entry.label_ids)
            example["labels"] = self._fit(dense, number, order=0)
            if self._keep_ids:
                classes = _classes(labels, entry)
                example["classes"] = self._fit(classes, number, order=0)
        return example

    def _is_wanted(self, labels: np.ndarray, entry: OpenedEntry, rng: np.random.Generator) -> bool:
        """Whether a window of labels has objects enough, or is kept all the same."""
        if not self._min_labelled:
            return True
        if np.count_nonzero(entry.label_ids.objects(labels)) >= self._min_labelled:
            return True
        return bool(rng.random() >= self._reject_probability)

    def _read_size(self, image: Volume) -> Size:
        """Voxels to read so that a window results after resampling."""
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
        """Stored voxels for each voxel of a window, z, y, x."""
        return tuple(a / b for a, b in zip(self._voxel_nm, image.voxel_nm or (), strict=True))

    def _fit(self, array: np.ndarray, number: int, order: int) -> np.ndarray:
        """Mirrors what a small volume lacks, and resamples to the window."""
        size = self._read_sizes[number]
        lacking = [(0, n - s) for n, s in zip(size, array.shape, strict=True)]
        if any(after for _, after in lacking):
            array = np.pad(array, lacking, mode="symmetric")
        if size == self.window_size:
            return array
        return _resample(array, self.window_size, self._ratios(self.entries[number].image), order)

    def _count_blank(self, entry: OpenedEntry) -> None:
        with self._lock:
            self._taken_blank += 1
            count = self._taken_blank
        # At 1, 2, 4, 8 ...: enough to be noticed, not enough to drown the log.
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


def _resample(array: np.ndarray, size: Size, ratios: Sequence[float], order: int) -> np.ndarray:
    """Samples the centres of `size` voxels that are each `ratios` stored voxels long, from the corner on.

    The scale is exact; stretching the whole array to `size` would be off by up to a voxel where ratios are not whole.
    """
    offsets = [0.5 * ratio - 0.5 for ratio in ratios]
    return ndimage.affine_transform(
        array,
        ratios,
        offsets,  # pyright: ignore[reportArgumentType]  # one for each axis will do
        size,
        order=order,
        mode="nearest",
    )


def _read(volume: Volume, box: Box) -> np.ndarray:
    return _wait(volume.begin_read(box), volume, box)


def _wait(reading: Callable[[], np.ndarray], volume: Volume, box: Box) -> np.ndarray:
    """Waits for what was begun; a read that failed in a way that may pass is tried again."""
    for seconds in (*_RETRY_SECONDS, None):
        try:
            return reading()
        # One that may pass; it names the volume and the box. What stays as it is, is an InputError already.
        except OSError as error:
            reason = str(error).splitlines()[0][:300]
            if seconds is None:
                raise InputError(reason) from error
            logging.warning("%s; trying again", reason)
            time.sleep(seconds)
            reading = volume.begin_read(box)
    raise AssertionError("unreachable")


def _dense(labels: np.ndarray, label_ids: LabelIds = NONE_NAMED) -> np.ndarray:
    """Renumbers ids of a window as int32: devices would wrap 64-bit ids silently."""
    # Objects are many voxels long: one id for each run along x leaves some 3 % to sort (25 ms -> 1 ms for a crop).
    flat = labels.ravel()
    firsts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    ids, inverse = np.unique(flat[firsts], return_inverse=True)
    objects = label_ids.objects(ids)
    numbers = np.where(objects, np.cumsum(objects, dtype=np.int32), np.int32(0))
    numbers[label_ids.unknown(ids)] = IGNORE
    lengths = np.diff(firsts, append=flat.size)
    return np.repeat(numbers[inverse], lengths).reshape(labels.shape)


def _classes(labels: np.ndarray, entry: OpenedEntry) -> np.ndarray:
    """Ids as they are stored, int32, -1 where nothing is known."""
    ids, inverse = np.unique(labels, return_inverse=True)
    objects = entry.label_ids.objects(ids)
    largest = int(ids[objects].max()) if objects.any() else 0
    if largest > np.iinfo(np.int32).max:
        name = entry.labels.name if entry.labels else entry.image.name
        raise InputError(
            f"labels {name} have the id {largest}; targets that name ids need ids below 2^31"
        )
    # All background is 0: no device can hold some of it, such as the largest id.
    values = np.where(objects, ids, 0).astype(np.int32)
    values[entry.label_ids.unknown(ids)] = IGNORE
    return values[inverse].reshape(labels.shape)
