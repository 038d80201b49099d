"""The method `classes`: the class of each voxel, the one of the highest channel; it makes no objects."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from emjax.errors import InputError
from emjax.segmentation.method import Method, Names, Offsets
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import SizeSettings, choice, number

_CLASS = re.compile(r"^(?:.+\.)?class_(\d+)$")
_FOREGROUND = re.compile(r"^(?:.+\.)?foreground$")
# Of a foreground: more than half is the most probable where the rest is background.
_HALF = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassesSettings(SizeSettings):
    """Which class a voxel gets; see `class_map`. There are no objects, and so no limits on their size.

    Attributes:
        threshold: a class needs at least this; 0: `class_...` channels need nothing, a foreground more than half.
        thresholds: the same for single classes, ID:VALUE/ID:VALUE, as in 3:0.7/5:0.4.
        otherwise: the id of voxels of which no class has what it needs.
    """

    threshold: float = number(0.0, 0, 1, grid=(0.0, 0.3, 0.5, 0.7, 0.9))
    thresholds: str = choice("", ())
    otherwise: int = number(0, 0, 2**31 - 1)


def classes_of(names: Names) -> dict[int, str]:
    """Returns what the ids of a class map mean: id -> channel.

    Args:
        names: of the channels. Those called `class_ID` name the id; foregrounds are 1, 2, ... in their order.

    Returns:
        The classes; empty where no channel stands for one. Channels of other names are left out.
    """
    found = {int(m[1]): name for name in names if (m := _CLASS.match(name))}
    if found:
        return found
    return dict(enumerate((name for name in names if _FOREGROUND.match(name)), start=1))


def class_map(prediction: Prediction, settings: ClassesSettings) -> np.ndarray:
    """Gives each voxel the class with the highest value of those that have what they need.

    Args:
        prediction: of any size; channels are read one after another.
        settings: what classes need.

    Returns:
        `[z, y, x]` uint64 ids; of equal values the first channel's.
    """
    # Below all values, so that one of 0 counts where nothing is needed.
    best = np.full(prediction.shape, -1, np.float32)
    ids = np.full(prediction.shape, settings.otherwise, np.uint64)
    given = _read_thresholds(settings.thresholds)
    for number_, name in classes_of(prediction.names).items():
        values = prediction.channel(name)
        least = given.get(number_, settings.threshold)
        half = not least and _FOREGROUND.match(name)
        enough = values > _HALF if half else values >= least
        better = enough & (values > best)
        best[better] = values[better]
        ids[better] = number_
    return ids


def _read_thresholds(text: str) -> dict[int, float]:
    found: dict[int, float] = {}
    for part in text.split("/") if text else ():
        name, colon, value = (word.strip() for word in part.partition(":"))
        try:
            number_, least = int(name), float(value)
        except ValueError:
            number_, least = -1, -1.0
        if not (colon and number_ >= 0 and 0 <= least <= 1) or number_ in found:
            raise InputError(
                f"classes: thresholds={text}: '{part.strip()}' is not ID:VALUE with a value from 0 to 1, each id once, "
                "as in 3:0.7/5:0.4"
            )
        found[number_] = least
    return found


def _check(settings: ClassesSettings, offsets: Offsets) -> None:
    del offsets
    _read_thresholds(settings.thresholds)
    if settings.min_size or settings.max_size:
        raise InputError(
            "classes: min_size and max_size are of objects, and this method makes none; leave them out, or use "
            "'components' of one channel"
        )


def _fits(names: Names, offsets: Offsets) -> bool:
    del offsets
    return bool(classes_of(names))


def _by_default(names: Names, offsets: Offsets) -> bool:
    del offsets
    return len(classes_of(names)) > 1


def _classes(names: Names, settings: ClassesSettings) -> dict[int, str]:
    found = classes_of(names)
    unknown = [i for i in _read_thresholds(settings.thresholds) if i not in found]
    if unknown:
        raise InputError(
            f"classes: thresholds={settings.thresholds}: there is no class {unknown[0]}; there are "
            f"{', '.join(f'{i} ({name})' for i, name in found.items())}"
        )
    return found


METHOD = Method(
    summary="the class of each voxel, by the highest channel; no objects",
    settings=ClassesSettings,
    needs="channels 'class_ID', or one 'foreground' or more",
    fits=_fits,
    by_default=_by_default,
    fragments=class_map,
    classes=_classes,
    check=_check,
    halo=0,
)
