"""Do sections count as unequally as the colours they take the place of, and for how long?

    python benchmarks/channels.py --data DATA --efficientnet efficientnet-lite0.pth --dinov2 dinov2_small.safetensors \
        --workdir runs/channels [--minutes 5]

Trains encoders of photographs, whose three colours see three adjacent sections, to segment the one in the middle, and
measures before and after what each section contributes to the answer. A run is one network, data set, fill of the
first kernel, learning rate of the encoder and seed; its record is a file of the workdir, and the same command goes on
where it stopped. `--minutes` ends it after the run that is under way then. benchmarks/channels_table.py prints the
tables. What is fixed here was fixed before any run.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from emjax.attribution.gradients import slopes
from emjax.attribution.score import make_score
from emjax.attribution.sections import map_swap, section_shares
from emjax.losses.dense import bce, dice
from emjax.models.build import build_backbone, init_params
from emjax.models.middle import apply_middle
from emjax.models.published import load_published
from emjax.models.refit import Learnt, learnt_norms, refit
from emjax.parallel.compile import jit
from emjax.volumes.store import open_volume
from emjax.weights.families.find import FAMILIES
from emjax.weights.read import read_arrays

SEEDS = (0, 1, 2)
FILLS = ("rgb", "uniform_g", "uniform_mean", "random")
# Green on another section than the middle one, for telling the two apart; on one network and data set.
OTHER_ORDERS = ("brg", "gbr")
OTHER_ORDERS_ON = ("efficientnet_lite0", "isbi")
RATES = {"low": 5e-5, "high": 5e-3}  # of the first kernel and the encoder
NEW_RATE = 2e-3  # of decoder and head, which begin anew
STEPS, BATCH = 20, 2
REFIT_PASSES = 50
# Tiles that are scored, those of them that are explained, and the foreground pixels that each has at least.
TILES, EXPLAINED, LEAST_FOREGROUND = 16, 8, 100
SECTIONS = 3


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set: its file, labels, the boxes that are trained on and tested, and whether labels are of membranes."""

    file: str
    labels: str
    train: str
    test: str
    zero_is_foreground: bool = False


DATA = {
    "isbi": Data("neurons/isbi2012_z00-17.h5", "membrane", "[0:12]", "[15:18]", True),
    "vnc": Data("organelles/vnc_stack1_x000-639.h5", "mito", "[:,:,0:448]", "[:,:,560:640]"),
    "lucchi": Data("organelles/lucchipp_train_z00-39.h5", "mito", "[0:28]", "[34:40]"),
}
# Height and width of a crop, pixels, multiples of the network's stride that fit into every test part.
CROPS = {"efficientnet_lite0": (64, 64), "dinov2_small": (70, 70)}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    data: str
    fill: str
    rate: str
    seed: int

    @property
    def name(self) -> str:
        """What its record is called."""
        return f"{self.network}-{self.data}-{self.fill}-{self.rate}-{self.seed}"


def all_runs() -> list[Run]:
    """Returns all runs, one seed after the other, so that what there is after a part of the time is whole."""
    found = []
    for seed in SEEDS:
        for network, data in itertools.product(CROPS, DATA):
            more = OTHER_ORDERS if (network, data) == OTHER_ORDERS_ON else ()
            for fill, rate in itertools.product((*FILLS, *more), RATES):
                found.append(Run(network, data, fill, rate, seed))
    return found


