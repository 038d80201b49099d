"""Writes a trained network as model.safetensors, with a page that says what it is."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from emjax.blocks.lock import OutputLock
from emjax.errors import InputError
from emjax.models.build import count_params
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.runs.whole_file import write_whole
from emjax.train.checkpoint import CHECKPOINT_FOLDER
from emjax.train.exported import write_exported
from emjax.train.weights import Weights, restore_params
from emjax.weights.read import EXPORTED_FILE

PAGE = "README.md"
_NOT_STATED = "not stated"
# In the head of each page, by which it is known again.
_MADE_BY = "library_name: emjax"


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Exports weights as configured.

    Args:
        config: as made by `configs/export_weights.py`.
        workdir: run folder of this job.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if there is no checkpoint, or `output` is there already.
    """
    for name in ("checkpoint", "output"):
        if not config[name]:
            raise InputError(f"{name} is empty; give --config.{name}=FOLDER")
    if "://" in config.output:
        raise InputError(f"output={config.output} must be a local folder; copy it from there")
    output = Path(config.output).absolute()
    if any((output / name).exists() for name in (EXPORTED_FILE, PAGE)) and not config.overwrite:
        raise InputError(
            f"output {output} holds an export; set --config.overwrite=true to replace it"
        )
    if (output / PAGE).exists() and _MADE_BY not in (output / PAGE).read_text(errors="replace"):
        raise InputError(
            f"output {output} holds a {PAGE} that emjax did not write; give another folder"
        )
    weights = restore_params(config.checkpoint)
    with OutputLock(output, "export_weights"):
        folder = open_run_folder(workdir, config)
        path = write_exported(output, weights.params, weights.spec)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        title = config.name or output.name
        page = _page(title, config.licence or _NOT_STATED, weights, digest, _scores(weights.source))
        write_whole(output / PAGE, page.encode())
    write_results(
        folder, {"parameters": count_params(weights.params), "bytes": path.stat().st_size}
    )
    print(f"exported   {weights.source}\n           {path}\n           sha256 {digest}", flush=True)
    return 0


def _scores(source: str) -> dict[str, float]:
    """Returns what the run that the weights are of has measured; empty where there is no such run."""
    for parent in Path(source).parents:
        if parent.name == CHECKPOINT_FOLDER and (parent.parent / RESULTS_FILE).exists():
            results = json.loads((parent.parent / RESULTS_FILE).read_text())
            return {
                name: value for name, value in results.items() if isinstance(value, int | float)
            }
    return {}


def _page(title: str, licence: str, weights: Weights, digest: str, scores: dict[str, float]) -> str:
    """Writes the page of a network, in the form that model hubs read."""
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
        "licence": licence,
        "SHA-256 of model.safetensors": f"`{digest}`",
    }
    volumes = data.get("volumes") or config.get("source") or ""
    listed = volumes.split(";") if isinstance(volumes, str) else volumes
    trained = [f"* `{entry.strip()}`" for entry in map(str, listed) if entry.strip()]
    lines = [
        *(
            "---",
            f"license: {licence if licence != _NOT_STATED else 'other'}",
            _MADE_BY,
            "---",
        ),
        *("", f"# {title}", "", "| | |", "|---|---|"),
        *(f"| {name} | {value} |" for name, value in rows.items()),
        *("", "## Trained on", "", *(trained or [_NOT_STATED])),
    ]
    if data.get("exclude"):
        lines += ["", f"Never read: `{data['exclude']}`"]
    if scores:
        lines += ["", "## Scores", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in scores.items()]
    lines += [
        *("", "## How to load it", "", "```bash"),
        f"python -m emjax.main --config configs/finetune.py --config.init_from={title}",
        f"python -m emjax.main --config configs/predict.py --config.checkpoint={title} --config.input=VOLUME",
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
