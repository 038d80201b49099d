"""Shows volumes in neuroglancer, or draws sections of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import refuse_incomplete
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.pictures.figures import save_png
from emjax.runs.folder import CONFIG_FILE, RESULTS_FILE, open_run_folder, write_results
from emjax.skeletons.swc import Skeleton, read_swc
from emjax.viewing.layers import Layer, describe, knows_nm, open_layers
from emjax.viewing.overlap import crop_layers, shared_box, warn_of_gaps
from emjax.viewing.page import serve, wait
from emjax.viewing.picture import draw, plan_plane, read_sections
from emjax.volumes.address import local_path
from emjax.volumes.slow import say_if_slow


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Shows volumes as configured.

    Args:
        config: as made by `configs/view.py`.
        workdir: run folder; that of an earlier view is taken over.

    Returns:
        Exit status: 0 done, also after Ctrl-C.

    Raises:
        InputError: if the configuration or a volume cannot work.
    """
    _check(config)
    layers = open_layers(config.volumes)
    for layer in layers:
        refuse_incomplete(layer.volume.address, "volumes:", config.allow_incomplete)
    warn_of_gaps(layers)
    whole = layers[0].volume.size
    box = Box.from_text(config.box, whole) if config.box else Box((0, 0, 0), whole)
    skeletons = _read_skeletons(config, layers)
    picture = _picture(config, layers, box) if config.png else None
    layers = crop_layers(layers, box) if config.box else layers
    _forget_last(workdir)
    folder = open_run_folder(workdir, config)
    lines = [describe(layer) for layer in layers]
    results = {
        "layers": len(layers),
        "voxels": sum(layer.volume.store.size for layer in layers),
        "skeletons": len(skeletons),
    }
    if picture is not None:
        _save(config.png, picture.pixels)
        results["sections"] = picture.sections
        lines += [*picture.remarks, f"picture    {config.png}"]
    lines.append(f"results    {Path(os.fspath(folder)) / RESULTS_FILE}")
    if picture is not None or not config.serve:
        write_results(folder, results)
        print("\n".join(lines), flush=True)
        return 0
    say_if_slow(*(layer.volume for layer in layers))
    with serve(layers, skeletons, config.bind, config.port) as link:
        write_results(folder, results)
        ending = f"after {config.seconds:g} s" if config.seconds else "at Ctrl-C"
        print("\n".join([*lines, f"page       {link}   (ends {ending})"]), flush=True)
        wait(config.seconds)
    return 0


class _Picture(NamedTuple):
    pixels: np.ndarray
    sections: int
    remarks: tuple[str, ...]


def _picture(config: ConfigDict, layers: Sequence[Layer], box: Box) -> _Picture:
    """Draws the sections that are asked for."""
    shared = shared_box(layers, box)
    sections = read_sections(config.sections, box, shared)
    plane = plan_plane(layers[0], sections.axis, box, shared)
    whole = [box.size[a] * layers[0].voxel_nm[a] / plane.pixel_nm for a in plane.across]
    remarks = ()
    if any(n < round(pixels) for n, pixels in zip(plane.size, whole, strict=True)):
        remarks = (
            f"shown      {plane.size[0]} x {plane.size[1]} of {whole[0]:.0f} x {whole[1]:.0f} pixels; --config.box "
            "shows another part, ?level=1 in the address of a pyramid more of it",
        )
    return _Picture(draw(layers, sections, plane), len(sections.indices), remarks)


def _check(config: ConfigDict) -> None:
    """Checks all fields before anything is opened."""
    if not 0 <= config.port <= 65535:
        raise InputError(f"port={config.port} must be 1 to 65535, or 0 for any that is free")
    if config.seconds < 0:
        raise InputError(f"seconds={config.seconds:g} must be 0 or more")
    if config.skeleton_unit_nm <= 0:
        raise InputError(f"skeleton_unit_nm={config.skeleton_unit_nm:g} must be above 0 nm")
    if config.sections and not config.png:
        raise InputError(
            f"sections={config.sections} are of the picture; give --config.png=FILE.png, too"
        )
    if not config.png:
        return
    path = local_path(config.png)
    if path.suffix.lower() != ".png":
        raise InputError(f"png={config.png} must end in .png")
    if not path.parent.is_dir():
        raise InputError(f"png={config.png}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"png={config.png} is a folder; give a file in it")
    if config.skeletons:
        raise InputError("skeletons are drawn on the page alone; leave png or skeletons out")


def _read_skeletons(config: ConfigDict, layers: Sequence[Layer]) -> list[Skeleton]:
    if not config.skeletons:
        return []
    if not knows_nm(layers):
        raise InputError(
            f"skeletons={config.skeletons} are in nm, and no volume says its voxel size; add ?voxel_nm=Z,Y,X"
        )
    return read_swc(config.skeletons, config.skeleton_unit_nm).trees()


def _forget_last(workdir: str | os.PathLike[str]) -> None:
    """Removes the results of an earlier view: it made nothing that another view would spoil.

    The folder of any other job stays refused.
    """
    folder = epath.Path(workdir)
    try:
        job = json.loads((folder / CONFIG_FILE).read_text())["config"]["job"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if job == "view":
        (folder / RESULTS_FILE).unlink(missing_ok=True)


def _save(name: str, picture: np.ndarray) -> None:
    """Writes the picture."""
    try:
        save_png(local_path(name), picture)
    except OSError as error:
        raise InputError(f"cannot write png={name} ({error.strerror}); choose another") from error
