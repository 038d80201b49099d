"""Explains a network: which voxels and which sections its answer for the section in the middle comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from emjax.attribution.sections import (
    Asymmetry,
    asymmetry,
    map_swap,
    order_sensitivity,
    section_shares,
)
from emjax.errors import InputError
from emjax.jobs.attribute.images import Tiles, read_tiles
from emjax.jobs.attribute.maps import Maps, make_maps, order_forward
from emjax.jobs.attribute.network import Explained, make_explained, window
from emjax.jobs.attribute.report import draw_maps, write_report
from emjax.jobs.attribute.settings import METHODS, Settings
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.train.weights import restore_params

ON_DEVICES = True
# By which part integrated gradients may fail to add up.
_MOST_GAP = 0.01


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Explains a network as configured.

    Args:
        config: as made by `configs/attribute.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration, the checkpoint, the image or the labels cannot work.
    """
    settings = Settings.from_config(config)
    weights = restore_params(settings.checkpoint)
    explained = make_explained(settings, weights)
    tiles = read_tiles(settings, explained.size, weights.spec)
    folder = Path(os.fspath(open_run_folder(workdir, config)))
    maps = make_maps(settings, explained, tiles)
    measured = _measure(settings, maps)
    part = window(explained.size[0], settings.sections)
    forward = order_forward(explained)

    def ordered(x: np.ndarray) -> np.ndarray:
        whole = tiles.images.copy()
        whole[:, part] = x
        return forward(whole)

    order = order_sensitivity(ordered, tiles.images[:, part], settings.seed)
    swap = map_swap(maps.voxels["gradient"], maps.swapped)
    notes = _notes(explained, maps, order, swap)
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    shown = {n: v for n, v in maps.voxels.items() if n in settings.chosen}
    drawn = draw_maps(plots, tiles, part, shown, maps.spatial, settings.pictures)
    pictures = [(path, _where(tiles, i)) for i, path in enumerate(drawn)]
    title = (
        f"{settings.checkpoint}, channel '{explained.title}', {settings.region} of {len(tiles.images)} tiles of "
        f"{settings.input}"
    )
    report = write_report(folder, title, measured, notes, pictures)
    write_results(folder, _results(measured, tiles, maps, order, swap))
    print("\n".join(_closing_lines(measured, notes, report, folder)), flush=True)
    return 0


def _measure(settings: Settings, maps: Maps) -> dict[str, Asymmetry]:
    """Returns how unequal sections are, for each method that tells them apart."""
    measured = {}
    for name in settings.chosen:
        if name == "section_occlusion":
            sums = maps.hidden.sum(1, keepdims=True)
            if not (sums > 0).all():
                raise InputError(
                    "covering a section changes nothing: the network's answer is a constant"
                )
            shares = maps.hidden / sums
        elif METHODS[name][1]:
            shares = section_shares(maps.voxels[name])
        else:
            continue
        # A section that nothing comes from has the share 0; ratios are taken against a very small one.
        measured[name] = asymmetry(np.maximum(shares, 1e-12), seed=settings.seed)
    return measured


def _where(tiles: Tiles, number: int) -> str:
    """Says where a tile lies, and how large it is."""
    z, y, x = tiles.places[number]
    height, width = tiles.regions[number].shape
    text = f"Middle section z={z}, y={y}, x={x}: {height} x {width} pixels"
    if tiles.voxel_nm:
        sides = (n * nm / 1000 for n, nm in zip((height, width), tiles.voxel_nm[1:], strict=True))
        text += " ({:.2g} x {:.2g} µm)".format(*sides)
    return text


def _notes(explained: Explained, maps: Maps, order: Any, swap: np.ndarray) -> list[str]:
    notes = []
    if len(maps.gaps):
        worst = float(maps.gaps.max())
        verdict = "complete" if worst <= _MOST_GAP else "not complete: give more steps by ig_steps"
        notes.append(
            f"integrated gradients add up to the answer within {100 * worst:.2f} % ({verdict})"
        )
    notes.append(
        f"sections in another order change the answer by {100 * order.any_order:.2f} %, the two neighbours exchanged "
        f"by {100 * order.swap:.2f} %"
    )
    known = swap[np.isfinite(swap)]
    if len(known):
        notes.append(
            f"when the neighbours are exchanged, 1 - correlation of a section's map with itself is {known.mean():.3f} "
            "(0: the map follows its section)"
        )
    if len(maps.spatial):
        notes.append("Grad-CAM belongs to no section: it is drawn, not measured")
    if explained.size[0] > 1 and getattr(explained.backbone, "slices", 0) == 1:
        notes.append("this network has a first kernel of one section: neighbours cannot count")
    return notes


def _results(
    measured: dict[str, Asymmetry], tiles: Tiles, maps: Maps, order: Any, swap: np.ndarray
) -> dict[str, float]:
    results: dict[str, float] = {"tiles": len(tiles.images)}
    for name, found in measured.items():
        fields = {f"share_{i}": one for i, one in enumerate(found.shares)}
        for field in ("neighbour_ratio", "neighbour_asymmetry", "spread", "variation"):
            fields[field] = getattr(found, field)
        for field, one in fields.items():
            results[f"{name}_{field}"] = one.value
            results[f"{name}_{field}_low"] = one.low
            results[f"{name}_{field}_high"] = one.high
    if len(maps.gaps):
        results["integrated_gradients_gap"] = float(maps.gaps.max())
    results["order_sensitivity"] = order.any_order
    results["swap_sensitivity"] = order.swap
    if np.isfinite(swap).any():
        results["map_swap"] = float(np.nanmean(swap))
    return results


def _closing_lines(
    measured: dict[str, Asymmetry], notes: list[str], report: Path, folder: Path
) -> list[str]:
    lines = []
    for name, found in measured.items():
        shares = " ".join(f"{one.value:.3f}" for one in found.shares)
        ratio = found.neighbour_ratio
        lines.append(
            f"{METHODS[name][0]:<24} shares {shares}   neighbour ratio {ratio.value:.3f} ({ratio.low:.3f}, "
            f"{ratio.high:.3f})"
        )
    return [*lines, *notes, f"report     {report}", f"results    {folder / RESULTS_FILE}"]
