"""What each way to normalize costs: scores on three data sets, speed, and how much a voxel depends on its whole tile.

    python benchmarks/normalization.py --data DATA --workdir runs/normalization --speed

DATA has the files of `PARTS`. Every network is the same small U-Net from scratch, with the same steps, crops and seeds;
only `model.norm` differs. It learns three affinities to nearest neighbours, or the foreground, by balanced cross
entropy (the loss of `configs/finetune.py:neurons`), from random crops that are flipped; steps, statistics and network
are those of emjax, without the other augmentations, which take longer to compile than all else. Thresholds are chosen
on the validation part, and the test part is scored once. Seeds are completed one after another, so that a table of some
of them is balanced; `normalization_table.py` has the rule by which a way becomes the default. Steps, loss and rule were
fixed before any of these runs was scored: 300 steps of three crops of 8x32x32 voxels are what 36 runs of less than a
minute of one core each allow.

Each run leaves a record in `WORKDIR/records`, and is skipped where there is one, so that a killed benchmark goes on
where it stopped; `--datasets`, `--norms` and `--seeds` choose some of them. Prints tables of all records so far.

What is measured of each run:
- scores: the average precision of voxels (of cuts between neighbours, or of the foreground); VOI and adapted Rand error
  of `agglomerate`, or IoU of the foreground;
- tiles: the mean change of the prediction, and the share of voxels that cross 0.5, from one tile of `PROBE` to tiles of
  `TILE` that overlap by half;
- black: the same, where one half of a tile is black, of voxels farther from it than the stated footprint.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import organelles
import timing
from normalization_table import SEEDS, tables

from emjax.data.normalization import measure
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.instances import score_instances
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.inference.tiles import Tiling
from emjax.losses.dense import balanced_bce
from emjax.models.backbone import Backbone
from emjax.models.build import apply, build_backbone, init_params
from emjax.models.normalization import NORMS
from emjax.parallel import runtime
from emjax.parallel.compile import jit
from emjax.segmentation.methods import decode, suit_to_voxels
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.train import statistics as fixed_statistics
from emjax.train.state import TrainState
from emjax.train.step import make_step
from emjax.volumes.address import Address
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.store import open_volume

# Fixed before any result was seen.
STEPS = 300
FIXED_FROM = 210
BATCH = 3
CROP = (8, 32, 32)
LEARNING_RATE = 4e-3
NETWORK = {
    "name": "unet",
    "widths": (8, 16, 32),
    "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    "strides": ((1, 2, 2), (2, 2, 2)),
    "skips": "add",
    "out_channels": 3,
}
THRESHOLDS = tuple(round(0.1 * i, 1) for i in range(1, 10))
# Tiles that are scored, and the larger one, from the corner of the test part on, with which they are compared.
TILE = (8, 64, 64)
PROBE = (8, 128, 128)


class Part(NamedTuple):
    """What is learnt from, chosen by and scored on; addresses in DATA of images and labels.

    Attributes:
        neurons: whether objects are neurons, told apart by affinities; else the foreground is learnt.
    """

    training: tuple[str, str]
    validation: tuple[str, str]
    test: tuple[str, str]
    neurons: bool


def _part(file: str, labels: str, boxes: tuple[str, str, str], neurons: bool) -> Part:
    name, _, ids = labels.partition("?")
    ids = f"?{ids}" if ids else ""
    parts = [(f"{file}:raw[{box}]", f"{file}:{name}[{box}]{ids}") for box in boxes]
    return Part(*parts, neurons)


PARTS = {
    "FIB-25": _part(
        "neurons/fib25_ts2.h5",
        "labels",
        ("0:160", "164:200,0:150,0:150", "204:250,0:200,0:200"),
        True,
    ),
    "ISBI-2012": _part(
        "neurons/isbi2012_z00-17.h5",
        "neurites?background=249&ignore=0",
        ("0:12", "12:15,0:256,0:256", "15:18"),
        True,
    ),
    "Lucchi++": _part(
        "organelles/lucchipp_train_z00-39.h5",
        "mito",
        ("0:28", "29:33,0:512,0:512", "34:40,128:640,128:640"),
        False,
    ),
}


def main() -> None:
    """Does the runs that have no record, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, default=Path("runs/normalization"))
    parser.add_argument("--datasets", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--norms", nargs="+", default=list(NORMS), choices=NORMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--speed", action="store_true", help="measure inference, too")
    options = parser.parse_args()
    runtime.use_compilation_cache()
    records = options.workdir / "records"
    records.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for norm in options.norms:
            for dataset in options.datasets:
                record = records / f"{dataset}-{norm}-{seed}.json"
                if not record.exists():
                    found = _run(options, dataset, norm, seed)
                    record.write_text(json.dumps(found, indent=1) + "\n")
                    print(json.dumps(found), file=sys.stderr, flush=True)
    speed = records / "speed.json"
    if options.speed and not speed.exists():
        speed.write_text(json.dumps(_speed(), indent=1) + "\n")
    found = [json.loads(p.read_text()) for p in sorted(records.glob("*-[0-9].json"))]
    text = "\n".join(tables(found, json.loads(speed.read_text()) if speed.exists() else {}))
    (options.workdir / "normalization.md").write_text(text + "\n")
    print(text)


