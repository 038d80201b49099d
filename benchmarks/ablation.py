"""Which loss of pretraining earns its place: the same network, volumes and steps, with and without each term.

    python benchmarks/ablation.py --workdir runs/ablation --volumes '...' [--config.num_steps=200 ...]

Every arm tries the same learning rates with the first seed, keeps the one with the best held-out retrieval, and is then
run with the other seeds. Arms are paired by seed: same crops, same views, same initial network. Each run is a plain
`python -m emjax.main`, so a killed ablation continues where it stopped. Prints a Markdown table, every seed listed, and
writes it with the commands to `WORKDIR/ablation.md`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

ARMS = {
    "reconstruction only": ["--config.loss.contrastive=0.0", "--config.loss.cross=0.0"],
    "+ contrastive, released form": [
        "--config.loss.form=released",
        "--config.loss.cross=0.0",
    ],
    "+ contrastive": ["--config.loss.cross=0.0"],
    "+ contrastive + cross-attention": [],
}
LEARNING_RATES = (5e-4, 1e-3, 2e-3)
SEEDS = (0, 1, 2)
# Adding a term "adds nothing" when the mean paired difference lies within these; stated before any run.
MARGINS = {"retrieval_top1_features": 0.03, "probe_average_precision": 0.01, "psnr_db": 0.2}
COLUMNS = (
    "retrieval_top1",
    "retrieval_top1_features",
    "matching_error_voxels",
    "matching_error_cosine_voxels",
    "psnr_db",
    "ssim",
    "effective_rank",
    "probe_average_precision",
)


def main() -> None:
    """Runs all arms and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--config", default="configs/pretrain.py")
    arguments, overrides = parser.parse_known_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)

    lines = [f"Common options: `{shlex.join(overrides)}`", ""]
    scores: dict[str, list[dict]] = {}
    for arm, options in ARMS.items():
        tried = {
            rate: _run(arguments, arm, SEEDS[0], rate, options + overrides)
            for rate in LEARNING_RATES
        }
        best = max(tried, key=lambda rate: tried[rate]["retrieval_top1_features"])
        scores[arm] = [tried[best]] + [
            _run(arguments, arm, seed, best, options + overrides) for seed in SEEDS[1:]
        ]
        listed = ", ".join(f"{r:g}: {s['retrieval_top1_features']:.3f}" for r, s in tried.items())
        lines.append(f"- {arm}: learning rate {best:g} (top-1 of each, seed {SEEDS[0]}: {listed})")
    lines += ["", *_table(scores), "", *_differences(scores)]
    text = "\n".join(lines) + "\n"
    (arguments.workdir / "ablation.md").write_text(text)
    sys.stdout.write(text)


def _run(arguments: argparse.Namespace, arm: str, seed: int, rate: float, options: list) -> dict:
    name = "".join(ch if ch.isalnum() else "_" for ch in arm).strip("_")
    folder = arguments.workdir / f"{name}-lr{rate:g}-seed{seed}"
    results = folder / "results.json"
    command = [sys.executable, "-m", "emjax.main", "--config", arguments.config]
    command += ["--workdir", str(folder), f"--config.seed={seed}"]
    command += [f"--config.optimizer.learning_rate={rate}", *options]
    if not results.exists():
        print(shlex.join(command), flush=True)
        with (arguments.workdir / f"{folder.name}.log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    return json.loads(results.read_text())


def _table(scores: dict[str, list[dict]]) -> list[str]:
    lines = ["| arm | seed | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for arm, runs in scores.items():
        for seed, run in zip(SEEDS, runs, strict=True):
            cells = [f"{run[c]:.3f}" if c in run else "" for c in COLUMNS]
            lines.append(f"| {arm} | {seed} | " + " | ".join(cells) + " |")
    references = {
        "untrained": "_untrained",
        "raw pixels": "_raw",
        "position alone": "_position",
        "same place": "_same_place",
    }
    for prefix, suffix in references.items():
        run = next(iter(scores.values()))[0]
        cells = [f"{run[c + suffix]:.3f}" if c + suffix in run else "" for c in COLUMNS]
        lines.append(f"| {prefix} | 0 | " + " | ".join(cells) + " |")
    return lines


def _differences(scores: dict[str, list[dict]]) -> list[str]:
    """Mean paired difference of each arm from the one before, with the seeds' values."""
    lines = ["Paired differences from the arm above, mean (each seed):"]
    arms = list(scores)
    for before, after in zip(arms, arms[1:], strict=False):
        base = arms[0] if after == "+ contrastive" else before
        for name, margin in MARGINS.items():
            each = [a[name] - b[name] for a, b in zip(scores[after], scores[base], strict=True)]
            mean = sum(each) / len(each)
            verdict = "nothing" if abs(mean) <= margin else ("gains" if mean > 0 else "loses")
            listed = ", ".join(f"{e:+.3f}" for e in each)
            lines.append(
                f"- {after} against {base}: {name} {mean:+.3f} ({listed}); margin {margin}: {verdict}"
            )
    return lines


if __name__ == "__main__":
    main()
