"""Traces a stack: an image, a prediction or a mask."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.output import check_apart
from emjax.blocks.progress import BlockProgress
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.jobs.trace.settings import Settings
from emjax.pictures.trees import draw_trees
from emjax.runs.folder import RESULTS_FILE, write_results
from emjax.runs.memory import peak_rss_bytes
from emjax.skeletons.branches import measure_trees
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import write_swc
from emjax.skeletons.unit import VOXELS
from emjax.tracing.stack import Stack, check_memory, find_threshold
from emjax.viewing.projection import project
from emjax.viewing.snapshot import save_to_plots
from emjax.volumes.address import local_path
from emjax.volumes.attributes import read_attributes
from emjax.volumes.origin import volume_corner
from emjax.volumes.roles import IMAGE_KEYS, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

# Steps of the progress that is shown.
_PERCENT = 100


class _Kind(NamedTuple):
    """What a stack is: its name, the values of the threshold and of full evidence, and the method."""

    name: str
    threshold: float
    white: float | None
    method: str


def trace_stack(settings: Settings, open_folder: Callable[[], epath.Path]) -> int:
    """Traces a stack, and writes an SWC file, a picture and `results.json`.

    Args:
        settings: how to trace.
        open_folder: opens the run folder for this configuration.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the input cannot be traced; nothing is written to the output then.
    """
    volume = open_stack(settings)
    image = open_volume(settings.image) if settings.image else volume
    values = volume.read(Box((0, 0, 0), volume.size))
    kind = _kind(volume, values, settings)
    settings.refuse_of_marching(kind.method)
    spacing = relative_spacing(volume.voxel_nm)
    stack = Stack.of(values, kind.threshold, spacing, settings.min_voxels, kind.white)
    del values
    folder = Path(os.fspath(open_folder()))
    shown = BlockProgress("trace", _PERCENT, 0, 0, pieces=("percent", _PERCENT))
    told = 0

    def progress(share: float) -> None:
        nonlocal told
        shown.piece(int(share * _PERCENT) - told)
        told = int(share * _PERCENT)

    try:
        made = settings.tracer(kind.method).trace(stack, settings.root_voxel, progress)
    finally:
        shown.close()
    if not len(made.edges):
        raise InputError(
            f"no branch of {volume.name} is left: {int(stack.mask.sum()):,} voxels are above threshold="
            f"{kind.threshold:g}; give a lower --config.threshold, --config.prune or --config.min_voxels"
        )
    tree = in_voxels(made, volume)
    known = volume.voxel_nm is not None
    unit = settings.swc_unit(known)
    comments = [
        f"traced by emjax: {volume.name}",
        f"method {kind.method}, threshold {kind.threshold:g}",
    ]
    write_swc(local_path(settings.output), unit.from_voxels(tree, volume.voxel_nm), unit, comments)
    shape = measure_trees(VOXELS.in_nm(tree, volume.voxel_nm) if known else made)
    length = shape.pop("length")
    results = {
        **shape,
        "length_nm" if known else "length_voxels": length,
        "voxels": int(stack.mask.size),
        "foreground_voxels": int(stack.mask.sum()),
        "threshold": kind.threshold,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    write_results(folder, results)
    picture = _draw(tree, image, spacing)
    plot = save_to_plots(folder, "trace.png", picture)
    lines = [
        f"{kind.name}, {kind.method}, threshold {kind.threshold:g}: {results['foreground_voxels']:,} of "
        f"{results['voxels']:,} voxels are neurite",
        f"{shape['trees']:,} trees, {shape['branch_points']:,} branch points, {shape['tips']:,} tips, "
        + (f"{length / 1000:,.4g} um" if known else f"{length:,.4g} voxels"),
        f"skeleton     {settings.output}   (unit {unit.name})",
        f"results      {folder / RESULTS_FILE}",
        *([f"picture      {plot}"] if plot else []),
    ]
    print("\n".join(lines), flush=True)
    return 0


def open_stack(settings: Settings) -> Volume:
    """Opens and checks what is traced, as far as that is possible without reading it.

    Args:
        settings: that name it.

    Raises:
        InputError: if it cannot be traced, does not fit into memory, or the output cannot be written.
    """
    volume = open_volume(settings.input)
    refuse_idle_keys(volume.address, "input", IMAGE_KEYS)
    refuse_incomplete(volume.address, "input", settings.allow_incomplete)
    if len(volume.shape) != 3:
        raise InputError(
            f"input {volume.name} has axes {list(volume.shape)}; one channel is traced: add ?channel=0 to its address"
        )
    unit = settings.swc_unit(volume.voxel_nm is not None)
    if unit.nm is not None and volume.voxel_nm is None:
        raise InputError(
            f"unit={unit.name}: input {volume.name} does not say the size of its voxels; add ?voxel_nm=Z,Y,X to its "
            "address, or give --config.unit=voxel"
        )
    output = local_path(settings.output)
    check_apart(settings.output, {"input": volume.address, "image": settings.image})
    if output.exists() and not settings.overwrite:
        raise InputError(
            f"{output} exists; give --config.overwrite=true to replace it, or another output"
        )
    if settings.box:
        volume = volume.crop(Box.from_text(settings.box, volume.size))
    check_memory(volume.size, f"input {volume.name}")
    return volume


def relative_spacing(voxel_nm: Triple | None) -> Triple:
    """Returns the sides of a voxel, the shortest as 1; cubes where the size is not known."""
    if voxel_nm is None:
        return (1.0, 1.0, 1.0)
    return tuple(side / min(voxel_nm) for side in voxel_nm)


def in_voxels(made: Skeleton, volume: Volume) -> Skeleton:
    """Returns trees in voxels of the whole that a volume lies in.

    Args:
        made: in the unit of `relative_spacing`, from the centre of the volume's first voxel.
        volume: that was traced.
    """
    scale = 1 / np.asarray(relative_spacing(volume.voxel_nm))
    tree = made.transformed(scale, np.zeros(3), 1.0)
    return tree.transformed(np.ones(3), np.asarray(volume_corner(volume)), 1.0)


def _kind(volume: Volume, values: np.ndarray, settings: Settings) -> _Kind:
    """Returns what a stack is, by its attributes and values."""
    given = settings.threshold_value
    scale = read_attributes(volume.address).get("scale")
    if scale:
        name, threshold, white = "prediction", 0.5 / float(scale), 1 / float(scale)
    elif volume.dtype.kind == "b" or (volume.dtype.kind in "ui" and values.max() <= 1):
        name, threshold, white = "mask", 0.5, 1.0
    elif (
        volume.dtype.kind in "ui"
        and volume.dtype.itemsize > 2
        and "kind" not in volume.address.keys
    ):
        raise InputError(
            f"input {volume.name} is {volume.dtype}, as segmentations are: give --config.ids=all or the ids of "
            "objects, or ?kind=image in its address"
        )
    else:
        name, white = "image", None
        threshold = find_threshold(values) if given is None else given
        if not np.isfinite(threshold):
            raise InputError(f"input {volume.name} has voxels that are no numbers")
    method = settings.method or ("marching" if name == "image" or 1 in volume.size else "teasar")
    return _Kind(name, threshold if given is None else given, white, method)


def _draw(tree: Skeleton, image: Volume, spacing: Triple) -> np.ndarray | None:
    """Returns a picture of the tree over the image; None, which is logged, where there is none."""
    try:
        sides = project(image)
        if sides is None:
            return None
        pieces = tree.positions[tree.edges] - np.asarray(volume_corner(image))
        return draw_trees(sides, {"tracing": pieces}, spacing)
    except (InputError, OSError, ValueError) as error:
        logging.warning("no picture: %s", error)
        return None