@dataclasses.dataclass(frozen=True)
class _Task:
    """A `Task`: what a crop shows, by cross entropy of the voxels that are known."""

    backbone: Backbone

    def init(self, key: jax.Array) -> Any:
        """See `Task`."""
        return {"backbone": init_params(self.backbone, key, jnp.zeros((1, *CROP, 1)))}

    def loss(self, params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict]:
        """See `Task`."""
        del key
        logits = apply(self.backbone, params["backbone"], batch["image"][..., None])["output"]
        truth, known = batch["truth"], batch["truth"] >= 0
        return balanced_bce(logits, jnp.maximum(truth, 0), known), {}

    def predict(self, params: Any, images: jax.Array) -> jax.Array:
        """Maps `[n, z, y, x]` to probabilities `[n, z, y, x, 3]`."""
        return jax.nn.sigmoid(apply(self.backbone, params["backbone"], images[..., None])["output"])


@functools.cache
def _steps(norm: str) -> tuple[_Task, Any, Any, Any]:
    """Returns the task, what makes its first state, and the steps before and after statistics are fixed."""
    task = _Task(build_backbone({**NETWORK, "norm": norm}))
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, STEPS)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    last = jit(make_step(task, optimizer, schedule, ema_decay=0.98), donate_argnums=0)
    first = last
    if fixed_statistics.has_fixed(task):
        learner = fixed_statistics.learning(task)
        first = jit(make_step(learner, optimizer, schedule, ema_decay=0.98), donate_argnums=0)

    def start(seed: jax.Array) -> TrainState:
        key = jax.random.key(seed)
        params, counter = task.init(key), jnp.zeros((), jnp.int32)
        return TrainState(counter, params, optimizer.init(params), params, key, counter)

    return task, jit(start), first, last


def _run(options: argparse.Namespace, dataset: str, norm: str, seed: int) -> dict[str, Any]:
    part, began = PARTS[dataset], time.process_time()
    image, labels = _read(options.data, part.training, part.neurons)
    task, start, first, last = _steps(norm)
    state = start(seed)
    metrics: dict = {}
    for index in range(options.steps):
        fixed = index >= options.steps * FIXED_FROM // STEPS
        batch = _batch(image, labels, part.neurons, np.random.default_rng([seed, index]))
        state, metrics = (last if fixed else first)(state, batch)
    loss, trained = float(metrics["loss"]), time.process_time()
    found = {"dataset": dataset, "norm": norm, "seed": seed, "steps": options.steps, "loss": loss}
    found |= _score(options.data, part, task, state.ema)
    return found | {"train_s": trained - began, "score_s": time.process_time() - trained}


