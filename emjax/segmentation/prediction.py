"""The output of a network: channels `[c, z, y, x]` in [0, 1], read one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Size

Offset: TypeAlias = tuple[int, int, int]  # (z, y, x), voxels

# Offsets between voxels that share a face, along z, y, x.
NEAREST: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))

# Rounding of blended float16 tiles may exceed [0, 1] by up to this much; it is clipped.
_ROUNDING = 1e-3


class ChannelArray(Protocol):
    """The part of the array interface that `Prediction` needs, `[c, z, y, x]`; one on disk reads channels on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, (c, z, y, x)."""
        ...

    @property
    def ndim(self) -> int:
        """Number of axes, always 4."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        ...

    def __len__(self) -> int:
        """Returns the number of channels."""
        ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Returns a channel, `[z, y, x]`."""
        ...


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Channels with their names; a channel is converted to float32 only when it is requested.

    Attributes:
        array: `[c, z, y, x]`, float in [0, 1], or uint8 that means `array / 255`.
        names: of each channel: 'affinity', 'foreground', 'contour', 'distance', 'membrane', ...
        offsets: of each channel, (z, y, x) voxels, negative: an affinity at p joins p and p + o;
            None for a channel that is no affinity.
        start: (z, y, x) of the first voxel in the volume that this is a part of.
    """

    array: ChannelArray
    names: tuple[str, ...]
    offsets: tuple[Offset | None, ...]
    start: Size = (0, 0, 0)

    def __post_init__(self) -> None:
        """Raises InputError if the array cannot be a prediction with these names and offsets."""
        if self.array.ndim != 4 or 0 in self.array.shape:
            raise InputError(
                f"a prediction is [c, z, y, x]; this array has shape {self.array.shape}"
            )
        if self.array.dtype != np.uint8 and self.array.dtype.kind != "f":
            raise InputError(
                f"a prediction is float in [0, 1] or uint8 in 0..255; this one is {self.array.dtype}"
            )
        channels = len(self.array)
        if len(self.names) != channels or len(self.offsets) != channels:
            raise InputError(
                f"the prediction has {channels} channels, but {len(self.names)} names "
                f"({', '.join(self.names)}) and {len(self.offsets)} offsets; give one of each a channel"
            )
        joins = []
        for name, offset in zip(self.names, self.offsets, strict=True):
            if (name == "affinity") != (offset is not None):
                raise InputError(
                    f"channel '{name}' has offset {offset}; affinities need a z, y, x offset, "
                    "other channels have none"
                )
            if offset is not None:
                _check_offset(offset)
                joins.append(tuple(offset))
        if len(set(joins)) < len(joins):
            raise InputError(f"an affinity offset is given twice ({joins}); give each once")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size of a channel, (z, y, x) voxels."""
        _, z, y, x = self.array.shape
        return z, y, x

    @property
    def has_affinities(self) -> bool:
        """Whether the affinities of all three nearest offsets exist."""
        return has_nearest(self.offsets)

    def channel(self, name: str) -> np.ndarray:
        """Returns the one channel with this name, `[z, y, x]` float32 in [0, 1].

        Raises:
            InputError: if no channel or more than one has the name, or it holds NaN, inf or numbers outside of
                [0, 1].
        """
        found = [i for i, known in enumerate(self.names) if known == name]
        if len(found) != 1:
            raise InputError(
                f"the prediction has {len(found)} channels '{name}', where one is needed; "
                f"it has {self.summary()}"
            )
        return self._read(found[0])

    def affinities(self) -> Affinities:
        """Returns all affinity channels, in the order in which they are stored.

        Raises:
            InputError: if one of the three nearest is missing.
        """
        if not self.has_affinities:
            raise InputError(
                "affinities -1,0,0 and 0,-1,0 and 0,0,-1 are needed; the prediction has "
                f"{self.summary()}"
            )
        joins = [(i, offset) for i, offset in enumerate(self.offsets) if offset is not None]
        return Affinities(
            tuple(_Stored(self, i) for i, _ in joins), tuple((z, y, x) for _, (z, y, x) in joins)
        )

    def summary(self) -> str:
        """Returns a description of the channels in one line, for messages."""
        return show_channels(self.names, self.offsets)

    def _read(self, index: int, sections: slice | int = slice(None)) -> np.ndarray:
        stored = self.array[index][sections]
        if stored.dtype == np.uint8:
            return np.divide(stored, np.float32(255), dtype=np.float32)
        values = np.asarray(stored, np.float32)
        low, high = float(values.min()), float(values.max())
        # A comparison with NaN is false, so this condition catches NaN as well.
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            found = low if not low >= -_ROUNDING else high
            title = show_channels([self.names[index]], [self.offsets[index]])
            raise InputError(
                f"channel {index} ({title}) of the prediction holds {found:g}; it must be between 0 "
                "and 1 everywhere: store probabilities, as float or as uint8 0..255"
            )
        return np.clip(values, 0, 1) if low < 0 or high > 1 else values


class Source(Protocol):
    """One channel of affinities that is computed when it is read."""

    def read(self, sections: slice | int) -> np.ndarray:
        """Returns some sections, `[z, y, x]` float32 in [0, 1], or one section, `[y, x]`."""
        ...


@dataclasses.dataclass(frozen=True)
class Affinities:
    """Affinity channels that are computed when they are indexed.

    Attributes:
        sources: one for each channel.
        offsets: of each channel, (z, y, x) voxels, negative.
    """

    sources: tuple[Source, ...]
    offsets: tuple[Offset, ...]

    def __len__(self) -> int:
        """Returns the number of channels."""
        return len(self.offsets)

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns one channel, `[z, y, x]` float32 in [0, 1]."""
        return self.read(index, slice(None))

    def read(self, index: int, sections: slice | int) -> np.ndarray:
        """Returns some sections of one channel, `[z, y, x]`, or one section, `[y, x]`.

        The value of an affinity whose partner lies in a section outside of `sections` is undefined.
        """
        return self.sources[index].read(sections)

    def nearest(self) -> Affinities:
        """Returns the affinities between voxels that share a face, in the order z, y, x."""
        order = [self.offsets.index(o) for o in NEAREST if o in self.offsets]
        return self._part(order)

    def long_range(self) -> Affinities:
        """Returns the affinities of all other offsets."""
        return self._part([i for i, o in enumerate(self.offsets) if o not in NEAREST])

    def _part(self, indices: Sequence[int]) -> Affinities:
        return Affinities(
            tuple(self.sources[i] for i in indices), tuple(self.offsets[i] for i in indices)
        )


