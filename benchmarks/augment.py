"""What augmentation and targets cost, as a share of a training step and beside scipy on the CPU.

    python benchmarks/augment.py [--peer scipy] [--quick] [--device cpu|gpu] [--operators]

The step is that of the paper's U-Net on the same crops. `recipe` is what finetuning does to a crop with labels by
default, `views` what pretraining does for two views, `affinities` what makes the default targets. `--operators` times
each operator by itself, always applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import models
import report
import timing
from timing import Candidate

OPERATORS = {
    "intensity": ("intensity", "noise", "blur", "sobel"),
    "defects": ("cutout", "misalign", "fold", "missing", "section_blur"),
    "geometry": ("flip", "rotate", "rescale", "elastic"),
}
# What chance leaves out costs scipy nothing, so that the mean of several crops counts.
SCIPY_CROPS = 8
TARGETS = {
    "affinities": "affinities?offsets=long",
    "contour": "contour",
    "distance": "signed_distance",
}


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("scipy",))
    parser.add_argument("--operators", action="store_true", help="each operator by itself, too")
    options = parser.parse_args()
    network = "unet"
    batch = models.GPU_BATCH[network] if options.device == "gpu" else 1
    dtype = "bfloat16" if options.device == "gpu" else "float32"
    case = models.Case(models.UNET | {"dtype": dtype}, batch, models.CROPS[network], True)
    case = models.small(case) if options.quick else case
    environment = {"JAX_PLATFORMS": "cpu"} if options.device == "cpu" else {}
    common = {"crop": case.crop, "batch": batch}

    def ours(kind: str) -> Candidate:
        return Candidate(make_ours, common | {"kind": kind}, environment)

    candidates = {
        "step": Candidate(models.make_ours, {"case": case, "device": options.device}, environment)
    }
    kinds = ["recipe", "views", *(f"target_{name}" for name in TARGETS)]
    if options.operators:
        kinds += [f"operator_{name}" for names in OPERATORS.values() for name in names]
    candidates |= {kind: ours(kind) for kind in (kinds[:1] if options.quick else kinds)}
    if options.peer:
        candidates["scipy"] = Candidate(make_scipy, common)
    repeats = options.repeats or (2 if options.quick else 9)
    timings = timing.interleave(candidates, repeats, options.cores)
    if options.peer:
        slow = timings["scipy"]
        slow.seconds = [s / SCIPY_CROPS for s in slow.seconds]
        slow.cpu_s = [s / SCIPY_CROPS for s in slow.cpu_s]
    written = report.Report("augment", options)
    written.add("augment", timings, batch, "crop")
    for name, found in timings.items():
        if name not in ("step", "scipy"):
            written.number(
                f"share_{name}", 100 * found.median / timings["step"].median, "% of a step"
            )
    if options.peer:
        written.ratio("recipe_to_scipy", timings["recipe"], {"scipy": timings["scipy"]})
    written.write()


def make_ours(crop: Any, batch: int, kind: str) -> Callable[[], None]:
    """A compiled function of a batch of windows."""
    import jax
    import numpy as np

    from emjax.augment.labelled import augment_labelled
    from emjax.augment.recipes import make_recipe, window_size
    from emjax.augment.views import make_views
    from emjax.parallel.compile import jit
    from emjax.targets.language import parse_targets

    recipe = make_recipe("ours")
    whole = crop if kind.startswith(("target", "operator")) else window_size(crop, recipe)
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 255, (batch, *whole), np.uint8)
    labels = rng.integers(0, 50, (batch, *(-(-n // 8) for n in whole)), np.int32)
    # Blocks of ids, so that there are borders but not everywhere.
    labels = labels.repeat(8, 1).repeat(8, 2).repeat(8, 3)[:, : whole[0], : whole[1], : whole[2]]
    if kind == "recipe":

        def work(key: Any, window: Any, labels: Any) -> Any:
            return augment_labelled(key, window, labels, crop, recipe)
    elif kind == "views":

        def work(key: Any, window: Any, labels: Any) -> Any:
            return make_views(key, window, crop, recipe)
    elif kind.startswith("target_"):
        (target,) = parse_targets(TARGETS[kind.removeprefix("target_")])

        def work(key: Any, window: Any, labels: Any) -> Any:
            return target.make(labels)
    else:
        operator = find_operator(kind.removeprefix("operator_"), crop)

        def work(key: Any, window: Any, labels: Any) -> Any:
            return operator(key, window.astype(jax.numpy.float32) / 255)

    compiled = jit(jax.vmap(work))
    windows, labels = jax.device_put(windows), jax.device_put(labels)
    keys = [jax.random.split(jax.random.key(0), batch)]

    def run() -> None:
        # Other numbers each time: what is drawn decides about nothing but masks, and must not be folded away.
        keys[0] = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys[0])
        jax.block_until_ready(compiled(keys[0], windows, labels))

    return run


def find_operator(name: str, crop: Any) -> Callable[..., Any]:
    """An operator of `emjax.augment`, always applied."""
    from emjax.augment import defects, geometry, intensity

    if name == "rescale":
        return lambda key, volume: geometry.rescale(key, volume, crop, (1.0, 4 / 3))
    for module in (intensity, defects, geometry):
        if hasattr(module, name):
            return getattr(module, name)
    raise ValueError(f"no operator {name}")


def make_scipy(crop: Any, batch: int) -> Callable[[], None]:
    """The peer's recipe, crop by crop."""
    import numpy as np
    from peers import scipy_augment

    from emjax.augment.recipes import make_recipe, window_size

    whole = window_size(crop, make_recipe("ours"))
    rng = np.random.default_rng(0)
    window = rng.integers(0, 255, whole, np.uint8)
    labels = rng.integers(0, 50, whole, np.int32)

    def run() -> None:
        for _ in range(SCIPY_CROPS * batch):
            scipy_augment.augment(rng, window, labels, crop)

    return run


if __name__ == "__main__":
    main()
