"""The fields shared by all jobs on whole volumes: their defaults, and their values after checks; imports no jax."""

from __future__ import annotations

import dataclasses
import re

from ml_collections import ConfigDict

from emjax.config import Config, pick
from emjax.errors import InputError

# Address of a dask scheduler, such as tcp://host:8786.
_SCHEDULER = re.compile(r"^(tcp|tls)://[^/\s]+:\d+$")


def volume_config(job: str) -> Config:
    """Returns the fields that jobs on whole volumes share.

    Args:
        job: name of the module of `emjax.jobs` to run.
    """
    c = Config()
    c.job = job
    c.box = ""  # part of the volume in voxels, z0:z1,y0:y1,x0:x1; '': all
    c.block_size = ()  # z, y, x voxels that are processed at once; (): chosen by the job
    c.halo = ()  # z, y, x voxels read around a block; (): what the job needs
    # '': threads of this process; 'local': worker processes on this machine; 'tcp://host:port': workers of a dask
    # scheduler, see docs/cluster.md
    c.cluster = ""
    c.num_workers = 1  # blocks processed at the same time; all workers of a dask scheduler are used
    c.overwrite = False  # True: replace a finished output, or one of another configuration or input
    c.allow_incomplete = (
        False  # True: read volumes that emjax has not finished; missing blocks are 0
    )
    return c


@dataclasses.dataclass(frozen=True)
class VolumeSettings:
    """The checked values of the fields of `volume_config`, which documents each of them."""

    box: str
    block_size: tuple[int, ...]
    halo: tuple[int, ...]
    cluster: str
    num_workers: int
    overwrite: bool
    allow_incomplete: bool

    @classmethod
    def from_config(cls, config: ConfigDict, *needed: str) -> VolumeSettings:
        """Checks the shared fields, and that the addresses that the job needs are given.

        Args:
            config: made from `volume_config`.
            *needed: names of fields that must not be empty.

        Raises:
            InputError: naming the field, its value and the allowed values.
        """
        for name in needed:
            if not config[name]:
                raise InputError(f"{name} is empty; give --config.{name}=ADDRESS")
        settings = pick(cls, config)
        settings._check()
        return settings

    def _check(self) -> None:
        for name, sizes, least in (("block_size", self.block_size, 1), ("halo", self.halo, 0)):
            whole = all(isinstance(size, int) and size >= least for size in sizes)
            if sizes and (len(sizes) != 3 or not whole):
                raise InputError(
                    f"{name}={sizes}: needs three whole numbers of {least} or more, z, y, x voxels"
                )
        if self.num_workers < 1:
            raise InputError(f"num_workers={self.num_workers}: must be at least 1")
        if self.cluster not in ("", "local") and not _SCHEDULER.match(self.cluster):
            raise InputError(
                f"cluster='{self.cluster}' is not known; leave it empty for threads of this process, or give 'local' "
                "for worker processes on this machine, or the address of a dask scheduler, as in "
                "cluster=tcp://host:8786"
            )