def has_nearest(offsets: Sequence[Offset | None]) -> bool:
    """Returns whether the three nearest offsets are among the offsets of some channels."""
    return set(NEAREST) <= {offset and tuple(offset) for offset in offsets}


def show_channels(names: Sequence[str], offsets: Sequence[Offset | None]) -> str:
    """Returns a description of channels in one line, for messages."""
    return ", ".join(
        name if offset is None else f"{name}[{','.join(map(str, offset))}]"
        for name, offset in zip(names, offsets, strict=True)
    )


def parse_channels(text: str) -> tuple[tuple[str, ...], tuple[Offset | None, ...]]:
    """Reads names and offsets of channels, such as 'affinity:-1/0/0,foreground'.

    Raises:
        InputError: if a part is not a name, or a name with an offset.
    """
    names, offsets = [], []
    for part in text.split(","):
        name, colon, offset = part.strip().partition(":")
        try:
            values = tuple(int(step) for step in offset.split("/")) if colon else None
        except ValueError:
            values = ()
        if not name or (values is not None and len(values) != 3):
            raise InputError(
                f"channels: '{part.strip()}' is neither NAME nor affinity:z/y/x, as in affinity:-1/0/0"
            )
        names.append(name)
        offsets.append(values)
    return tuple(names), tuple(offsets)


def partners(
    offset: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Returns the slices of all p that have a partner inside, and those of their partners p + offset."""
    here = tuple(slice(min(-o, n), n) for o, n in zip(offset, shape, strict=True))
    there = tuple(slice(0, max(n + o, 0)) for o, n in zip(offset, shape, strict=True))
    return here, there


@dataclasses.dataclass(frozen=True)
class _Stored:
    prediction: Prediction
    index: int

    def read(self, sections: slice | int) -> np.ndarray:
        return self.prediction._read(self.index, sections)


def _check_offset(offset: Offset) -> None:
    if len(offset) != 3 or max(offset) > 0 or min(offset) == 0:
        raise InputError(
            f"offset {tuple(offset)} is no offset of an affinity; give z, y, x in voxels, negative "
            "or 0, for example -1,0,0"
        )
