"""Parts that run emjax's own commands: that they work on the device, agree with the CPU, and what they score."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerator.numbers import Numbers
from accelerator.setting import Setting

TISSUE = "synthetic://neurites?voxel_nm=40,12,12"
# Losses of the first steps, relative to those of a CPU. Both compute in float32 without shortcuts, in another order.
TOLERANCE = 0.01
# A pretraining that compiles within seconds, for rehearsals: all of them have one compiled program, which is kept.
_TINY_NETWORK = ("model.widths=4,8", "model.dtype=float32")
TINY_TISSUE = f"data.volumes={TISSUE}&shape=16,96,96"
TINY_STEPS = "num_steps=6"
TINY = (
    *("data.batch_size=2", "data.crop_size=2,16,16", *_TINY_NETWORK),
    *("augment.max_offset=1,2,2", "loss.levels=0", "loss.num_tokens=8"),
    *("loss.size=8", "loss.heads=2", "eval.crops=2", "eval.queries=16", "eval.distractors=7"),
    *("eval.exclusion_radius=1,1,1", "eval.margin=1,2,2", "eval.every_steps=100000"),
)
# File of --data -> name in the addresses below; splits as they are fixed for all figures of this project.
LUCCHI = "lucchipp_train_z00-39.h5"
FIB25 = "fib25_ts2.h5"
# Rows and columns of them that a rehearsal reads.
_PART = {LUCCHI: "384:512,448:576", FIB25: "0:64,0:64"}


def runs(setting: Setting, numbers: Numbers) -> None:
    """All jobs that use the device, once each, at their smallest."""
    folder = setting.folder("runs")
    image = f"{TISSUE}&shape=6,96,96&seed=4"
    first = [TINY_TISSUE, *TINY, TINY_STEPS] if setting.quick else []
    then = [*_TINY_NETWORK, "data.crop_size=6,32,32", "num_steps=2"] if setting.quick else []
    steps = {
        "pretrain": ["configs/pretrain.py:smoke", *first],
        "finetune": ["configs/finetune.py:smoke", f"init_from={folder}/pretrain", *then],
        "predict": [
            *("configs/predict.py", f"checkpoint={folder}/finetune", f"input={image}"),
            f"output={folder}/prediction.zarr",
        ],
        "segment": [
            *("configs/segment.py", f"input={folder}/prediction.zarr"),
            f"output={folder}/segmentation.zarr",
        ],
    }
    for name, (config, *fields) in steps.items():
        numbers.add(name, run_job(config, folder / name, fields), "s")
    numbers.add("device", setting.device_kind())


def agreement(setting: Setting, numbers: Numbers) -> None:
    """The losses of the same steps on the device and on the CPU."""
    folder = setting.folder("agreement")
    fields = [TINY_TISSUE, *TINY, TINY_STEPS] if setting.quick else ["num_steps=20"]
    fields += ["model.dtype=float32", "log.every_steps=1"]
    exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    losses = {}
    for name, environment in (("device", exact), ("cpu", exact | {"JAX_PLATFORMS": "cpu"})):
        run_job("configs/pretrain.py:smoke", folder / name, fields, environment)
        losses[name] = [value for row in metrics(folder / name) for value in row.get("losses", ())]
    apart = [abs(a - b) / abs(b) for a, b in zip(losses["device"], losses["cpu"], strict=True)]
    numbers.add("steps", len(apart))
    numbers.add("largest relative difference of the loss", max(apart))
    numbers.add("tolerance", TOLERANCE)
    if not max(apart) <= TOLERANCE:
        raise SystemExit("the device computes something else than the CPU")


def mitochondria(setting: Setting, numbers: Numbers) -> None:
    """Foreground IoU on the fixed test sections of Lucchi++."""
    volume, parts = setting.data(LUCCHI), ("0:28", "29:33", "34:40")
    boxes = _finetune(setting, numbers, "mitochondria", volume, "mito", parts)
    _score(setting, numbers, "mitochondria", boxes)


def neurons(setting: Setting, numbers: Numbers) -> None:
    """VOI and Rand error on the fixed test sections of FIB-25."""
    volume, parts = setting.data(FIB25), ("0:160", "164:200", "204:250")
    boxes = _finetune(setting, numbers, "neurons", volume, "labels", parts)
    _score(setting, numbers, "neurons", boxes)


def few_labels(setting: Setting, numbers: Numbers) -> None:
    """The same few labelled sections from pretraining on all training sections, and from scratch."""
    volume, folder = setting.data(LUCCHI), setting.folder("few_labels")
    network = "smoke" if setting.quick else "gpu"
    box = "[0:28,0:192,0:192]" if setting.quick else "[0:28]"
    fields = [f"data.volumes={volume}:raw{box}"]
    fields += [*TINY, TINY_STEPS] if setting.quick else ["num_steps=400"]
    took = run_job(f"configs/pretrain.py:{network}", folder / "pretrain", fields)
    numbers.add("pretraining", took, "s")
    parts = ("0:4", "29:33", "34:40")
    arms = {"scratch": "", "pretrained": str(folder / "pretrain")}
    if setting.quick:
        del arms["scratch"]  # which does what the part on mitochondria has done
    for arm, start in arms.items():
        boxes = _finetune(setting, numbers, "mitochondria", volume, "mito", parts, arm, start)
        if not setting.quick:
            _score(setting, numbers, "mitochondria", boxes, arm)


def _finetune(
    setting: Setting,
    numbers: Numbers,
    task: str,
    volume: str,
    labels: str,
    parts: Sequence[str],
    arm: str = "",
    start: str = "",
) -> tuple[str, str]:
    """Trains on the first of three parts; returns the addresses of the others, to choose by and to score on."""
    # In a rehearsal only a part of each section, one that has mitochondria.
    boxes = [
        f"[{p},{_PART[volume.rpartition('/')[2]]}]" if setting.quick else f"[{p}]" for p in parts
    ]
    train, validation, test = (f"{volume}:raw{box}|{volume}:{labels}{box}" for box in boxes)
    folder = _folder(setting, task, arm)
    network = "smoke" if setting.quick else "wide"
    steps = 3 if setting.quick else 600
    prefix = f"{arm}: " if arm else ""
    took = run_job(
        f"configs/finetune.py:{task},{network}",
        folder / "train",
        [
            *(f"data.volumes={train}", f"eval.volumes={validation}", f"num_steps={steps}"),
            *(f"eval.every_steps={steps if setting.quick else steps // 3}", f"init_from={start}"),
            # What the small pretraining pools by divides it.
            *([*_TINY_NETWORK, "data.crop_size=8,64,64"] if setting.quick else []),
        ],
    )
    numbers.add(f"{prefix}training of {steps} steps", took, "s")
    rows = [row["time"] for row in metrics(folder / "train") if "time" in row]
    numbers.add(f"{prefix}training", rows[-1]["voxels_per_s"] / 1e6, "Mvoxel/s")
    numbers.add(
        f"{prefix}waiting for data", 100 * rows[-1]["data_wait_s"] / rows[-1]["step_s"], "%"
    )
    return validation, test


def _score(
    setting: Setting, numbers: Numbers, task: str, boxes: tuple[str, str], arm: str = ""
) -> None:
    """Chooses the settings of `segment` on the first part, and scores them on the second."""
    validation, test = boxes
    folder, prefix = _folder(setting, task, arm), f"{arm}: " if arm else ""
    took = 0.0
    for name in ("validation", "test"):
        image = (validation if name == "validation" else test).partition("|")[0]
        took = run_job(
            "configs/predict.py",
            folder / f"predict_{name}",
            [
                *(f"checkpoint={folder}/train", f"input={image}"),
                f"output={folder}/{name}.zarr",
            ],
        )
    numbers.add(f"{prefix}prediction of the test part", took, "s")
    tune = [f"input={folder}/validation.zarr", f"labels={validation.partition('|')[2]}"]
    run_job("configs/tune.py", folder / "tune", tune)
    segment = [f"input={folder}/test.zarr", f"settings={folder}/tune"]
    run_job("configs/segment.py", folder / "segment", [*segment, f"output={folder}/ids.zarr"])
    score = [f"segmentation={folder}/ids.zarr", f"labels={test.partition('|')[2]}"]
    kind = "semantic" if task == "mitochondria" else "instances"
    run_job("configs/evaluate.py", folder / "evaluate", [*score, f"kind={kind}"])
    scores = json.loads((folder / "evaluate" / "results.json").read_text())
    for name, value in numbers_in(scores):
        if name.rpartition(".")[2] in ("voi", "arand", "foreground_iou", "dice"):
            numbers.add(f"{prefix}{name}", value)


def _folder(setting: Setting, task: str, arm: str) -> Path:
    return setting.folder(f"{task}_{arm}" if arm else task)


def run_job(
    config: str, workdir: Path, fields: Sequence[str], environment: Mapping[str, str] | None = None
) -> float:
    """Runs a command of emjax, and returns the seconds that it took.

    Raises:
        SystemExit: if it fails; its output is the part's.
    """
    command = [sys.executable, "-m", "emjax.main", "--config", config, "--workdir", str(workdir)]
    command += [f"--config.{field}" for field in fields]
    began = time.monotonic()
    status = subprocess.run(command, env={**os.environ, **(environment or {})}).returncode
    if status:
        raise SystemExit(f"status {status} of {' '.join(command)}")
    return time.monotonic() - began


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns the logged rows of a training run."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def numbers_in(tree: Any, prefix: str = "") -> list[tuple[str, float]]:
    """Returns dotted name and value of each finite number in nested dictionaries."""
    if isinstance(tree, Mapping):
        return [row for key, value in tree.items() for row in numbers_in(value, f"{prefix}{key}.")]
    fine = isinstance(tree, int | float) and not isinstance(tree, bool) and math.isfinite(tree)
    return [(prefix[:-1], tree)] if fine else []
