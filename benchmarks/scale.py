"""Memory and time of whole volumes, stage by stage: does anything grow with the volume?

    python benchmarks/scale.py --workdir runs/scale [--sizes 128 256 512] [--limit_gib 12] [--checkpoint RUN]

Makes synthetic volumes of each size, and runs convert, predict, segment, evaluate and objects on them, each as a user
would and under a limit of address space (`ulimit -v`). The network is narrow, so that a laptop predicts 512^3 voxels
within minutes; it is trained first, since a network that knows nothing makes no fragments that are like real ones.
Volumes above 256^3 are that one mirrored again and again: making tissue takes longer than all stages together.
Prints a Markdown table and writes `scale.json`. A killed benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

# Cells and blocks of a size that the smallest volume is one of, and the largest 64.
CELL = 128
# Larger volumes are made of this one.
BASE = 256


def main() -> None:
    """Runs all stages on all sizes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/scale"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--limit_gib", type=float, default=12)
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--checkpoint", default="", help="of a run; '': a narrow one is trained")
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.checkpoint or _train(arguments.workdir / "network")
    rows = []
    for size in arguments.sizes:
        for stage, fields in _stages(arguments.workdir / f"{size}", size, checkpoint).items():
            workdir = arguments.workdir / f"{size}" / stage
            if stage == "convert" and size > BASE:
                _mirror(arguments.workdir / f"{BASE}", arguments.workdir / f"{size}", size)
            if stage.startswith("convert") and size > BASE:
                continue
            # An accelerator works on one block at a time.
            workers = {} if stage == "predict" else {"num_workers": arguments.num_workers}
            job = stage.split("_")[0]
            seconds = _run(job, workdir, fields | workers, arguments.limit_gib)
            results = json.loads((workdir / "results.json").read_text())
            rows.append({"size": size, "stage": stage, "wall_s": seconds} | results)
            sys.stderr.write(f"{size}^3 {stage}: {seconds:.0f} s\n")
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "limit_gib": arguments.limit_gib,
        "num_workers": arguments.num_workers,
    }
    (arguments.workdir / "scale.json").write_text(json.dumps({"machine": machine, "rows": rows}))
    sys.stdout.write("\n".join(_table(rows)) + "\n")


def _train(workdir: Path) -> str:
    fields = {"num_steps": 400, "model.widths": "4,8,12,16", "data.crop_size": "16,64,64"}
    _run("finetune", workdir, fields, limit_gib=None)
    return str(workdir)


def _stages(folder: Path, size: int, checkpoint: str) -> dict[str, dict[str, object]]:
    """Stage -> fields of its configuration."""
    synthetic = f"synthetic://neurites?shape={size},{size},{size}&seed=5&voxel_nm=40,12,12"
    image, labels = folder / "image.zarr", folder / "labels.zarr"
    prediction, segmentation = folder / "prediction.zarr", folder / "segmentation.zarr"
    cell = f"{CELL},{CELL},{CELL}"
    return {
        "convert": {"input": synthetic, "output": image},
        "convert_labels": {"input": f"{synthetic}&labels=neurons", "output": labels},
        "predict": {
            "checkpoint": checkpoint,
            "input": image,
            "output": prediction,
            "block_size": cell,
            "overlap": 0.25,
        },
        "segment": {"input": prediction, "output": segmentation, "fragment_size": cell},
        "evaluate": {"segmentation": segmentation, "labels": labels, "block_size": cell},
        "objects": {"input": segmentation, "block_size": cell},
    }


def _mirror(source: Path, target: Path, size: int) -> None:
    """Fills a larger volume with copies of a smaller one, mirrored so that tissue goes on across their faces."""
    if size % BASE:
        raise SystemExit(f"--sizes {size}: above {BASE} only its multiples can be made")
    for name in ("image.zarr", "labels.zarr"):
        if (target / name / "zarr.json").exists():
            continue
        volume = open_volume(str(source / name))
        piece = volume.store.read().result()
        store = create_volume(
            target / f"{name}.partial", (size,) * 3, volume.dtype, volume.voxel_nm, {}
        )
        for place in itertools.product(range(size // BASE), repeat=3):
            flips = tuple(slice(None, None, -1 if index % 2 else 1) for index in place)
            box = tuple(slice(index * BASE, (index + 1) * BASE) for index in place)
            store[box].write(piece[flips]).result()
        (target / f"{name}.partial").rename(target / name)


def _run(job: str, workdir: Path, fields: dict[str, object], limit_gib: float | None) -> float:
    """Runs a job unless it is done; returns the seconds that it took."""
    took = workdir / "seconds.txt"
    if took.exists():
        return float(took.read_text())
    command = [sys.executable, "-m", "emjax.main", "--config", f"configs/{job}.py"]
    command += ["--workdir", str(workdir)]
    command += [f"--config.{name}={value}" for name, value in fields.items()]

    def limit() -> None:
        if limit_gib:
            size = int(limit_gib * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

    began = time.monotonic()
    subprocess.run(command, check=True, preexec_fn=limit, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    took.write_text(str(seconds))
    return seconds


def _table(rows: list[dict[str, float]]) -> list[str]:
    lines = ["| volume | stage | wall, s | Mvoxel/s | peak memory, GB |", "|---|---|---|---|---|"]
    for row in rows:
        voxels = row["size"] ** 3
        rate, memory = row.get("voxels_per_s", voxels / row["wall_s"]), row.get("peak_rss_bytes")
        peak = f"{memory / 1e9:.2f}" if memory else ""
        lines.append(
            f"| {row['size']}^3 | {row['stage']} | {row['wall_s']:.0f} | {rate / 1e6:.2f} | {peak} |"
        )
    return lines


if __name__ == "__main__":
    main()
