"""Casts voxels from one type to another, without a loss that nobody asked for."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.errors import InputError

IMAGE, LABELS = "image", "labels"
KINDS = (IMAGE, LABELS)
# Types to which an image may be stretched.
_STRETCHED = ("uint8", "uint16")


def guess_kind(dtype: np.dtype) -> str:
    """Returns 'image' for integers of 8 and 16 bits and floats, 'labels' for longer integers and masks."""
    ids = dtype.kind == "b" or (dtype.kind in "ui" and dtype.itemsize >= 4)
    return LABELS if ids else IMAGE


def holds(target: np.dtype, source: np.dtype) -> bool:
    """Whether a type can represent all values of another type."""
    # numpy calls it safe to cast 64-bit integers to float64, which cannot represent all those above 2^53.
    lossy = target.kind == "f" and source.kind in "ui" and source.itemsize >= 8
    return np.can_cast(source, target, "safe") and not lossy


@dataclasses.dataclass(frozen=True)
class Cast:
    """A cast of voxel values from one type to another.

    Attributes:
        source: name of the type of the input.
        target: name of the type of the output.
        value_range: (low, high) values that become 0 and the largest of `target`; values outside are clipped. None
            keeps the values as they are.
    """

    source: str
    target: str
    value_range: tuple[float, float] | None = None

    def check(self, kind: str) -> None:
        """Checks that the cast loses nothing, unless the loss was asked for.

        Args:
            kind: 'image' or 'labels'.

        Raises:
            InputError: if it would lose something.
        """
        source, target = np.dtype(self.source), np.dtype(self.target)
        if self.value_range is not None:
            if kind == LABELS:
                raise InputError(
                    "value_range stretches grey values, and these are labels; leave it out"
                )
            if self.target not in _STRETCHED:
                raise InputError(
                    f"value_range stretches to uint8 or uint16, not to {self.target}; set dtype"
                )
            low, high = self.value_range
            if not low < high:
                raise InputError(f"value_range={low:g},{high:g}: the first must be the smaller one")
            return
        # A cast of ids between integer types is exact for those that fit; whether they fit is checked on reading.
        # So are whole numbers in floats.
        checked = kind == LABELS and source.kind in "uibf" and target.kind in "ui"
        if not checked and not holds(target, source):
            fix = (
                "give value_range=LOW,HIGH or value_range=percentiles to stretch them"
                if self.target in _STRETCHED and kind == IMAGE
                else "leave dtype out"
            )
            raise InputError(f"dtype={target} cannot hold all values of {source}; {fix}")

    def __call__(self, voxels: np.ndarray) -> np.ndarray:
        """Casts voxels.

        Args:
            voxels: array of type `source`.

        Raises:
            InputError: if a label does not fit, or a value to be stretched is NaN.
        """
        target = np.dtype(self.target)
        if self.value_range is not None:
            return _stretch(voxels, target, *self.value_range)
        if voxels.dtype == target:
            return voxels
        if not holds(target, voxels.dtype) and voxels.size:
            limits = np.iinfo(target)
            if voxels.dtype.kind == "f":
                _refuse_fractions(voxels)
            for value in (int(voxels.min()), int(voxels.max())):
                if not limits.min <= value <= limits.max:
                    raise InputError(
                        f"a label is {value}, which {target} cannot hold; give another dtype"
                    )
        return voxels.astype(target)


def _refuse_fractions(voxels: np.ndarray) -> None:
    """Refuses labels in floats that are no ids: fractions, NaN, or above what the type counts one by one."""
    if not (np.isfinite(voxels).all() and (voxels == np.rint(voxels)).all()):
        raise InputError("labels must be whole numbers, and some are not; are these grey values?")
    most = 2 ** (np.finfo(voxels.dtype).nmant + 1)
    if np.abs(voxels).max() > most:
        raise InputError(
            f"a label is above {most}, where {voxels.dtype} leaves out whole numbers: ids were lost when it was written"
        )


def _stretch(voxels: np.ndarray, target: np.dtype, low: float, high: float) -> np.ndarray:
    most = np.iinfo(target).max
    # For uint8 and uint16 input, a table of all values is faster than computing each voxel.
    if voxels.dtype.name in _STRETCHED:
        table = np.arange(np.iinfo(voxels.dtype).max + 1, dtype=np.float64)
        return np.take(_scaled(table, low, high, most).astype(target), voxels)
    out = np.empty(voxels.shape, target)
    # Row by row: in 64 bits, a whole block would take several times the memory of the input.
    rows = voxels.reshape(-1, voxels.shape[-1])
    flat = out.reshape(rows.shape)
    step = max(1, (1 << 20) // voxels.shape[-1])
    for i in range(0, len(rows), step):
        scaled = _scaled(rows[i : i + step].astype(np.float64), low, high, most)
        if np.isnan(scaled).any():
            raise InputError(
                f"there are NaN, which {target} cannot hold; leave dtype and value_range out"
            )
        flat[i : i + step] = scaled
    return out


def _scaled(values: np.ndarray, low: float, high: float, most: int) -> np.ndarray:
    return np.clip(np.rint((values - low) * (most / (high - low))), 0, most)
