"""Writes OME-Zarr with the functions of `emjax.volumes.create`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.volumes import create
from emjax.volumes.address import Address
from emjax.volumes.attributes import read_attributes
from emjax.volumes.write.output import NewVolume


@dataclasses.dataclass(frozen=True)
class ZarrOutput:
    """An output in OME-Zarr 0.5, made by `emjax.volumes.create`.

    Attributes:
        path: of the folder, or a URL that TensorStore can write.
    """

    path: str
    most_levels: int = dataclasses.field(default=0, init=False)
    shared: bool = dataclasses.field(default=True, init=False)
    any_shard: bool = dataclasses.field(default=True, init=False)
    # Not part of `repr`, which identifies a conversion: runs that earlier versions began can continue.
    whole_sections: bool = dataclasses.field(default=False, init=False, repr=False)
    hidden: bool = dataclasses.field(default=False, init=False, repr=False)

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> ZarrOutput:
        """Returns the output at a path."""
        return cls(os.fspath(path))

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns `dtype` unchanged: the format stores every type."""
        return dtype

    def check(self, new: NewVolume) -> None:
        """Does nothing: the format can hold every volume."""

    def check_free(self, overwrite: bool) -> None:
        """See `Output`."""
        create.check_free(self.path, overwrite)

    def exists(self) -> bool:
        """See `Output`."""
        return create.volume_exists(self.path)

    def is_half_made(self) -> bool:
        """See `Output`."""
        return create.is_half_made(self.path)

    def attributes(self) -> dict[str, Any]:
        """See `Output`."""
        return read_attributes(Address(self.path))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """See `Output`."""
        create.set_attributes(self.path, attributes)

    def delete(self) -> None:
        """See `Output`."""
        create.delete_volume(self.path)

    def create(self, new: NewVolume) -> None:
        """See `Output`."""
        create.create_volume(
            self.path,
            new.shape(),
            new.dtype,
            new.voxel_nm,
            new.attributes,
            chunk=new.levels[0].chunk,
            shard=new.levels[0].shard,
            origin=new.origin,
            coarser=new.levels[1:],
            downscaling=new.downscaling if len(new.levels) > 1 else "",
        )

    def open(self, level: int = 0) -> ts.TensorStore:
        """See `Output`."""
        return create.open_created(self.path, level)

    def finish(self) -> None:
        """Does nothing: it has its name from the start."""
