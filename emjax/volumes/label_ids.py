"""The meaning of an id in a volume of labels: object, background, or unknown.

This is decided here alone, for training, scores, tables of objects and pictures:

- ids that the user names as ignored are unknown;
- 0 and the ids that the user names as background are background;
- negative ids and the largest uint64 (what -1 becomes as uint64; CREMI writes it) are unknown unless they are named as
  background;
- all others are objects.

A segmentation knows every voxel: in it, background ids and the largest uint64 mean "no segment".
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
    """The background and ignored ids that a user names; arrays of ids may have any integer type, or bool.

    Attributes:
        background: ids of background; 0 is always one of them unless it is ignored.
        ignore: ids of voxels of which nothing is known.
    """

    background: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, address: Address, background: Sequence[int] = (), ignore: Sequence[int] = ()
    ) -> LabelIds:
        """Returns the ids named by fields of a configuration and by the address of the labels.

        Args:
            address: of the labels, maybe with the keys `background` and `ignore`.
            background: further ids that are background.
            ignore: further ids of which nothing is known.

        Raises:
            InputError: if an id is no whole number.
        """
        named = {}
        for key, given in (("background", background), ("ignore", ignore)):
            ids = (*given, *address.ids(key))
            if any(not isinstance(i, int) for i in ids):
                raise InputError(f"{key}_ids={ids} must be whole numbers")
            named[key] = tuple(dict.fromkeys(ids))
        return cls(**named)

    def unknown(self, ids: np.ndarray) -> np.ndarray:
        """Returns where nothing is known, as bool of the same shape."""
        marks = [UNLABELLED] if UNLABELLED not in self.background else []
        found = is_one_of(ids, (*marks, *self.ignore))
        if ids.dtype.kind == "i":
            negative = ids < 0
            found |= negative & ~is_one_of(ids, [i for i in self.background if i < 0])
        return found

    def in_background(self, ids: np.ndarray) -> np.ndarray:
        """Returns where voxels are known to be background, as bool of the same shape."""
        return is_one_of(ids, [i for i in (0, *self.background) if i not in self.ignore])

    def objects(self, ids: np.ndarray) -> np.ndarray:
        """Returns where voxels are known to belong to an object, as bool of the same shape."""
        return ~(self.unknown(ids) | self.in_background(ids))

    @property
    def no_objects(self) -> tuple[int, ...]:
        """Ids above 0 that stand for no object, sorted: those of background and of unknown voxels."""
        return tuple(sorted({UNLABELLED, *(i for i in (*self.background, *self.ignore) if i > 0)}))

    def segments(self, ids: np.ndarray) -> np.ndarray:
        """Returns a segmentation in which only 0 means "no segment".

        Args:
            ids: `[...]` integers; the ids in `background` and the largest uint64 become 0.

        Raises:
            InputError: if there is a negative id that is not named as background.
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


# For labels of which a user names no ids.
NONE_NAMED = LabelIds()


def is_one_of(array: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Returns where an array has one of a few ids, even if some of these do not fit its type.

    Args:
        array: integers of any type, or bool.
        ids: Python integers.
    """
    kind = np.iinfo(np.uint8 if array.dtype == bool else array.dtype)
    found = np.zeros(array.shape, bool)
    for i in dict.fromkeys(ids):
        if kind.min <= i <= kind.max:
            found |= array == i
    return found
