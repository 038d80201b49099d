"""Finds the settings of `segment` that score best on a labelled volume."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict
from tqdm import tqdm

from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.fingerprint import fingerprint
from emjax.blocks.output import work_identity
from emjax.config import identity
from emjax.errors import InputError
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.cremi import CremiBorders, cremi_scores
from emjax.evaluation.instances import score_instances
from emjax.evaluation.overlap import class_dice, class_overlap, foreground_overlap
from emjax.geometry.box import Box
from emjax.jobs.segment.inputs import (
    DECODING_FILE,
    choose_channels,
    open_part,
    read_prediction,
    suggested_methods,
)
from emjax.jobs.tune.report import closing_lines, draw_best
from emjax.jobs.tune.settings import CLASS_METRICS, METRICS, Settings
from emjax.jobs.tune.trials import Trials
from emjax.runs.folder import open_run_folder, write_json, write_results
from emjax.segmentation.methods import METHODS, choose_method, decode, suit_to_voxels
from emjax.segmentation.settings import read_settings, values_to_try
from emjax.viewing.snapshot import save_to_plots
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.pairs import at_voxels_of, lay
from emjax.volumes.roles import open_ids

# Share of the labels' entropy that is lost where next to nothing is parted.
_MOSTLY = 0.9


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Tries every combination of a grid, and writes the best to `decoding.json`.

    Args:
        config: as made by `configs/tune.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done. A stopped run keeps the trials that are done, and the same command goes on.

    Raises:
        InputError: if the configuration, the prediction or the labels cannot work, or nothing can be scored.
    """
    settings = Settings.from_config(config)
    shared = settings.shared
    volume, box = open_part(settings.input, shared.box)
    for name, address in (("input", settings.input), ("labels", settings.labels)):
        refuse_incomplete(address, name, shared.allow_incomplete)
    chosen = choose_channels(
        settings.input, settings.channels, volume, of=settings.of, method=settings.method
    )
    names, offsets, _ = chosen
    method = choose_method(settings.method, names, offsets, suggested_methods(volume))
    known_method = METHODS.find(method)
    _check_metric(settings.metric, method)
    grid = _parse_grid(settings.grid) if settings.grid else values_to_try(known_method.settings)
    # The last setting changes fastest; `memo` keeps what depends on the others alone.
    combinations = [dict(zip(grid, v, strict=True)) for v in itertools.product(*grid.values())]
    trials = [suit_to_voxels(method, values, volume.voxel_nm) for values in combinations]
    for values in trials:
        read_settings(known_method.settings, method, values)
    labels = open_ids(settings.labels, "labels")
    if settings.resample:
        labels = at_voxels_of(volume, labels, "labels")
    voxel_nm = labels.voxel_nm or volume.voxel_nm
    if settings.metric == "cremi_score" and voxel_nm is None:
        raise InputError(
            f"metric=cremi_score needs the size of voxels; add ?voxel_nm=Z,Y,X to labels={settings.labels}"
        )
    laid = lay({"prediction": volume, "labels": labels})
    laid.log()
    labels = laid.volumes["labels"]
    # The box is meant in voxels of the prediction as it was given.
    whole = Box(laid.moved, labels.size)
    common = box.intersect(whole)
    if common is None:
        raise InputError(
            f"box={shared.box}: {labels.name} has labels in {whole} of the prediction alone"
        )
    box = common.translate(tuple(-s for s in laid.moved))
    given, volume = volume, laid.volumes["prediction"]
    folder = open_run_folder(workdir, config)

    label_ids = LabelIds.of(labels.address, settings.background_ids, settings.ignore_ids)
    truth = labels.read(box)
    if not label_ids.objects(truth).any():
        raise InputError(
            f"labels {labels.name} have no object in the box {box}: nothing can be scored; check the address, the box, "
            "and ?background= and ?ignore="
        )
    far = None
    if voxel_nm and not known_method.classes:
        far = CremiBorders(settings.cremi_border_nm, voxel_nm).far(truth)
    # As `segment` reads it: where a part begins in the prediction decides which affinities `mutex` uses.
    prediction = read_prediction(given, common, chosen)
    memo: dict = {}
    rows = []
    decides = {
        "config": identity(config),
        "volumes": [fingerprint(address) for address in (settings.input, settings.labels)],
    }
    done = Trials(epath.Path(folder), work_identity(decides))
    if len(done):
        logging.info("%d of %d trials were done before", len(done), len(trials))
    # Nothing is lost by a stop at any instant, as each trial is kept once it is done.
    for values in tqdm(trials, desc=f"tune {method}", disable=None, unit="trial"):
        scores = done.scores(values)
        if scores is not None:
            rows.append({"settings": values, "scores": scores})
            continue
        segmentation = decode(prediction, method, values, memo)
        counts = Contingency.from_arrays(truth, segmentation, label_ids=label_ids)
        if known_method.classes:
            scores = foreground_overlap(counts) | class_overlap(counts) | class_dice(counts)
        else:
            scores = score_instances(counts)
        if far is not None:
            table = Contingency.from_arrays(truth, segmentation, label_ids=label_ids, mask=far)
            scores |= cremi_scores(table.without_background())
        done.add(values, scores)
        rows.append({"settings": values, "scores": scores})
    known = [row for row in rows if settings.metric in row["scores"]]
    if not known:
        raise InputError(
            f"{settings.metric} has no value for any of the {len(rows)} trials: do the labels {labels.name} hold "
            "objects?"
        )
    sign = -1 if METRICS[settings.metric] else 1
    known.sort(key=lambda row: sign * row["scores"][settings.metric])
    best = known[0]
    if not known_method.classes:
        _warn_if_merged(truth[label_ids.objects(truth)], best["scores"])
    write_json(epath.Path(folder) / "trials.json", rows)
    write_json(
        epath.Path(folder) / DECODING_FILE,
        {
            "method": method,
            "settings": best["settings"],
            "metric": settings.metric,
            "value": best["scores"][settings.metric],
        },
    )
    write_results(folder, best["scores"] | {"trials": len(rows)})
    done.clear()
    found = decode(prediction, method, best["settings"], memo)
    true = np.where(label_ids.objects(truth), truth, 0)
    picture = save_to_plots(folder, "best.png", draw_best(volume, box, prediction, true, found))
    lines = closing_lines(settings.metric, Path(os.fspath(folder)), method, known, picture)
    print(lines, flush=True)
    return 0


