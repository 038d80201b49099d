"""Opens the generator of test data as a format: `synthetic://neurites?seed=3&shape=64,256,256`."""

from __future__ import annotations

from emjax.volumes.address import SYNTHETIC, SYNTHETIC_KEYS
from emjax.volumes.format import Format, Request
from emjax.volumes.generator.synthetic import open_synthetic
from emjax.volumes.read.opened import Opened


def open_generator(request: Request) -> Opened:
    """Opens a volume whose voxels are generated when they are read.

    Raises:
        InputError: if there is no such generator, or a key is not understood.
    """
    address = request.address
    known = (*SYNTHETIC_KEYS, "voxel_nm")
    keys = {key: value for key, value in address.keys.items() if key in known}
    store, voxel_nm = open_synthetic(address.path.removeprefix(SYNTHETIC), keys)
    return Opened(store, voxel_nm)


FORMAT = Format(
    title="the generator of test data",
    given="synthetic://",
    examples=("synthetic://neurites?seed=3&shape=64,256,256",),
    reads="what is asked for",
    voxel_nm="`voxel_nm` of the address, else 40, 8, 8",
    open=open_generator,
    claims=lambda request: request.address.path.startswith(SYNTHETIC),
)
