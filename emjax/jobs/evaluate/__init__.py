"""Scores a segmentation against labels or skeletons, or tracings against true trees."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from emjax.blocks.fingerprint import fingerprint
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import work_identity
from emjax.blocks.passes import BlockPasses, goes_on
from emjax.config import identity
from emjax.jobs.evaluate.inputs import Inputs, open_inputs
from emjax.jobs.evaluate.judge import judge
from emjax.jobs.evaluate.report import (
    closing_lines,
    draw_confusion,
    draw_sections,
    write_confusion,
    write_plots,
)
from emjax.jobs.evaluate.settings import TREES, Settings
from emjax.jobs.evaluate.trees import score_trees
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Scores a segmentation as configured, and writes `results.json` and plots to `workdir`.

    Args:
        config: as made by `configs/evaluate.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration or the volumes cannot work, nothing is left to score, or blocks could not be
            read.
    """
    settings = Settings.from_config(config)
    if settings.kind == TREES:
        return score_trees(settings, workdir, functools.partial(open_run_folder, workdir, config))
    inputs = open_inputs(settings)
    with OutputLock(f"{os.fspath(workdir)}/{RESULTS_FILE}", "evaluate"):
        folder = Path(os.fspath(open_run_folder(workdir, config)))
        known = _identity(identity(config), settings, inputs)
        passes = BlockPasses(folder, known, settings.shared.cluster, settings.shared.num_workers)
        judged = judge(settings, inputs, passes)
        pictures = {"sections.png": draw_sections(inputs, settings.kind, judged.table)}
        if judged.confusion is not None:
            write_confusion(folder, *judged.confusion)
            pictures["confusion.png"] = draw_confusion(*judged.confusion)
        plots = write_plots(folder, pictures)
        write_results(folder, judged.scores | passes.results())
        passes.clear()
    print(closing_lines(folder, judged.scores, judged.remarks, plots, inputs.classes), flush=True)
    return 0


def _identity(fields: Mapping[str, Any], settings: Settings, inputs: Inputs) -> str:
    """Returns a hash of all that decides what is found in blocks.

    Args:
        fields: of the configuration, by dotted name, as `emjax.config.identity` returns them.
        settings: that name the volumes.
        inputs: what was opened.
    """
    addresses = [a for a in (settings.segmentation, settings.labels, settings.mask) if a]
    points = hashlib.sha256(b"".join(s.positions.tobytes() for s in inputs.skeletons))
    return work_identity(
        {
            "config": fields,
            "volumes": [fingerprint(address) for address in addresses],
            "points": points.hexdigest(),
            "voxel_nm": inputs.voxel_nm,
        }
    )