def _check_metric(metric: str, method: str) -> None:
    """Checks that a metric suits what a method makes: objects or classes."""
    if (METHODS.find(method).classes is None) == metric.startswith("class_") or (
        METHODS.find(method).classes and metric not in CLASS_METRICS
    ):
        makes = "classes" if METHODS.find(method).classes else "objects"
        fit = [name for name in METRICS if (name in CLASS_METRICS) == (makes == "classes")]
        raise InputError(
            f"metric={metric}: method '{method}' makes {makes}; give --config.metric={fit[0]}, or another of "
            f"{', '.join(fit[1:])}"
        )


def _warn_if_merged(ids: np.ndarray, scores: Mapping[str, float]) -> None:
    """Says that the settings that were found part next to nothing: a table of ties looks like a success.

    Args:
        ids: of all labelled voxels of objects.
        scores: of the best trial, with `voi_merge`, which is the entropy of the ids where all are one object.
    """
    _, counts = np.unique(ids, return_counts=True)
    entropy = float(-np.sum(counts / ids.size * np.log2(counts / ids.size)))
    merged = scores.get("voi_merge", 0.0)
    if len(counts) > 1 and merged > _MOSTLY * entropy:
        logging.warning(
            "even the best settings leave most objects merged: voi_merge is %.2f bits, of %.2f if all were one; look "
            "at the prediction (configs/view.py), train for longer, or give other values in grid",
            merged,
            entropy,
        )


def _parse_grid(text: str) -> dict[str, tuple[Any, ...]]:
    """Reads `threshold=0.3,0.5&linkage=mean,quantile`."""
    grid: dict[str, tuple[Any, ...]] = {}
    for part in text.split("&"):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        if not (name and equals and values) or name in grid:
            raise InputError(
                f"grid: '{part.strip()}' is not NAME=VALUE,VALUE, each name once; as in threshold=0.3,0.5"
            )
        grid[name] = tuple(value.strip() for value in values.split(","))
    return grid