def _read(data: Path, addresses: tuple[str, str], neurons: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns grey values as for the network, uint8; and ids, int32: 0 background, -1 unknown."""
    volume, truth = (open_volume(f"{data}/{address}") for address in addresses)
    image = measure(volume).apply(np.asarray(volume.store.read().result()))
    ids = np.asarray(truth.store.read().result())
    named = LabelIds.of(Address(addresses[1]))
    known = np.where(named.unknown(ids), -1, np.where(named.objects(ids), ids, 0)).astype(np.int32)
    return image, known if neurons else (known > 0).astype(np.int32)


def _targets(labels: np.ndarray, neurons: bool) -> np.ndarray:
    """Returns what each voxel of `[z, y, x]` ids should be, `[z, y, x, 3]` float32; -1 where that is unknown."""
    if not neurons:
        return np.repeat(labels[..., None], 3, axis=-1).astype(np.float32)
    truth = np.full((*labels.shape, 3), -1, np.float32)
    for axis in range(3):
        here = tuple(slice(axis == a, None) for a in range(3))
        there = tuple(slice(0, n - (axis == a)) for a, n in enumerate(labels.shape))
        one, other = labels[here], labels[there]
        joined = np.where((one < 0) | (other < 0), -1, (one == other) & (one > 0))
        truth[(*here, axis)] = joined
    return truth


def _batch(
    image: np.ndarray, labels: np.ndarray, neurons: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    rows = []
    while len(rows) < BATCH:
        start = [int(rng.integers(n - c + 1)) for n, c in zip(image.shape, CROP, strict=True)]
        box = tuple(slice(s, s + c) for s, c in zip(start, CROP, strict=True))
        turn = tuple(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in range(3))
        crop, ids = image[box][turn], labels[box][turn]
        swap = rng.random() < 0.5
        # Most crops show an organelle, as in training by the job.
        if not neurons and not ids.any() and rng.random() < 0.9:
            continue
        if swap:
            crop, ids = crop.swapaxes(1, 2), ids.swapaxes(1, 2)
        rows.append((crop.astype(np.float32) / 255, _targets(ids, neurons)))
    images, truths = zip(*rows, strict=True)
    return {"image": np.stack(images), "truth": np.stack(truths)}


@functools.cache
def _network(task: _Task) -> Any:
    return jit(task.predict)


def _predict(task: _Task, params: Any, image: np.ndarray, tile: Size, overlap: float) -> np.ndarray:
    """Returns the prediction of `[z, y, x]` uint8 in tiles that are blended, `[3, z, y, x]` float32."""
    tiling = Tiling(image.shape, tile, overlap)
    whole = Box((0, 0, 0), image.shape)
    # A volume that is shorter than a tile is mirrored, as by `emjax.inference`.
    lacking = [(0, max(0, t - n)) for n, t in zip(image.shape, tile, strict=True)]
    padded = np.pad(image, lacking, mode="symmetric").astype(np.float32) / 255
    total = np.zeros((*padded.shape, 3), np.float32)
    for place in tiling.covering(whole):
        start = [int(s[i]) for s, i in zip(tiling.starts, place, strict=True)]
        box = tuple(slice(s, s + n) for s, n in zip(start, tile, strict=True))
        z, y, x = (w[i, 0] for w, i in zip(tiling.weights, place, strict=True))
        found = np.asarray(_network(task)(params, padded[box][None])[0])
        total[box] += found * (z[:, None, None] * y[:, None] * x)[..., None]
    return np.moveaxis(total[whole.slices], -1, 0)


def _score(data: Path, part: Part, task: _Task, params: Any) -> dict[str, float]:
    images, labels = zip(
        *(_read(data, pair, part.neurons) for pair in (part.validation, part.test)), strict=True
    )
    predictions = [_predict(task, params, image, TILE, 0.25) for image in images]
    voxel_nm = open_volume(f"{data}/{part.test[0]}").voxel_nm
    if part.neurons:
        scores = _judge_neurons(predictions, labels, voxel_nm)
    else:
        scores = _judge_mask([found[0] for found in predictions], labels)
    truth = _targets(labels[1], part.neurons)
    found, known = np.moveaxis(predictions[1], 0, -1), truth >= 0
    # Of cuts between neighbours, which are what is rare; or of the foreground.
    wanted, given = (0, 1 - found) if part.neurons else (1, found)
    scores["precision"] = _precision(given[known], truth[known] == wanted)

    probe = images[1][tuple(slice(0, n) for n in PROBE)]
    before = _predict(task, params, probe, PROBE, 0.25)
    scores |= _changes("tiles", before, _predict(task, params, probe, TILE, 0.5))
    half, dark = PROBE[2] // 2, probe.copy()
    dark[:, :, :half] = 0
    seen = slice(half + task.backbone.footprint.halo[2], None)
    after = _predict(task, params, dark, PROBE, 0.25)
    return scores | _changes("black", before[..., seen], after[..., seen])


def _changes(name: str, one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    crossed = (one > 0.5) != (other > 0.5)
    return {
        f"{name}_mean": float(np.abs(one - other).mean()),
        f"{name}_crossed": float(crossed.mean()),
    }


def _judge_neurons(predictions: Any, labels: Any, voxel_nm: Any) -> dict[str, float]:
    options = suit_to_voxels("agglomerate", {}, voxel_nm)

    def judge(which: int, threshold: float, memo: dict) -> dict[str, float]:
        found = Prediction(predictions[which], ("affinity",) * 3, NEAREST)
        segments = decode(found, "agglomerate", options | {"threshold": threshold}, memo)
        # Another id for what is unknown, since ids are unsigned.
        other = int(labels[which].max()) + 1
        truth = np.where(labels[which] < 0, other, labels[which]).astype(np.uint64)
        table = Contingency.from_arrays(truth, segments, label_ids=LabelIds(ignore=(other,)))
        return score_instances(table)

    memo: dict = {}
    tried = {t: judge(0, t, memo)["voi"] for t in THRESHOLDS}
    chosen = min(tried, key=lambda t: tried[t])
    scores = judge(1, chosen, {})
    names = ("voi", "voi_split", "voi_merge", "arand")
    return {name: scores[name] for name in names} | {"threshold": chosen}


def _judge_mask(predictions: Any, labels: Any) -> dict[str, float]:
    tried = {t: organelles.iou(predictions[0] > t, labels[0] > 0) for t in THRESHOLDS}
    chosen = max(tried, key=lambda t: tried[t])
    return {"iou": organelles.iou(predictions[1] > chosen, labels[1] > 0), "threshold": chosen}


def _precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Average precision, of scores in steps of 1/1000."""
    bins = np.clip((scores * 1000).astype(np.int64), 0, 1000)
    right = np.bincount(bins[truth], minlength=1001)[::-1].cumsum()
    taken = np.bincount(bins, minlength=1001)[::-1].cumsum()
    gained = np.diff(right, prepend=0) / max(right[-1], 1)
    return float((gained * right / np.maximum(taken, 1)).sum())


def make_inference(norm: str, widths: tuple[int, ...], crop: Size) -> Any:
    """Returns a pass of a network through one tile, for `timing.interleave`."""
    fields = {"widths": widths, "kernels": ((3, 3, 3),), "skips": "add", "out_channels": 12}
    backbone = build_backbone({"name": "unet", "norm": norm, **fields})
    x = jnp.zeros((1, *crop, 1))
    params = init_params(backbone, jax.random.key(0), x)
    run = jit(lambda params, x: apply(backbone, params, x)["output"])

    def once() -> None:
        run(params, x).block_until_ready()

    return once


def _speed() -> dict[str, Any]:
    """Inference of the paper's U-Net on one core, all ways in turn: median processor seconds."""
    arguments = {"widths": (28, 36, 48, 64, 80), "crop": (8, 96, 96)}
    candidates = {
        norm: timing.Candidate(make_inference, {"norm": norm, **arguments}, timing.AS_JOBS_START)
        for norm in NORMS
    }
    found = timing.interleave(candidates, 7, cores=1)
    voxels = math.prod(arguments["crop"])
    return {
        norm: {"cpu_s": statistics.median(t.cpu_s), "all": t.cpu_s, "voxels": voxels}
        for norm, t in found.items()
    }


if __name__ == "__main__":
    main()
