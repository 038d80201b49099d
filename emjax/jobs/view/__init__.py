"""Shows volumes in neuroglancer, or draws sections of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from etils import epath
from ml_collections import ConfigDict

from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.output import check_apart
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.view.settings import Settings
from emjax.pictures.render import save_png
from emjax.pictures.trees import draw_trees
from emjax.runs.folder import CONFIG_FILE, RESULTS_FILE, open_run_folder, write_results
from emjax.skeletons.skeleton import Skeleton, joined
from emjax.skeletons.swc import read_swc
from emjax.skeletons.unit import Unit
from emjax.viewing.layers import IMAGE, Layer, describe, knows_nm, open_layers
from emjax.viewing.overlap import crop_layers, warn_of_gaps
from emjax.viewing.page import serve, wait
from emjax.viewing.projection import project
from emjax.viewing.snapshot import Snapshot, draw_layers
from emjax.volumes.address import local_path
from emjax.volumes.slow import say_if_slow

# The first bytes of every PNG file.
_PNG = b"\x89PNG\r\n\x1a\n"


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
    settings = Settings.from_config(config)
    layers = open_layers(settings.volumes)
    for layer in layers:
        refuse_incomplete(layer.volume.address, "volumes:", settings.allow_incomplete)
    if settings.png:
        _check_png(settings.png)
        check_apart(
            settings.png, {f"volume {layer.name}": layer.volume.address for layer in layers}
        )
    warn_of_gaps(layers)
    whole = layers[0].volume.size
    box = Box.from_text(settings.box, whole) if settings.box else Box((0, 0, 0), whole)
    skeletons = _read_skeletons(settings, layers)
    picture = None
    if settings.png and skeletons:
        _save(settings.png, _draw_skeletons(layers[0], box, skeletons))
    elif settings.png:
        picture = draw_layers(layers, settings.sections, box)
    layers = crop_layers(layers, box) if settings.box else layers
    _forget_last(workdir)
    folder = open_run_folder(workdir, config)
    lines = [describe(layer) for layer in layers]
    results = {
        "layers": len(layers),
        "voxels": sum(layer.volume.store.size for layer in layers),
        "skeletons": len(skeletons),
    }
    if picture is not None:
        _save(settings.png, picture.pixels)
        results["sections"] = picture.sections
        lines += _cut_short(picture)
    if settings.png:
        lines.append(f"picture    {settings.png}")
    lines.append(f"results    {Path(os.fspath(folder)) / RESULTS_FILE}")
    if settings.png or not settings.serve:
        write_results(folder, results)
        print("\n".join(lines), flush=True)
        return 0
    say_if_slow(*(layer.volume for layer in layers), parts="pieces")
    with serve(layers, skeletons, settings.bind, settings.port) as link:
        write_results(folder, results)
        ending = f"after {settings.seconds:g} s" if settings.seconds else "at Ctrl-C"
        print("\n".join([*lines, f"page       {link}   (ends {ending})"]), flush=True)
        wait(settings.seconds)
    return 0


def _cut_short(picture: Snapshot) -> list[str]:
    """Says so if a section is larger than what is drawn of it."""
    if all(shown >= whole for shown, whole in zip(picture.shown, picture.whole, strict=True)):
        return []
    return [
        f"shown      {picture.shown[0]} x {picture.shown[1]} of {picture.whole[0]} x {picture.whole[1]} pixels; "
        "--config.box shows another part, ?level=1 in the address of a pyramid more of it"
    ]


def _read_skeletons(settings: Settings, layers: Sequence[Layer]) -> list[Skeleton]:
    if not settings.skeletons:
        return []
    unit = Unit.parse(settings.skeleton_unit, "skeleton_unit")
    if unit.nm is not None and not knows_nm(layers):
        raise InputError(
            f"skeletons={settings.skeletons} are in {unit.name}, and no volume says its voxel size; add "
            "?voxel_nm=Z,Y,X, or --config.skeleton_unit=voxel if their coordinates are voxels"
        )
    # Without a voxel size the page draws voxels as cubes of one unit.
    skeleton = unit.in_nm(read_swc(settings.skeletons), layers[0].voxel_nm)
    return skeleton.trees()


def _draw_skeletons(layer: Layer, box: Box, skeletons: Sequence[Skeleton]) -> np.ndarray:
    """Draws skeletons over the largest values of a layer along each axis.

    Args:
        layer: an image.
        box: part that is drawn, in its voxels.
        skeletons: nm, or voxels if no layer knows its voxel size.
    """
    if layer.kind != IMAGE:
        raise InputError(
            f"skeletons are drawn over an image, and {layer.name} is {layer.kind}; give an image first in volumes"
        )
    sides = project(layer.volume.crop(box))
    if sides is None:
        raise InputError(
            f"{layer.name} is too large to be drawn whole; give a part with --config.box"
        )
    whole = joined(skeletons)
    # Voxels of the part; 0 is the centre of the first.
    voxels = whole.positions / layer.voxel_nm - layer.origin - box.start - 0.5
    return draw_trees(sides, {"skeletons": voxels[whole.edges]}, layer.voxel_nm)


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


def _check_png(name: str) -> None:
    """Refuses to replace a file that is no picture, such as a volume that was named by mistake."""
    path = local_path(name)
    if path.is_dir():
        raise InputError(f"png={name} is a folder; give the name of a file, NAME.png")
    if not path.exists():
        return
    with path.open("rb") as file:
        begin = file.read(len(_PNG))
    if begin not in (b"", _PNG):
        raise InputError(f"png={name} exists and is no PNG picture; choose another")


def _save(name: str, picture: np.ndarray) -> None:
    """Writes the picture."""
    try:
        save_png(local_path(name), picture)
    except OSError as error:
        raise InputError(f"cannot write png={name} ({error.strerror}); choose another") from error
