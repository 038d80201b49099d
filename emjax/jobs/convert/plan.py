"""What `convert` is going to do: the configuration and the input, checked before anything is written."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from absl import logging

from emjax.blocks.complete import COMPLETE, PROGRESS
from emjax.blocks.output import IDENTITY, check_apart, work_identity
from emjax.blocks.work import BlockWork
from emjax.data.normalization import measure
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.jobs.convert.blocks import cut_into_sections, fit_sections, make_grids, say_decoded
from emjax.jobs.convert.passes import Copy, Pool
from emjax.jobs.convert.settings import Settings
from emjax.volumes.address import local_path
from emjax.volumes.attributes import read_attributes
from emjax.volumes.formats import parse_output
from emjax.volumes.origin import place_of, whole_attribute
from emjax.volumes.place import WHOLE
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.store import open_for_blocks
from emjax.volumes.volume import Volume
from emjax.volumes.write.casting import IMAGE, KINDS, LABELS, Cast, guess_kind
from emjax.volumes.write.output import NewVolume, Output
from emjax.volumes.write.pooling import MEAN, MODE
from emjax.volumes.write.precomputed import PrecomputedOutput
from emjax.volumes.write.pyramid import plan_levels

PERCENTILES = "percentiles"
# Blocks whose ids are looked at before anything is written.
_LOOKED_AT = 8
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


def make_plan(settings: Settings) -> Plan:
    """Opens and checks everything that is read, and plans what is made; writes nothing.

    Args:
        settings: of the job.

    Raises:
        InputError: if anything in it cannot work.
    """
    output = _output(settings)
    volume = open_for_blocks(settings.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    # Workers may have another working folder.
    address = dataclasses.replace(volume.address, path=_absolute(volume.address.path))
    volume = dataclasses.replace(volume, address=address)
    check_apart(output.path, {"input": address})
    if volume.dtype.kind not in "uifb":
        raise InputError(f"{settings.input} is of {volume.dtype}; voxels must be numbers")
    kind = _kind(settings, volume)
    cast = _cast(settings, volume, kind, output)
    outer = Box((0, 0, 0), volume.size)
    if settings.shared.box:
        outer = Box.from_text(settings.shared.box, volume.size)
    if kind == LABELS:
        _check_some(volume, outer, cast)
    channels = volume.shape[0] if len(volume.shape) == 4 else 0
    widest = max(volume.dtype.itemsize, np.dtype(cast.target).itemsize) * max(1, channels)
    levels = plan_levels(
        outer.size,
        volume.voxel_nm,
        voxel_bytes=widest,
        count=settings.levels or output.most_levels,
        chunk=settings.chunk or None,
        shard=settings.shard or None,
    )
    if output.whole_sections:
        levels = cut_into_sections(levels[0], volume, widest)
    elif output.any_shard and not settings.shard:
        levels = fit_sections(levels, volume)
    grids = make_grids(settings.shared.block_size, volume, outer, levels, widest)
    new = NewVolume(
        channels=channels,
        dtype=cast.target,
        kind=kind,
        voxel_nm=volume.voxel_nm,
        # Where the part lies in the file that it is of.
        origin=place_of(volume, outer),
        levels=levels,
        downscaling=MODE if kind == LABELS else MEAN,
        attributes=_attributes(volume, cast, kind),
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
    _say(settings, volume, output, new, grids)
    return Plan(volume, output, new, cast, grids)


def _output(settings: Settings) -> Output:
    """Returns where to write, checked against the fields that not every format knows."""
    given: Any = parse_output(settings.output)
    output: Output = dataclasses.replace(given, path=_absolute(given.path))
    cluster = settings.shared.cluster
    if cluster and not output.shared:
        raise InputError(
            f"cluster={cluster}: one file is written by one process; leave cluster out, or give NAME.zarr"
        )
    if output.most_levels and settings.levels > output.most_levels:
        raise InputError(
            f"levels={settings.levels}: output={settings.output} holds no pyramid; leave levels out, or give NAME.zarr"
        )
    if output.whole_sections and (settings.chunk or settings.shard):
        raise InputError(
            "chunk and shard: sections are written whole; leave both out, or give NAME.zarr"
        )
    return output


def _kind(settings: Settings, volume: Volume) -> str:
    """Returns 'image' or 'labels', as told or guessed, checked against the type."""
    dtype = volume.dtype
    kind = settings.kind
    if not kind:
        # `?kind=image` in an address says the same to every job.
        told = volume.address.keys.get("kind", "")
        # Small ids that emjax wrote are known to be ids.
        written = read_attributes(volume.address).get("kind", "")
        kind = told if told in KINDS else LABELS if written else guess_kind(dtype)
        other = LABELS if kind == IMAGE else IMAGE
        if not told:
            logging.info(
                "%s is %s: taken as %s; --config.kind=%s if not", settings.input, dtype, kind, other
            )
    ids = dtype.kind in "ui" and dtype.itemsize >= 4
    if kind == IMAGE and (dtype.kind == "b" or (ids and not settings.value_range)):
        raise InputError(
            f"kind=image: {settings.input} is {dtype}, which labels are, and the mean of ids is no id; use "
            "kind=labels, or set dtype and value_range if they are grey values"
        )
    whole = bool(settings.dtype) and np.dtype(settings.dtype).kind in "ui"
    if kind == LABELS and dtype.kind == "f" and not whole:
        raise InputError(
            f"kind=labels: {settings.input} is {dtype}; labels are whole numbers: if these are, give their type, as in "
            "dtype=uint32"
        )
    return kind


def _cast(settings: Settings, volume: Volume, kind: str, output: Output) -> Cast:
    value_range = _value_range(settings, volume)
    target = np.dtype(settings.dtype or ("uint8" if value_range else volume.dtype))
    suited = output.suit(target, kind)
    if suited != target:
        logging.info("%s is widened to %s, which the format needs", target, suited)
    cast = Cast(volume.dtype.name, suited.name, value_range)
    cast.check(kind)
    return cast


def _check_some(volume: Volume, outer: Box, cast: Cast) -> None:
    """Checks some ids before anything is written: grey values that are called labels are found in the first of them.

    A single id that does not fit is found only when its block is read.

    Raises:
        InputError: if an id does not fit, naming the box.
    """
    if volume.dtype == np.dtype(cast.target):
        return
    blocks = Grid(outer, tuple(min(64, n) for n in outer.size))
    for number in sorted(
        {len(blocks) * part // (_LOOKED_AT + 1) for part in range(_LOOKED_AT + 1)}
    ):
        box = blocks[number].core
        try:
            cast(volume.read(box))
        except InputError as error:
            raise InputError(f"{volume.address}{box}: {error}") from error


def _value_range(settings: Settings, volume: Volume) -> tuple[float, float] | None:
    if not settings.value_range:
        return None
    if settings.value_range == PERCENTILES:
        found = measure(volume)
        return found.low, found.high
    try:
        low, high = (float(part) for part in settings.value_range.split(","))
    except ValueError as error:
        raise InputError(
            f"value_range={settings.value_range}: needs LOW,HIGH as in value_range=0,4095, or '{PERCENTILES}'"
        ) from error
    return low, high


def _attributes(volume: Volume, cast: Cast, kind: str) -> dict[str, Any]:
    """Returns what the input remembered, as far as it is true of the output, and where that came from."""
    kept = read_attributes(volume.address)
    for name in (IDENTITY, COMPLETE, PROGRESS, WHOLE):
        kept.pop(name, None)
    kept |= whole_attribute(volume, volume.voxel_nm)
    changed = cast.source != cast.target or cast.value_range is not None
    if changed and "targets" in kept:
        logging.warning("%s is a prediction; with other values it is none any more", volume.address)
        kept = {name: value for name, value in kept.items() if name not in _OF_VALUES}
    # Ids of 8 and 16 bits would else be taken for grey values by whoever reads the output.
    if kind == IMAGE:
        kept.pop("kind", None)
    else:
        kept.setdefault("kind", LABELS)
    kept["converted_from"] = str(volume.address)
    if cast.value_range is not None:
        kept["value_range"] = list(cast.value_range)
    return kept


def _say(
    settings: Settings, volume: Volume, output: Output, new: NewVolume, grids: tuple[Grid, ...]
) -> None:
    """Says what a user may want to know before the work begins."""
    if volume.voxel_nm is None:
        logging.warning(
            "the voxel size of %s is unknown: voxels are taken as isotropic, and the output has no scale; add "
            "?voxel_nm=Z,Y,X to the input",
            settings.input,
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