@functools.cache
def read_part(root: Path, data: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns grey values in [0, 1] and foreground of a part of a data set, both `[z, y, x]`."""
    known = DATA[data]
    box = getattr(known, part)
    volumes = [open_volume(f"{root / known.file}:{name}{box}") for name in ("raw", known.labels)]
    raw, labels = (np.asarray(v.store.read().result()) for v in volumes)
    foreground = (labels == 0) if known.zero_is_foreground else (labels > 0)
    return raw.astype(np.float32) / 255, foreground


def test_tiles(root: Path, data: str, crop: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns stacks `[n, 3, y, x]` and foregrounds `[n, y, x]`: tiles with foreground, in an order drawn once."""
    raw, labels = read_part(root, data, "test")
    height, width = crop
    depth, rows, columns = raw.shape
    places = [
        (z, y, x)
        for z in range(1, depth - 1)
        for y in range(0, rows - height + 1, height)
        for x in range(0, columns - width + 1, width)
        if labels[z, y : y + height, x : x + width].sum() >= LEAST_FOREGROUND
    ]
    order = np.random.default_rng(0).permutation(len(places))[:TILES]
    chosen = [places[i] for i in order]
    stacks = [raw[z - 1 : z + 2, y : y + height, x : x + width] for z, y, x in chosen]
    truth = [labels[z, y : y + height, x : x + width] for z, y, x in chosen]
    return np.stack(stacks), np.stack(truth)


def train_batches(
    root: Path, data: str, crop: tuple[int, int], seed: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns stacks `[count, b, 3, y, x, 1]` and targets `[count, b, 1, y, x, 1]`, mirrored in y and x, never in z."""
    raw, labels = read_part(root, data, "train")
    rng = np.random.default_rng(seed)
    height, width = crop
    stacks, truth = [], []
    for _ in range(count * BATCH):
        z = rng.integers(1, raw.shape[0] - 1)
        y = rng.integers(raw.shape[1] - height + 1)
        x = rng.integers(raw.shape[2] - width + 1)
        flips = tuple(slice(None, None, int(step)) for step in rng.choice((1, -1), 2))
        stacks.append(raw[z - 1 : z + 2, y : y + height, x : x + width][:, *flips])
        truth.append(labels[z, y : y + height, x : x + width][flips])
    shape = (count, BATCH, SECTIONS, height, width, 1)
    flat = (count, BATCH, 1, height, width, 1)
    return np.stack(stacks).reshape(shape), np.stack(truth).reshape(flat).astype(np.float32)


class Bench:
    """One network, its compiled functions, and where its parameters come from."""

    def __init__(self, network: str, file: Path) -> None:
        """Builds and reads."""
        self.network, self.crop = network, CROPS[network]
        self._arrays = read_arrays(str(file))
        first = load_published(self._arrays, {"slices": SECTIONS, "skips": "encoder"})
        self._family = FAMILIES.find(first.family)
        self.backbone = build_backbone(first.model)
        self.learnt = learnt_norms(first, self._arrays)
        shape = jax.ShapeDtypeStruct((1, SECTIONS, *self.crop, 1), jnp.float32)
        self._init = jit(lambda key: init_params(self.backbone, key, shape))
        self.forward = jit(lambda params, x: apply_middle(self.backbone, params, x))
        self.gradient = jit(lambda params, x, region: slopes(self._score(params, region), x))
        self._step = jit(functools.partial(_step, self.backbone))
        self._begun: dict[tuple[str, str, int], Any] = {}
        self._before: dict[tuple[str, str, int], Any] = {}

    @property
    def grey(self) -> float:
        """The grey value that the network takes as 0."""
        return self.backbone.input_mean

    def _score(self, params: Any, region: jax.Array) -> Any:
        return make_score(lambda x: apply_middle(self.backbone, params, x), region, 0)

    def begin(self, root: Path, data: str, fill: str, seed: int) -> Any:
        """Returns the parameters before training: published encoder, new decoder, statistics of this data."""
        params = dict(self._init(jax.random.key(seed)))
        anew = fill == "random"
        learnt = self.learnt
        if anew:
            learnt = {
                path: Learnt(np.ones_like(norm.factor), np.zeros_like(norm.shift))
                for path, norm in learnt.items()
            }
        # The published part does not depend on the seed, nor do its statistics on the decoder.
        key = (data, fill, seed if anew else 0)
        if key not in self._begun:
            fields = {"slices": SECTIONS, "skips": "encoder", "stem_fill": fill}
            old = {} if anew else load_published(self._arrays, fields).params
            whole = jax.tree.map(jnp.asarray, params | old)
            if learnt:
                images, _ = train_batches(root, data, self.crop, 1000, REFIT_PASSES)
                whole = refit(self.backbone, whole, learnt, images, self._family.epsilon)
            self._begun[key] = {name: part for name, part in whole.items() if not _is_new(name)}
        return params | self._begun[key]

    def train(self, params: Any, rate: str, images: np.ndarray, truth: np.ndarray) -> Any:
        """Returns the parameters after a pass over the batches, and the losses."""
        state = optax.scale_by_adam().init(params)
        losses = []
        for x, y in zip(images, truth, strict=True):
            params, state, loss = self._step(RATES[rate], params, state, x, y)
            losses.append(float(loss))
        return params, losses

    def explain(
        self, params: Any, x: np.ndarray, truth: np.ndarray
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns shares of the foreground's score by method, and maps."""
        given, region = x[..., None], truth[:, None]
        slope = np.asarray(self.gradient(params, given, region))[..., 0]
        maps = {"gradient": np.abs(slope), "input x gradient": (x - self.grey) * slope}
        shares = {name: section_shares(one).tolist() for name, one in maps.items()}
        answer = self._logits(params, x)
        hidden = []
        for section in range(SECTIONS):
            covered = x.copy()
            covered[:, section] = self.grey
            hidden.append(np.abs(((self._logits(params, covered) - answer) * truth).sum((1, 2))))
        shares["section occlusion"] = (np.stack(hidden, 1) / sum(hidden)[:, None]).tolist()
        turned = x[:, ::-1]
        swapped = np.abs(np.asarray(self.gradient(params, turned[..., None], region))[..., 0])
        change = np.sqrt(((self._logits(params, turned) - answer) ** 2).sum((1, 2)))
        return {
            "shares": shares,
            "map_swap": map_swap(maps["gradient"], swapped).tolist(),
            "swap_sensitivity": (change / np.sqrt((answer**2).sum((1, 2)))).tolist(),
        }, maps

    def _logits(self, params: Any, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(params, x[..., None]))[:, 0, :, :, 0]

    def before(self, root: Path, run: Run, x: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Returns what is measured before training, which does not depend on the rate."""
        key = (run.data, run.fill, run.seed)
        if key not in self._before:
            params = self.begin(root, run.data, run.fill, run.seed)
            self._before[key] = self.explain(params, x, truth)[0]
        return self._before[key]

    def score(self, params: Any, x: np.ndarray, truth: np.ndarray) -> list[list[int]]:
        """Returns for each tile the pixels that are found, found wrongly, and missed."""
        found = np.concatenate(
            [self._logits(params, x[i : i + EXPLAINED]) > 0 for i in range(0, len(x), EXPLAINED)]
        )
        parts = (found & truth, found & ~truth, ~found & truth)
        return np.stack([part.sum((1, 2)) for part in parts], 1).tolist()


def _is_new(name: str) -> bool:
    return name.startswith(("decoder", "head"))


def _step(
    backbone: Any, rate: jax.Array, params: Any, state: Any, x: jax.Array, y: jax.Array
) -> tuple[Any, Any, jax.Array]:
    """Makes a step of Adam, with one rate for what is published and another for what is new."""

    def loss(params: Any) -> jax.Array:
        logits = apply_middle(backbone, params, x)
        mask = jnp.ones_like(y)
        return bce(logits, y, mask) + dice(logits, y, mask)

    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = optax.scale_by_adam().update(gradient, state)
    moved = {
        name: jax.tree.map(
            lambda p, u, name=name: p - (NEW_RATE if _is_new(name) else rate) * u,
            params[name],
            updates[name],
        )
        for name in params
    }
    return moved, state, value


def main() -> None:
    """Runs what has no record yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--efficientnet", type=Path, required=True)
    parser.add_argument("--dinov2", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, default=Path("runs/channels"))
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--network", choices=tuple(CROPS), help="runs of this network alone")
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    files = {"efficientnet_lite0": arguments.efficientnet, "dinov2_small": arguments.dinov2}
    began = time.monotonic()
    bench: Bench | None = None
    for run in all_runs():
        record = arguments.workdir / f"{run.name}.json"
        if record.exists() or arguments.network not in (None, run.network):
            continue
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        if bench is None or bench.network != run.network:
            bench = Bench(run.network, files[run.network])
        result, maps = one_run(bench, run, arguments.data)
        np.savez_compressed(record.with_suffix(".npz"), **maps)
        record.write_text(json.dumps(result))
        print(f"{run.name}: {result['seconds']}", flush=True)


def one_run(bench: Bench, run: Run, root: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Trains and measures once; returns the record, and maps of the first tiles for pictures."""
    marks = [time.monotonic()]
    x, truth = test_tiles(root, run.data, bench.crop)
    shown, explained = x[:EXPLAINED], truth[:EXPLAINED]
    before = bench.before(root, run, shown, explained)
    params = bench.begin(root, run.data, run.fill, run.seed)
    marks.append(time.monotonic())
    images, targets = train_batches(root, run.data, bench.crop, run.seed, STEPS)
    params, losses = bench.train(params, run.rate, images, targets)
    marks.append(time.monotonic())
    after, maps = bench.explain(params, shown, explained)
    counts = bench.score(params, x, truth)
    marks.append(time.monotonic())
    result = {
        **dataclasses.asdict(run),
        "before": before,
        "after": after,
        "counts": counts,
        "losses": losses,
        "seconds": [round(float(s), 2) for s in np.diff(marks)],
    }
    pictures = {name.replace(" ", "_"): one[:3].astype(np.float16) for name, one in maps.items()}
    return result, {"stacks": shown[:3], "truth": explained[:3], **pictures}


if __name__ == "__main__":
    main()
