"""Saving and restoring what a run goes on from, beside torch.save.

    python benchmarks/checkpoint.py [--peer torch] [--quick] [--network unet|vit]

The state is that of training: parameters, two moments, the moving average. `save_pause` is how long training stands
still, `save` until all is on disk. torch.save stands still throughout.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import report
import timing
from timing import Candidate


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("torch",))
    parser.add_argument("--network", default="vit", choices=("unet", "vit"))
    parser.add_argument(
        "--folder", type=Path, help="on the disk to measure; that of temporary files"
    )
    options = parser.parse_args()
    case = models.Case(models.NETWORKS[options.network], 1, models.CROPS[options.network], True)
    case = models.small(case) if options.quick else case
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    common = {"case": case, "folder": str(folder)}
    environment = {"JAX_PLATFORMS": "cpu"} if options.device == "cpu" else {}
    candidates = {"emjax": Candidate(make_ours, common, environment)}
    if options.peer:
        candidates["torch"] = Candidate(make_torch, common)
    try:
        timings = timing.interleave(candidates, options.repeats or (2 if options.quick else 5))
    finally:
        shutil.rmtree(folder)
    written = report.Report("checkpoint", options)
    written.add("save_and_restore", timings)
    for name, found in timings.items():
        for part, value in found.extra.items():
            written.number(f"{name}_{part}", value)
    if options.peer:
        written.ratio("save_and_restore", timings["emjax"], {"torch": timings["torch"]})
        for part in ("save_pause_s", "save_s", "restore_s"):
            ratio = timings["torch"].extra[part] / timings["emjax"].extra[part]
            print(f"RATIO {part.removesuffix('_s')} {ratio:.3f}")
    written.write()


def make_ours(case: models.Case, folder: str) -> Callable[[], dict[str, float]]:
    """The state of a run, saved and restored by `emjax.train.checkpoint`."""
    import jax
    import jax.numpy as jnp
    import optax
    from etils import epath

    from emjax.models.build import build_backbone, init_params
    from emjax.parallel.compile import jit
    from emjax.runs.spec import RunSpec
    from emjax.train.checkpoint import Checkpoints
    from emjax.train.state import TrainState

    backbone = build_backbone(case.network)
    image = jax.ShapeDtypeStruct((1, *case.crop, 1), jnp.float32)
    params = jit(lambda key: init_params(backbone, key, image))(jax.random.key(0))
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optax.adam(1e-3).init(params),
        ema=jax.tree.map(jnp.copy, params),
        rng=jax.random.key(0),
        bad_steps=jnp.zeros((), jnp.int32),
    )
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state, state.ema)))
    checkpoints = Checkpoints(epath.Path(folder) / "emjax", keep=1, ema=True)
    step = [0]

    def run() -> dict[str, float]:
        step[0] += 1
        began = time.perf_counter()
        checkpoints.save(step[0], state, {"next_batch": 0}, RunSpec("benchmark", {}))
        paused = time.perf_counter()
        checkpoints.wait()
        saved = time.perf_counter()
        jax.block_until_ready(checkpoints.restore_latest(abstract)[0].params)
        return _parts(began, paused, saved, size)

    return run


def make_torch(case: models.Case, folder: str) -> Callable[[], dict[str, float]]:
    """The same numbers by torch.save and torch.load."""
    import torch
    from peers.torch_runs import build

    from emjax.models.build import build_backbone

    twin = build(build_backbone(case.network), case.crop)
    state = {
        part: {name: p.detach().clone() for name, p in twin.named_parameters()}
        for part in ("params", "first_moment", "second_moment", "ema")
    }
    size = sum(p.nbytes for part in state.values() for p in part.values())
    path = Path(folder) / "torch.pt"

    def run() -> dict[str, float]:
        began = time.perf_counter()
        torch.save(state, path)
        saved = time.perf_counter()
        torch.load(path, weights_only=True)
        return _parts(began, saved, saved, size)

    return run


def _parts(began: float, paused: float, saved: float, size: Any) -> dict[str, float]:
    return {
        "save_pause_s": paused - began,
        "save_s": saved - began,
        "restore_s": time.perf_counter() - saved,
        "gigabytes": size / 1e9,
    }


if __name__ == "__main__":
    main()
