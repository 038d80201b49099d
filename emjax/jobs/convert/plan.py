"""What `convert` is going to do: the configuration and the input, checked before anything is written."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from emjax.blocks.complete import COMPLETE, PROGRESS
from emjax.blocks.output import IDENTITY, check_apart, work_identity
from emjax.blocks.work import BlockWork
from emjax.config import nearest
from emjax.data.normalization import measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.jobs.convert.blocks import fit_sections, make_grids, say_decoded
from emjax.jobs.convert.passes import Copy, Pool
from emjax.volume_config import validate_volume_config
from emjax.volumes.address import local_path
from emjax.volumes.attributes import read_attributes
from emjax.volumes.formats import parse_output
from emjax.volumes.origin import place_of
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.store import open_for_blocks
from emjax.volumes.volume import Volume
from emjax.volumes.write.casting import IMAGE, KINDS, LABELS, Cast, guess_kind
from emjax.volumes.write.output import NewVolume, Output
from emjax.volumes.write.pooling import MEAN, MODE
from emjax.volumes.write.precomputed import PrecomputedOutput
from emjax.volumes.write.pyramid import plan_levels

PERCENTILES = "percentiles"
DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
# What a prediction remembers of its channels; untrue once its values are others.
_OF_VALUES = ("targets", "offsets", "scale")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that the configuration and the input decide together.

    Attributes:
        volume: what is read.
        output: where to.
        new: what is made there.
        cast: what becomes of the values.
        grids: blocks of each level: of the first in voxels of the input, of the others in their own.
    """

    volume: Volume
    output: Output
    new: NewVolume
    cast: Cast
    grids: tuple[Grid, ...]

    @property
    def identity(self) -> str:
        """Hash of all that decides what the output holds."""
        return self.new.attributes[IDENTITY]

    def work(self, level: int) -> BlockWork:
        """Returns what makes a block of a level; picklable."""
        if level == 0:
            start = self.grids[0].outer.start
            return Copy(str(self.volume.address), self.output, self.cast, start)
        finer, coarser = self.new.levels[level - 1].factor, self.new.levels[level].factor
        factor = tuple(b // a for a, b in zip(finer, coarser, strict=True))
        return Pool(self.output, level, factor, self.new.downscaling)


def make_plan(config: ConfigDict) -> Plan:
    """Opens and checks everything that is read, and plans what is made; writes nothing.

    Args:
        config: as made by `configs/convert.py`.

    Raises:
        InputError: if anything in it cannot work.
    """
    output = _output(config)
    volume = open_for_blocks(config.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    # Workers may have another working folder.
    address = dataclasses.replace(volume.address, path=_absolute(volume.address.path))
    volume = dataclasses.replace(volume, address=address)
    check_apart(output.path, address)
    if volume.dtype.kind not in "uifb":
        raise InputError(f"{config.input} is of {volume.dtype}; voxels must be numbers")
    kind = _kind(config, volume)
    cast = _cast(config, volume, kind, output)
    outer = Box((0, 0, 0), volume.size)
    if config.box:
        outer = Box.from_text(config.box, volume.size)
    channels = volume.shape[0] if len(volume.shape) == 4 else 0
    widest = max(volume.dtype.itemsize, np.dtype(cast.target).itemsize) * max(1, channels)
    levels = plan_levels(
        outer.size,
        volume.voxel_nm,
        voxel_bytes=widest,
        count=config.levels or output.most_levels,
        chunk=tuple(config.chunk) or None,
        shard=tuple(config.shard) or None,
    )
    if output.any_shard and not config.shard:
        levels = fit_sections(levels, volume)
    grids = make_grids(tuple(config.block_size), volume, outer, levels, widest)
    new = NewVolume(
        channels=channels,
        dtype=cast.target,
        kind=kind,
        voxel_nm=volume.voxel_nm,
        # Where the part lies in the file that it is of.
        origin=place_of(volume, outer),
        levels=levels,
        downscaling=MODE if kind == LABELS else MEAN,
        attributes=_attributes(volume, cast),
    )
    identity = work_identity(
        {
            "input": [str(address.source), str(volume.box), volume.dtype.name, volume.shape],
            "missing": address.keys.get("missing", ""),
            "output": repr(output),
            "new": [kind, channels, volume.voxel_nm, new.origin, [list(level) for level in levels]],
            "cast": dataclasses.astuple(cast),
            "blocks": [[str(grid.outer), grid.core_size] for grid in grids],
        }
    )
    new = dataclasses.replace(new, attributes={**new.attributes, IDENTITY: identity})
    output.check(new)
    _say(config, volume, output, new, grids)
    return Plan(volume, output, new, cast, grids)


def _output(config: ConfigDict) -> Output:
    """Checks the fields that need no input, and returns where to write."""
    validate_volume_config(config, ("input", "output"))
    if len(config.halo):
        raise InputError(f"halo={tuple(config.halo)}: blocks are copied without one; leave it out")
    if config.levels < 0:
        raise InputError(
            f"levels={config.levels} must be 1 or more, or 0: until a level is one chunk"
        )
    for name in ("chunk", "shard"):
        sizes = tuple(config[name])
        if sizes and (len(sizes) != 3 or any(not isinstance(n, int) or n < 1 for n in sizes)):
            raise InputError(
                f"{name}={sizes}: needs three whole numbers of 1 or more, z, y, x voxels"
            )
    if config.kind not in ("", *KINDS):
        raise InputError(f"kind='{config.kind}' is unknown{nearest(config.kind, KINDS)}")
    if config.dtype and config.dtype not in DTYPES:
        raise InputError(f"dtype='{config.dtype}' is unknown{nearest(config.dtype, DTYPES)}")
    given: Any = parse_output(config.output)
    output: Output = dataclasses.replace(given, path=_absolute(given.path))
    if config.cluster and not output.shared:
        raise InputError(
            f"cluster={config.cluster}: an HDF5 file is written by one process; leave cluster out, or give NAME.zarr"
        )
    if output.most_levels and config.levels > output.most_levels:
        raise InputError(
            f"levels={config.levels}: HDF5 holds no pyramid; leave levels out, or give NAME.zarr"
        )
    return output


def _kind(config: ConfigDict, volume: Volume) -> str:
    """Returns 'image' or 'labels', as told or guessed, checked against the type."""
    dtype = volume.dtype
    kind = config.kind
    if not kind:
        # `?kind=image` in an address says the same to every job.
        told = volume.address.keys.get("kind", "")
        kind = told if told in KINDS else guess_kind(dtype)
        other = LABELS if kind == IMAGE else IMAGE
        if not told:
            logging.info(
                "%s is %s: taken as %s; --config.kind=%s if not", config.input, dtype, kind, other
            )
    ids = dtype.kind in "ui" and dtype.itemsize >= 4
    if kind == IMAGE and (dtype.kind == "b" or (ids and not config.value_range)):
        raise InputError(
            f"kind=image: {config.input} is {dtype}, which labels are, and the mean of ids is no id; use kind=labels, "
            "or set dtype and value_range if they are grey values"
        )
    if kind == LABELS and dtype.kind == "f":
        raise InputError(f"kind=labels: {config.input} is {dtype}; labels are whole numbers")
    return kind


def _cast(config: ConfigDict, volume: Volume, kind: str, output: Output) -> Cast:
    value_range = _value_range(config, volume)
    target = np.dtype(config.dtype or ("uint8" if value_range else volume.dtype))
    suited = output.suit(target, kind)
    if suited != target:
        logging.info("%s is widened to %s, which the format needs", target, suited)
    cast = Cast(volume.dtype.name, suited.name, value_range)
    cast.check(kind)
    return cast


def _value_range(config: ConfigDict, volume: Volume) -> tuple[float, float] | None:
    if not config.value_range:
        return None
    if config.value_range == PERCENTILES:
        found = measure(volume)
        return found.low, found.high
    try:
        low, high = (float(part) for part in config.value_range.split(","))
    except ValueError as error:
        raise InputError(
            f"value_range={config.value_range}: needs LOW,HIGH as in value_range=0,4095, or '{PERCENTILES}'"
        ) from error
    return low, high


def _attributes(volume: Volume, cast: Cast) -> dict[str, Any]:
    """Returns what the input remembered, as far as it is true of the output, and where that came from."""
    kept = read_attributes(volume.address)
    for name in (IDENTITY, COMPLETE, PROGRESS):
        kept.pop(name, None)
    changed = cast.source != cast.target or cast.value_range is not None
    if changed and "targets" in kept:
        logging.warning("%s is a prediction; with other values it is none any more", volume.address)
        kept = {name: value for name, value in kept.items() if name not in _OF_VALUES}
    kept["converted_from"] = str(volume.address)
    if cast.value_range is not None:
        kept["value_range"] = list(cast.value_range)
    return kept


def _say(
    config: ConfigDict, volume: Volume, output: Output, new: NewVolume, grids: tuple[Grid, ...]
) -> None:
    """Says what a user may want to know before the work begins."""
    if volume.voxel_nm is None:
        logging.warning(
            "the voxel size of %s is unknown: voxels are taken as isotropic, and the output has no scale; add "
            "?voxel_nm=Z,Y,X to the input",
            config.input,
        )
    last = new.levels[-1].factor
    if isinstance(output, PrecomputedOutput) and any(
        o % f for o, f in zip(new.origin, last, strict=True)
    ):
        logging.warning(
            "the box begins at %s, between voxels of the coarse scales, which a precomputed volume cannot say: "
            "they are drawn up to a voxel of theirs off; begin at multiples of %s",
            new.origin,
            last,
        )
    if volume.slow_random_access:
        say_decoded(volume, grids[0])
    for level, grid in zip(new.levels, grids, strict=True):
        logging.info(
            "level of %s voxels: chunks %s, shards %s, %d block(s) of %s",
            "x".join(map(str, level.size)),
            level.chunk,
            level.shard,
            len(grid),
            grid.core_size,
        )


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(local_path(path))
