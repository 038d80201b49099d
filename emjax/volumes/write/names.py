"""Which format an output is of: its name says."""

from __future__ import annotations

import dataclasses

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.write.hdf5 import DEFAULT_DATASET, Hdf5Output
from emjax.volumes.write.output import Output, ZarrOutput
from emjax.volumes.write.precomputed import PrecomputedOutput

_PRECOMPUTED = "precomputed://"
_HDF5 = (".h5", ".hdf5", ".hdf")


def parse_output(text: str) -> Output:
    """Returns the output that a name means.

    Args:
        text: `NAME.zarr`, `NAME.precomputed`, `precomputed://ADDRESS` or `NAME.h5[:DATASET]`.

    Raises:
        InputError: if it is none of these, or has a box or keys.
    """
    precomputed = text.startswith(_PRECOMPUTED)
    address = Address.parse(text.removeprefix(_PRECOMPUTED))
    if address.box or address.keys:
        bare = dataclasses.replace(address, box="", keys={})
        raise InputError(
            f"output={text}: an output is a whole volume, with no box or keys behind it; give {bare}"
        )
    path = address.path.rstrip("/")
    suffix = path[path.rfind(".") :].lower() if "." in path.rpartition("/")[2] else ""
    if suffix in _HDF5 and not precomputed:
        if "://" in path:
            raise InputError(f"output={text}: HDF5 is written to a disk; give a path, or NAME.zarr")
        return Hdf5Output(path, address.dataset or DEFAULT_DATASET)
    if address.dataset:
        raise InputError(
            f"output={text}: only HDF5 has datasets inside; leave out ':{address.dataset}'"
        )
    if precomputed or suffix == ".precomputed":
        return PrecomputedOutput(path)
    if suffix == ".zarr":
        return ZarrOutput(path)
    raise InputError(
        f"output={text}: the name must say the format: NAME.zarr (OME-Zarr), NAME.precomputed or precomputed://ADDRESS "
        "(Neuroglancer), or NAME.h5[:DATASET] (HDF5)"
    )
