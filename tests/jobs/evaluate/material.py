"""How tests of scores run the job."""

from __future__ import annotations

import json
from pathlib import Path

from ..running import run_command

CONFIG = "configs/evaluate.py"
SHAPE = (6, 40, 48)
CREMI_BACKGROUND = 2**64 - 1
OF_THE_RUN = ("blocks", "blocks_resumed", "peak_rss_bytes", "voxels_per_s")


def make_fields(path: Path, **overrides: object) -> dict[str, object]:
    fields = {"segmentation": "{a}:segments", "labels": "{a}:labels", "image": "{a}:raw"}
    return {k: str(v).replace("{a}", str(path)) for k, v in (fields | overrides).items()}


def score(path: Path, workdir: Path, **overrides: object) -> dict[str, float]:
    """Scores, without what the run itself took."""
    assert run_command(CONFIG, workdir, make_fields(path, **overrides)) == 0
    assert not (workdir / "parts").exists()
    found = json.loads((workdir / "results.json").read_text())
    assert found["blocks"] >= 1 and found["voxels_per_s"] > 0
    return {name: value for name, value in found.items() if name not in OF_THE_RUN}


def refusal_after_work(capfd, workdir: Path, fields: dict[str, object]) -> str:
    """What it says once blocks are done; the line that shows how far they are is not part of it."""
    capfd.readouterr()
    assert run_command(CONFIG, workdir, fields) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("emjax: ")]
    return line
