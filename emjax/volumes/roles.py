"""The role of a volume in a job, and which keys of its address have a meaning there."""

from __future__ import annotations

from collections.abc import Sequence

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.grey_ids import refuse_grey
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

# Keys that say which role a volume has in a job, not how its file is read.
_ROLE_KEYS = ("weight", "group", "kind", "background", "ignore")
LABEL_KEYS = ("kind", "background", "ignore")
# A segmentation has no unknown voxels.
SEGMENTATION_KEYS = ("kind", "background")
IMAGE_KEYS = ("kind",)
TRAINING_IMAGE_KEYS = (*IMAGE_KEYS, "weight", "group")


def refuse_idle_keys(address: Address, what: str, used: Sequence[str] = ()) -> None:
    """Refuses keys of an address that would have no effect, so that nobody relies on them.

    Args:
        address: of a volume.
        what: what the volume is to the job, for the error message.
        used: keys that have a meaning there; keys that say how a file is read always do.

    Raises:
        InputError: naming the key, and where it would have a meaning.
    """
    for key in _ROLE_KEYS:
        if key in address.keys and key not in used:
            raise InputError(
                f"{what} {address}: {key}={address.keys[key]} means nothing here: it is for {_MEANT_FOR[key]}; leave "
                "it out"
            )


_MEANT_FOR = {
    "weight": "images in data.volumes",
    "group": "images in data.volumes",
    "kind": "images whose contrast is measured, ids that look like an image, and layers of a view",
    "background": "labels and segmentations",
    "ignore": "labels",
}


def open_ids(address: str | Address, what: str, used: Sequence[str] = LABEL_KEYS) -> Volume:
    """Opens a volume of ids.

    Args:
        address: of the volume.
        what: what the volume is to the job, for error messages.
        used: keys of its address that have a meaning there.

    Raises:
        InputError: if the volume does not hold integers with axes z, y, x, or looks like a grey image, or its address
            has a key without a meaning there.
    """
    volume = open_volume(address)
    refuse_idle_keys(volume.address, what, used)
    if volume.dtype.kind not in "uib" or len(volume.shape) != 3:
        raise InputError(
            f"{what} {volume.name} is {volume.dtype}{list(volume.shape)}; ids are integers with axes z, y, x"
        )
    check_ids(volume, what)
    return volume


def check_ids(volume: Volume, what: str) -> None:
    """Checks that a volume of integers holds ids, not grey values.

    Args:
        volume: `[z, y, x]` integers.
        what: what the volume is to the job, for the error message.

    Raises:
        InputError: if it looks like a grey image, or its address says that it is one.
    """
    kind = volume.address.keys.get("kind", "labels")
    if kind != "labels":
        raise InputError(f"{what} {volume.address}: kind={kind}, but ids are needed; leave it out")
    refuse_grey(volume, what)
