"""Runs one part of `gpu.py`.

python -m accelerator.parts NAME --output FOLDER [--data FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from accelerator import jobs, programs
from accelerator.numbers import Numbers
from accelerator.setting import Setting

BENCHMARKS = Path(__file__).resolve().parents[1]


def shares(setting: Setting, numbers: Numbers) -> None:
    """What augmentation and targets cost, as shares of a training step."""
    _benchmark(setting, numbers, "augment", "share_", "%")


def predict(setting: Setting, numbers: Numbers) -> None:
    """A volume of 512^3 voxels, from disk to disk."""
    _benchmark(setting, numbers, "predict", "", "s", "--side=512", "--repeats=1")


def trace(setting: Setting, numbers: Numbers) -> None:
    """Where the time of pretraining goes: waiting for data, and the operations of the device."""
    folder, preset = setting.folder("trace"), "smoke" if setting.quick else "gpu"
    fields = [f"data.volumes={jobs.TISSUE}&shape=48,512,512", "eval.every_steps=100000"]
    if setting.quick:
        fields = [jobs.TINY_TISSUE, *jobs.TINY]
    fields += [jobs.TINY_STEPS, "profile_steps=3:5", "log.every_steps=1"]
    jobs.run_job(f"configs/pretrain.py:{preset}", folder, fields)
    times = [row["time"] for row in jobs.metrics(folder) if "time" in row][1:]
    step = sum(t["step_s"] for t in times)
    for part in ("data_wait_s", "device_s", "other_s"):
        numbers.add(f"{part} of a step", 100 * sum(t[part] for t in times) / step, "%")
    numbers.add("pretraining", times[-1]["voxels_per_s"] / 1e6, "Mvoxel/s")
    (found,) = folder.rglob("perfetto_trace.json.gz")
    found.replace(setting.output / "trace.json.gz")
    for name, share in programs.summarise(setting.output / "trace.json.gz"):
        numbers.add(f"time in {name}", 100 * share, "%")


def _benchmark(
    setting: Setting, numbers: Numbers, stage: str, prefix: str, unit: str, *options: str
) -> None:
    """Runs another benchmark, and keeps the medians, or the numbers whose names begin with `prefix`."""
    result = setting.output / f"{stage}.json"
    command = [
        sys.executable,
        str(BENCHMARKS / f"{stage}.py"),
        "--device",
        setting.device,
        *options,
    ]
    command += ["--output", str(result), *(["--quick"] if setting.quick else [])]
    subprocess.run(command, check=True, env=os.environ)
    content = json.loads(result.read_text())
    for case, timings in content["timings"].items():
        for name, row in timings.items():
            numbers.add(f"{case}, {name}", row["median_s"], "s")
    for name, value in content["numbers"].items():
        if prefix and name.startswith(prefix):
            numbers.add(name, value, unit)


PARTS: dict[str, Callable[[Setting, Numbers], None]] = {
    "runs": jobs.runs,
    "agreement": jobs.agreement,
    "kernels": programs.kernels,
    **{
        f"{name}_{kind}": functools.partial(programs.speed, name=name, train=kind == "train")
        for name in ("unet", "vit")
        for kind in ("train", "infer")
    },
    "shares": shares,
    "predict": predict,
    "trace": trace,
    "mitochondria": jobs.mitochondria,
    "neurons": jobs.neurons,
    "few_labels": jobs.few_labels,
}


def main() -> None:
    """Runs the part that the command names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        os.environ["JAX_PLATFORMS"] = "cpu"
        # Nothing is measured, and compiling takes a third of the time without them.
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        # As `agreement` sets it, so that its programs are those of the others.
        os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    # Two frameworks, and several processes of each, share one device.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    setting = Setting(options.output, options.quick, options.data)
    PARTS[options.part](setting, Numbers(options.output / f"{options.part}.jsonl"))


if __name__ == "__main__":
    main()
