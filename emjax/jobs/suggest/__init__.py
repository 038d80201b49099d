"""Suggests what to label next, which labels to doubt, and what more labels would bring."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from emjax.annotation.candidates import Candidates
from emjax.blocks.fingerprint import fingerprint
from emjax.blocks.output import work_identity
from emjax.blocks.passes import BlockPasses, goes_on
from emjax.config import identity
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.predict.plan import weights_digest
from emjax.jobs.suggest.curve import draw_curve, read_curve, summarize
from emjax.jobs.suggest.inputs import (
    Inputs,
    make_prediction,
    open_inputs,
    open_prediction,
    trained_boxes,
)
from emjax.jobs.suggest.passes import Found, doubt, suggest
from emjax.jobs.suggest.settings import Settings
from emjax.jobs.suggest.suspects import Doubted, open_labels
from emjax.parallel import runtime
from emjax.parallel.compiled_programs import use_compilation_cache
from emjax.runs.exit_status import DONE
from emjax.runs.folder import is_continued, open_run_folder, write_results
from emjax.viewing.snapshot import save_to_plots

ON_DEVICES = True


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Writes the lists, their contact sheets, the curve and `results.json` to `workdir`.

    Args:
        config: as made by `configs/suggest.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration, the networks or the volumes cannot work.
    """
    settings = Settings.from_config(config)
    if not runtime.is_alone():
        raise InputError(
            "suggest runs as one process; predict with several first, and give --config.prediction=ADDRESS"
        )
    scored = read_curve(settings.curve, settings.curve_score) if settings.curve else None
    inputs = open_inputs(settings) if settings.input else None
    doubted = _open_doubted(settings, inputs) if inputs else None
    if settings.prediction:
        open_prediction(settings.prediction, settings.shared.allow_incomplete)
    overwrite = settings.shared.overwrite and not is_continued(workdir, config)
    folder = Path(os.fspath(open_run_folder(workdir, config)))
    found: list[Found] = []
    passes = None
    if inputs is not None:
        use_compilation_cache()
        address, status = make_prediction(settings, folder, overwrite)
        if status:
            return status
        prediction, names = open_prediction(address, settings.shared.allow_incomplete)
        passes = BlockPasses(
            folder, _identity(identity(config), settings, inputs), "", settings.shared.num_workers
        )
        found.append(suggest(settings, inputs, prediction, names, passes, folder))
        if doubted is not None:
            found.append(doubt(settings, doubted.with_prediction(prediction), passes, folder))
        found.append(Found(passes.results(), []))
    if scored is not None:
        numbers, lines = summarize(scored, settings.target_score)
        picture = save_to_plots(folder, "curve.png", draw_curve(scored, settings.target_score))
        found.append(Found(numbers, [*lines, f"curve        {picture}"]))
    results: dict[str, Any] = {}
    for part in found:
        results |= part.results
    write_results(folder, results)
    if passes is not None:
        passes.clear()
    print("\n".join(line for part in found for line in part.lines), flush=True)
    return DONE


def _open_doubted(settings: Settings, inputs: Inputs) -> Doubted | None:
    """Opens the labels to doubt; says so where the network has learnt them."""
    if not settings.labels or inputs.task is None or inputs.weights is None:
        return None
    part = (inputs.volume, inputs.candidates.outer)
    doubted = open_labels(settings.input, part, settings.labels, inputs.task, inputs.weights.spec)
    size = doubted.entry.image.size
    Candidates.covering(Box((0, 0, 0), size), settings.suspect_size, "suspect_size")
    for box in trained_boxes(inputs.weights, doubted.entry.image):
        logging.warning(
            "%s had the labels %s that it is to doubt, and may have learnt mistakes by heart; a network that has not "
            "seen them finds more (docs/suggest.md)",
            settings.checkpoint,
            box,
        )
    return doubted


def _identity(fields: Mapping[str, Any], settings: Settings, inputs: Inputs) -> str:
    """Returns a hash of all that decides what the parts hold."""
    addresses = [settings.input, settings.prediction]
    networks = (inputs.weights, inputs.described_by)
    return work_identity(
        {
            "config": dict(fields),
            "volumes": [fingerprint(address) for address in addresses if address],
            "weights": [weights_digest(one.params) for one in networks if one is not None],
        }
    )
