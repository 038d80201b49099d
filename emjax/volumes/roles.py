"""What a volume is to a job, and which keys of its address mean something there."""

from __future__ import annotations

from collections.abc import Sequence

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.grey_ids import refuse_grey
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

# Keys that say what a volume is to a job, not how its file is read.
_ROLE_KEYS = ("weight", "group", "kind", "background", "ignore")
LABEL_KEYS = ("kind", "background", "ignore")
# A segmentation leaves nothing unknown.
SEGMENTATION_KEYS = ("kind", "background")
IMAGE_KEYS = ("kind",)
TRAINING_IMAGE_KEYS = (*IMAGE_KEYS, "weight", "group")


def refuse_idle_keys(address: Address, what: str, used: Sequence[str] = ()) -> None:
    """Refuses keys of an address that would change nothing, so that nobody believes that they did.

    Args:
        address: of a volume.
        what: it is to the job, for the message.
        used: keys that mean something there; those that say how a file is read always do.

    Raises:
        InputError: naming the key, and where it would mean something.
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
        what: it is to the job, for messages.
        used: keys of its address that mean something there.

    Raises:
        InputError: if it is no volume of integers with axes z, y, x, or looks like a grey image, or its address has a
            key that means nothing.
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
    """Checks that integers are ids.

    Args:
        volume: `[z, y, x]` integers.
        what: it is to the job, for the message.

    Raises:
        InputError: if it looks like a grey image, or its address says so.
    """
    kind = volume.address.keys.get("kind", "labels")
    if kind != "labels":
        raise InputError(f"{what} {volume.address}: kind={kind}, but ids are needed; leave it out")
    refuse_grey(volume, what)
