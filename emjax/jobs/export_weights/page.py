"""The page beside exported weights: what the network is, what it was trained on, its scores, and how to load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emjax.models.build import count_params
from emjax.runs.folder import RESULTS_FILE
from emjax.train.checkpoint import CHECKPOINT_FOLDER
from emjax.train.weights import Weights

_NOT_STATED = "not stated"
# In the head of each page, by which it is known again.
_MADE_BY = "library_name: emjax"


def is_page(text: str) -> bool:
    """Returns whether a page was written by `write_page`."""
    return _MADE_BY in text


def write_page(title: str, folder: str, licence: str, weights: Weights, digest: str) -> str:
    """Returns the page of a network, in the form that model hubs read.

    Args:
        title: heading.
        folder: name of the folder, for the commands that load it.
        licence: of the weights; '': not stated.
        weights: as they are exported.
        digest: SHA-256 of the file of weights.
    """
    spec, config = weights.spec, weights.spec.config
    model = dict(config.get("model", {}))
    data: dict[str, Any] = dict(config.get("data", {}))
    voxel_nm = "x".join(f"{size:g}" for size in spec.voxel_nm) or "unknown or mixed"
    rows = {
        "network": model.pop("name", _NOT_STATED),
        "parameters": f"{count_params(weights.params):,}",
        "made by": f"the job `{spec.job}` of emjax",
        "voxels": f"{voxel_nm} nm (z, y, x)",
        "grey values": f"`{json.dumps(dict(spec.normalization))}`",
        "targets": f"`{config['targets']}`" if "targets" in config else "none",
        "licence": licence or _NOT_STATED,
        "SHA-256 of model.safetensors": f"`{digest}`",
    }
    volumes = data.get("volumes") or config.get("source") or ""
    listed = volumes.split(";") if isinstance(volumes, str) else volumes
    trained = [f"* `{entry.strip()}`" for entry in map(str, listed) if entry.strip()]
    lines = [
        *(
            "---",
            f"license: {licence or 'other'}",
            _MADE_BY,
            "---",
        ),
        *("", f"# {title}", "", "| | |", "|---|---|"),
        *(f"| {name} | {value} |" for name, value in rows.items()),
        *("", "## Trained on", "", *(trained or [_NOT_STATED])),
    ]
    if data.get("exclude"):
        lines += ["", f"Never read: `{data['exclude']}`"]
    scores = _scores(weights.source)
    if scores:
        lines += ["", "## Scores", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in scores.items()]
    lines += [
        *("", "## How to load it", "", "```bash"),
        f"python -m emjax.main --config configs/finetune.py --config.init_from={folder}",
        f"python -m emjax.main --config configs/predict.py --config.checkpoint={folder} --config.input=VOLUME",
        *(
            "```",
            "",
            "Without emjax: `safetensors.numpy.load_file('model.safetensors')`, arrays by their paths.",
        ),
        *(
            "",
            "## Network",
            "",
            "```json",
            json.dumps(model, indent=2),
            "```",
            "",
            "## Versions",
            "",
        ),
        *(f"* {package} {version}" for package, version in spec.versions.items()),
    ]
    return "\n".join(lines) + "\n"


def _scores(source: str) -> dict[str, float]:
    """Returns what the run that the weights are of has measured; empty where there is no such run."""
    for parent in Path(source).parents:
        if parent.name == CHECKPOINT_FOLDER and (parent.parent / RESULTS_FILE).exists():
            results = json.loads((parent.parent / RESULTS_FILE).read_text())
            return {
                name: value for name, value in results.items() if isinstance(value, int | float)
            }
    return {}
