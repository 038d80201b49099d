"""The passes of `suggest` over its boxes, and the lists that come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from emjax.annotation.candidates import Candidates
from emjax.annotation.choosing import choose, pool
from emjax.blocks.passes import BlockPasses
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.suggest.features import DescribeCandidates
from emjax.jobs.suggest.inputs import Inputs
from emjax.jobs.suggest.lists import make_rows, write_list
from emjax.jobs.suggest.settings import Settings
from emjax.jobs.suggest.sheet import draw_suggestions, draw_suspects
from emjax.jobs.suggest.suspects import Contradiction, DoubtLabels
from emjax.jobs.suggest.uncertainty import MeasureUncertainty
from emjax.viewing.snapshot import save_to_plots
from emjax.volumes.volume import Volume

SUGGESTIONS, SUSPECTS = "suggestions", "suspects"


class Found(NamedTuple):
    """Numbers for `results.json`, and lines for people."""

    results: Mapping[str, Any]
    lines: list[str]


def suggest(
    settings: Settings,
    inputs: Inputs,
    prediction: Volume,
    names: tuple[str, ...],
    passes: BlockPasses,
    folder: Path,
) -> Found:
    """Measures all candidates, chooses among them, and writes the list and its contact sheet.

    Args:
        settings: of the job.
        inputs: what was opened.
        prediction: of the images.
        names: of its channels.
        passes: that remember what is done.
        folder: of the run.

    Raises:
        InputError: if there is nothing to choose.
    """
    candidates, volume = inputs.candidates, inputs.volume
    blocks = candidates.blocks
    measure = MeasureUncertainty(
        candidates,
        volume,
        inputs.network.normalization,
        prediction,
        names,
        passes.path("uncertainty"),
    )
    passes.run("uncertainty", blocks, measure)
    every = range(len(blocks))
    uncertainty = _gathered(passes, "uncertainty", "uncertainty", every)
    blank = _gathered(passes, "uncertainty", "blank", every)
    known, unsure = pool(
        np.where(blank, np.nan, uncertainty),
        inputs.labelled & ~blank,
        settings.budget,
        settings.share,
    )
    if not len(unsure):
        raise InputError(
            f"there is nothing to choose: of {len(blank)} boxes of {candidates.size} voxels "
            f"{int(inputs.labelled.sum())} are labelled, and {int(blank.sum())} show nothing; give a larger box, or a "
            "smaller size"
        )
    # Sorted, as the features come: the choice does not depend on the order.
    members = np.concatenate([np.sort(known), np.sort(unsure)])
    wanted = np.isin(np.arange(len(blank)), members)
    chosen = [
        block.index for block in blocks if any(wanted[c.index] for c in candidates.within(block))
    ]
    describe = DescribeCandidates(
        candidates, wanted, inputs.network, settings.windows, passes.path("features")
    )
    passes.run("features", blocks, describe, only=chosen)
    rows = np.searchsorted(np.flatnonzero(wanted), members)
    features = _gathered(passes, "features", "features", chosen)[rows]
    choice = choose(features, uncertainty[members], len(known), settings.budget)
    choice = choice._replace(indices=members[choice.indices])
    if len(choice.indices) < settings.budget:
        logging.warning(
            "budget=%d: there are only %d boxes to choose", settings.budget, len(choice.indices)
        )
    boxes = [candidates.grid[int(index)].core for index in choice.indices]
    columns = {
        "uncertainty": uncertainty[choice.indices].tolist(),
        "stands_for": choice.stands_for.tolist(),
        "novelty": choice.novelty.tolist(),
    }
    write_list(folder, SUGGESTIONS, make_rows(volume, boxes, columns))
    sheet = draw_suggestions(volume, inputs.network.normalization, prediction, names, boxes)
    picture = save_to_plots(folder, f"{SUGGESTIONS}.png", sheet)
    results = {
        "candidates": len(blank),
        "candidates_labelled": int(inputs.labelled.sum()),
        "candidates_blank": int(blank.sum()),
        "suggestions": len(boxes),
        "uncertainty_mean": float(np.nanmean(uncertainty)),
        "uncertainty_suggested": float(uncertainty[choice.indices].mean()),
    }
    return Found(
        results,
        [
            f"{len(boxes)} of {len(blank)} boxes of {candidates.size} voxels, uncertainty "
            f"{results['uncertainty_suggested']:.3f} (mean of all {results['uncertainty_mean']:.3f})",
            f"suggestions  {folder / SUGGESTIONS}.csv and .json, picture {picture}",
        ],
    )


def doubt(settings: Settings, doubted: Contradiction, passes: BlockPasses, folder: Path) -> Found:
    """Measures all boxes of labels, and lists those that are contradicted most.

    Args:
        settings: of the job.
        doubted: labels and prediction.
        passes: that remember what is done.
        folder: of the run.
    """
    volume = doubted.entry.image
    outer = Box((0, 0, 0), volume.size)
    boxes = Candidates.covering(outer, settings.suspect_size, "suspect_size")
    work = DoubtLabels(
        boxes,
        doubted,
        settings.suspect_least,
        settings.suspect_thickness,
        passes.path(SUSPECTS),
    )
    passes.run(SUSPECTS, boxes.blocks, work)
    known, contradicted, yes, no = _gathered(passes, SUSPECTS, "counts", range(len(boxes.blocks))).T
    share = contradicted / np.maximum(known, 1)
    order = np.argsort(-share, kind="stable")[: settings.suspects]
    order = order[share[order] > 0]
    columns = {
        "contradicted": share[order].tolist(),
        "voxels": contradicted[order].tolist(),
        "network_says": ["yes" if yes[i] >= no[i] else "no" for i in order],
    }
    listed = [boxes.grid[int(index)].core for index in order]
    write_list(folder, SUSPECTS, make_rows(volume, listed, columns))
    lines = [f"{len(listed)} boxes of labels to doubt"]
    if listed:
        picture = save_to_plots(folder, f"{SUSPECTS}.png", draw_suspects(doubted, listed))
        lines.append(f"suspects     {folder / SUSPECTS}.csv and .json, picture {picture}")
    whole = float(contradicted.sum() / max(1, known.sum()))
    return Found({"suspects": len(listed), "contradicted": whole}, lines)


def _gathered(
    passes: BlockPasses, name: str, column: str, blocks: Sequence[int] | range
) -> np.ndarray:
    """Returns a column of the parts of a pass's blocks, in the order of the candidates."""
    parts = list(passes.parts(name, blocks))
    order = np.argsort(np.concatenate([part["indices"] for part in parts]))
    return np.concatenate([part[column] for part in parts])[order]
