"""Scores tracings against true trees: SWC against SWC."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from emjax.blocks.lock import OutputLock
from emjax.errors import InputError
from emjax.evaluation.trees import mean_scores, tree_scores
from emjax.geometry.sizes import Triple
from emjax.jobs.evaluate.report import write_plots
from emjax.jobs.evaluate.settings import Settings
from emjax.pictures.trees import draw_trees
from emjax.runs.folder import RESULTS_FILE, write_results
from emjax.runs.whole_file import write_whole
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import find_swc, read_swc
from emjax.viewing.projection import project
from emjax.volumes.origin import volume_corner
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

_TABLE = "trees.csv"
_LINES = (
    ("distance, voxels", ("esa", "dsa", "pds")),
    ("within the tolerance", ("tree_f1", "tree_precision", "tree_recall")),
    ("length", ("length_recall", "length_ratio")),
)


class Pair(NamedTuple):
    """A tracing and the true tree, in voxels; the centre of the first is at 0.

    Attributes:
        name: of the file.
        found: the tracing.
        true: the true tree.
    """

    name: str
    found: Skeleton
    true: Skeleton


def score_trees(
    settings: Settings, workdir: str | os.PathLike[str], open_folder: Callable[[], epath.Path]
) -> int:
    """Scores each tracing, and writes `results.json` with the means, `trees.csv` and a picture to `workdir`.

    Args:
        settings: that name the files.
        workdir: run folder.
        open_folder: opens it for this configuration.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if a file cannot be read, has no partner, or lies outside of the image.
    """
    image = open_volume(settings.image) if settings.image else None
    pairs = _read(settings, image)
    # Voxels need not be cubes: distances are in units of their shortest side.
    size = image.voxel_nm if image is not None else None
    spacing = tuple(s / min(size) for s in size) if size else (1.0, 1.0, 1.0)
    with OutputLock(f"{os.fspath(workdir)}/{RESULTS_FILE}", "evaluate"):
        folder = Path(os.fspath(open_folder()))
        scores = {pair.name: _score(pair, spacing, settings) for pair in pairs}
        means = mean_scores([*scores.values()])
        _write_table(folder, scores)
        plots = []
        if image is not None and (sides := project(image)) is not None:
            corner = np.asarray(volume_corner(image))
            drawn = {
                "tracing": _pieces([pair.found for pair in pairs], corner),
                "truth": _pieces([pair.true for pair in pairs], corner),
            }
            plots = write_plots(folder, {"trees.png": draw_trees(sides, drawn, spacing)})
        write_results(folder, {"trees": len(pairs), **means})
    lines = [
        f"{title:<26}{'   '.join(f'{name} {means[name]:.4f}' for name in names if name in means)}"
        for title, names in _LINES
    ]
    lines += [
        f"{len(pairs)} trees; points every {settings.tree_step:g} voxels on both, different from "
        f"{settings.tree_different:g} on, right within {settings.tree_tolerance:g}",
        f"each tree    {folder / _TABLE}",
        f"results      {folder / RESULTS_FILE}",
        *(f"picture      {path}" for path in plots),
    ]
    print("\n".join(lines), flush=True)
    return 0


def _read(settings: Settings, image: Volume | None) -> list[Pair]:
    """Reads and pairs the files: one with one, or those of two folders by their names."""
    found = find_swc(settings.segmentation, "segmentation")
    true = find_swc(settings.labels, "labels")
    if len(found) == len(true) == 1:
        names = [(found[0], true[0])]
    else:
        partners = {path.name: path for path in found}
        missing = [path.name for path in true if path.name not in partners]
        if missing:
            raise InputError(
                f"segmentation={settings.segmentation} has no {missing[0]}, which labels={settings.labels} has "
                f"({len(missing)} of {len(true)} are missing); name each tracing as its true tree"
            )
        names = [(partners[path.name], path) for path in true]
    size = image.voxel_nm if image is not None else None
    pairs = []
    for one, other in names:
        trees = [settings.unit.in_voxels(read_swc(path), size) for path in (one, other)]
        for path, tree in zip((one, other), trees, strict=True):
            if image is not None:
                check_inside(tree, image, str(path))
        pairs.append(Pair(other.stem, trees[0], trees[1]))
    return pairs


def check_inside(tree: Skeleton, image: Volume, name: str) -> None:
    """Refuses a tree that has no point in an image, and warns of one that has some outside.

    Args:
        tree: in voxels; the centre of the first is at 0.
        image: volume that it should lie in.
        name: of the tree, for messages.

    Raises:
        InputError: if no point lies in the image; says where they lie.
    """
    low = np.asarray(volume_corner(image))
    inside = ((tree.positions >= low - 0.5) & (tree.positions < low + image.size - 0.5)).all(axis=1)
    if not inside.any():
        ends = zip(tree.positions.min(axis=0), tree.positions.max(axis=0), strict=True)
        spans = ", ".join(f"{a} {lo:g} to {hi:g}" for a, (lo, hi) in zip("zyx", ends, strict=True))
        raise InputError(
            f"{name} lies outside of the image {image.name} of {image.size} voxels (z, y, x): its points are at "
            f"{spans} voxels; check its unit, and that it belongs to this image"
        )
    if not inside.all():
        logging.warning(
            "%s: %d of %d points lie outside of the image", name, (~inside).sum(), len(tree)
        )


def _score(pair: Pair, spacing: Triple, settings: Settings) -> dict[str, float]:
    scale, none = np.asarray(spacing), np.zeros(3)
    return tree_scores(
        pair.found.transformed(scale, none, 1.0),
        pair.true.transformed(scale, none, 1.0),
        different=settings.tree_different,
        tolerance=settings.tree_tolerance,
        step=settings.tree_step,
    )


def _pieces(trees: list[Skeleton], corner: np.ndarray) -> np.ndarray:
    """Returns the edges of trees as `[m, 2, 3]` voxels of the image."""
    return np.concatenate([tree.positions[tree.edges] for tree in trees]) - corner


def _write_table(folder: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    names = list(dict.fromkeys(name for one in scores.values() for name in one))
    rows = [",".join(["tree", *names])]
    rows += [
        ",".join([tree, *(f"{one[name]:.6g}" if name in one else "" for name in names)])
        for tree, one in scores.items()
    ]
    write_whole(folder / _TABLE, "\n".join([*rows, ""]).encode())
