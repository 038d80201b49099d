"""What an id of a volume of labels means: an object, background, or that nothing is known of a voxel.

The one place where this is decided, for training, scores, tables of objects and pictures:

- ids that the user names as ignored are unknown;
- 0 and the ids that the user names as background are background;
- negative ids and the largest uint64 (what -1 becomes as uint64; CREMI writes it) are unknown unless they are named as
  background;
- all others are objects.

A segmentation knows everything: in it, what is background or the largest uint64 is no segment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from emjax.errors import InputError
from emjax.volumes.address import Address

UNLABELLED = 2**64 - 1


@dataclasses.dataclass(frozen=True)
class LabelIds:
    """The ids that a user names; arrays of ids may have any type of integers, or be bool.

    Attributes:
        background: ids that are background, as 0 always is unless it is ignored.
        ignore: ids of which nothing is known.
    """

    background: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, address: Address, background: Sequence[int] = (), ignore: Sequence[int] = ()
    ) -> LabelIds:
        """Returns the ids that fields of a configuration and the labels' own address name.

        Args:
            address: of the labels, maybe with the keys `background` and `ignore`.
            background: further ids that are background.
            ignore: further ids of which nothing is known.

        Raises:
            InputError: if one is no whole number.
        """
        named = {}
        for key, given in (("background", background), ("ignore", ignore)):
            ids = (*given, *address.ids(key))
            if any(not isinstance(i, int) for i in ids):
                raise InputError(f"{key}_ids={ids} must be whole numbers")
            named[key] = tuple(dict.fromkeys(ids))
        return cls(**named)

    def unknown(self, ids: np.ndarray) -> np.ndarray:
        """Returns where nothing is known, bool of the same shape."""
        marks = [UNLABELLED] if UNLABELLED not in self.background else []
        found = is_one_of(ids, (*marks, *self.ignore))
        if ids.dtype.kind == "i":
            negative = ids < 0
            found |= negative & ~is_one_of(ids, [i for i in self.background if i < 0])
        return found

    def in_background(self, ids: np.ndarray) -> np.ndarray:
        """Returns where background is known to be, bool of the same shape."""
        return is_one_of(ids, [i for i in (0, *self.background) if i not in self.ignore])

    def objects(self, ids: np.ndarray) -> np.ndarray:
        """Returns where objects are known to be, bool of the same shape."""
        return ~(self.unknown(ids) | self.in_background(ids))

    @property
    def no_objects(self) -> tuple[int, ...]:
        """Ids above 0 that stand for no object, sorted: what is background or unknown."""
        return tuple(sorted({UNLABELLED, *(i for i in (*self.background, *self.ignore) if i > 0)}))

    def segments(self, ids: np.ndarray) -> np.ndarray:
        """Returns a segmentation in which 0 alone is no segment.

        Args:
            ids: `[...]` integers; `background` and the largest uint64 become 0.

        Raises:
            InputError: if it has a negative id that is not background.
        """
        if ids.dtype.kind == "i" and ids.size:
            least = int(ids.min(where=~is_one_of(ids, self.background), initial=0))
            if least < 0:
                raise InputError(
                    f"the segmentation has the id {least}; ids are 0 (none) or more: add ?background={least} to its "
                    "address if that means none, too"
                )
        none = is_one_of(ids, [i for i in (UNLABELLED, *self.background) if i])
        return np.where(none, ids.dtype.type(0), ids) if none.any() else ids


# Where a user names no ids.
NONE_NAMED = LabelIds()


def is_one_of(array: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Returns where an array has one of a few ids, any of which may be too large or too small for its type.

    Args:
        array: integers of any type, or bool.
        ids: Python's whole numbers.
    """
    kind = np.iinfo(np.uint8 if array.dtype == bool else array.dtype)
    found = np.zeros(array.shape, bool)
    for i in dict.fromkeys(ids):
        if kind.min <= i <= kind.max:
            found |= array == i
    return found
