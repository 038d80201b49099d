"""What pretraining is worth where labels are few: the same labels and steps, from other weights or from scratch.

    python benchmarks/few_labels.py --workdir runs/few_labels --arm 'scratch=' \
        --arm 'reconstruction only=runs/ablation/reconstruction_only-lr0.001-seed{seed}' \
        --volumes 'a.h5:raw[:,:,0:448]|a.h5:membrane[:,:,0:448]' \
        --validation 'a.h5:raw[:,:,464:544]|a.h5:membrane[:,:,464:544]' \
        --test 'a.h5:raw[:,:,560:640]|a.h5:membrane[:,:,560:640]' [--config.num_steps=100 ...]

Every arm tries the same learning rates with the first seed, keeps the one with the best held-out IoU, and is then run
with the other seeds, each from the weights of that seed. Only then is the test part predicted and scored, once for each
seed. Each step is a plain `python -m emjax.main`, so a killed benchmark goes on where it stopped. Prints a Markdown
table, every seed listed, with the paired differences from the first arm.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

LEARNING_RATES = (5e-4, 2e-3)
SEEDS = (0, 1, 2)
CHOSEN_BY = "val_foreground_iou"
SCORES = ("foreground_iou", "dice")


def main() -> None:
    """Runs all arms and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--config", default="configs/finetune.py:mitochondria")
    parser.add_argument("--arm", action="append", required=True, metavar="NAME=WEIGHTS")
    for name in ("volumes", "validation", "test"):
        parser.add_argument(f"--{name}", required=True, metavar="IMAGE|LABELS")
    arguments, overrides = parser.parse_known_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    arms = dict(arm.split("=", 1) for arm in arguments.arm)

    lines = [f"Common options: `{shlex.join(overrides)}`", ""]
    scores: dict[str, list[dict[str, float]]] = {}
    for name, weights in arms.items():
        tried = {
            rate: _finetune(arguments, name, weights, SEEDS[0], rate, overrides)
            for rate in LEARNING_RATES
        }
        best = max(tried, key=lambda rate: _read(tried[rate])[CHOSEN_BY])
        runs = [tried[best]]
        runs += [_finetune(arguments, name, weights, seed, best, overrides) for seed in SEEDS[1:]]
        scores[name] = [_read(run) | _test(arguments, run) for run in runs]
        listed = ", ".join(f"{r:g}: {_read(run)[CHOSEN_BY]:.3f}" for r, run in tried.items())
        lines.append(
            f"- {name}: learning rate {best:g} (held-out IoU of each, seed {SEEDS[0]}: {listed})"
        )
    lines += ["", *_table(scores)]
    text = "\n".join(lines) + "\n"
    (arguments.workdir / "few_labels.md").write_text(text)
    sys.stdout.write(text)


def _finetune(
    arguments: argparse.Namespace,
    name: str,
    weights: str,
    seed: int,
    rate: float,
    overrides: list[str],
) -> Path:
    words = "".join(ch if ch.isalnum() else "_" for ch in name).strip("_")
    folder = arguments.workdir / f"{words}-lr{rate:g}-seed{seed}"
    fields = {
        "seed": seed,
        "optimizer.learning_rate": rate,
        "init_from": weights.format(seed=seed),
        "data.volumes": arguments.volumes,
        "eval.volumes": arguments.validation,
    }
    _run(arguments.config, folder, fields, overrides)
    return folder


def _test(arguments: argparse.Namespace, run: Path) -> dict[str, float]:
    image, labels = arguments.test.split("|")
    prediction, mask = run / "test_prediction.zarr", run / "test_mask.zarr"
    predict = {"checkpoint": run, "input": image, "output": prediction}
    _run("configs/predict.py", run / "predict", predict)
    segment = {"input": prediction, "output": mask, "method": "components"}
    _run("configs/segment.py", run / "segment", segment | {"settings": "threshold=0.5&min_size=0"})
    evaluate = {"segmentation": mask, "labels": labels, "kind": "semantic"}
    _run("configs/evaluate.py", run / "evaluate", evaluate)
    return _read(run / "evaluate")


def _run(config: str, folder: Path, fields: dict[str, object], overrides: list[str] = ()) -> None:
    if (folder / "results.json").exists():
        return
    command = [sys.executable, "-m", "emjax.main", "--config", config, "--workdir", str(folder)]
    command += [f"--config.{name}={value}" for name, value in fields.items()] + list(overrides)
    print(shlex.join(command), flush=True)
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)


def _read(folder: Path) -> dict[str, float]:
    return json.loads((folder / "results.json").read_text())


def _table(scores: dict[str, list[dict[str, float]]]) -> list[str]:
    lines = [f"| arm | seed | {CHOSEN_BY} | " + " | ".join(f"test {s}" for s in SCORES) + " |"]
    lines.append("|---" * (len(SCORES) + 3) + "|")
    for name, runs in scores.items():
        for seed, run in zip(SEEDS, runs, strict=True):
            cells = " | ".join(f"{run[column]:.3f}" for column in (CHOSEN_BY, *SCORES))
            lines.append(f"| {name} | {seed} | {cells} |")
    first, *others = scores
    lines += ["", f"Paired differences from '{first}' on the test part, mean (each seed):"]
    for name in others:
        for column in SCORES:
            pairs = zip(scores[name], scores[first], strict=True)
            each = [one[column] - base[column] for one, base in pairs]
            listed = ", ".join(f"{e:+.3f}" for e in each)
            lines.append(f"- {name}: {column} {sum(each) / len(each):+.3f} ({listed})")
    return lines


if __name__ == "__main__":
    main()
