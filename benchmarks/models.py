"""Inference and training of the networks, beside the same networks in PyTorch.

    python benchmarks/models.py [--peer torch] [--quick] [--device cpu|gpu] [--cases unet_train ...]
    python benchmarks/models.py --growth [--only batch train]

A training step is forward, backward and AdamW on the mean square of the output. The twins have the same parameters
(asserted here; the tests compare their outputs); the best of PyTorch's forms counts. `--growth` measures voxels/s
against crop, batch and widths instead, without a peer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import report
import timing
from timing import AS_JOBS_START, Candidate

UNET = {"name": "unet", "widths": (28, 36, 48, 64, 80), "kernels": ((3, 3, 3),), "skips": "add"}
# Kernels of stage 0 in the section alone, as for the most anisotropic data.
FLAT = UNET | {"kernels": ((1, 3, 3), *((3, 3, 3),) * 4)}
VIT = {"name": "vit", "width": 768, "depth": 12, "heads": 8, "head_width": 64, "mlp_width": 2048}
CROPS = {"unet": (18, 160, 160), "flat": (18, 160, 160), "vit": (32, 160, 160)}
NETWORKS = {"unet": UNET, "flat": FLAT, "vit": VIT}
# Of the peer; see `peers.torch_runs`.
FORMS = ("torch", "torch_channels_last", "torch_compile", "torch_compile_channels_last")
# Steps that count in each turn: some seconds of training, and of inference.
_IN_A_ROW = {True: 3, False: 8}
# Batches that fill an 80 GB accelerator in training.
GPU_BATCH = {"unet": 16, "flat": 16, "vit": 16}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: a network, a batch of crops, and whether it is trained."""

    network: dict[str, Any]
    batch: int
    crop: tuple[int, int, int]
    train: bool

    @property
    def voxels(self) -> int:
        """Voxels of a step."""
        return self.batch * math.prod(self.crop)


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("torch",))
    parser.add_argument("--cases", nargs="+", default=["unet", "flat", "vit"], help="or unet_infer")
    parser.add_argument("--forms", nargs="+", help="of the peer; all, and with --quick the first")
    parser.add_argument("--growth", action="store_true", help="voxels/s against sizes")
    parser.add_argument("--only", nargs="+", default=(), help="cases whose names have all of this")
    options = parser.parse_args()
    written = report.Report("growth" if options.growth else "models", options)
    repeats = options.repeats or (2 if options.quick else 15)
    cases = growth(options.quick) if options.growth else chosen(options)
    cases = {
        name: case for name, case in cases.items() if all(text in name for text in options.only)
    }
    for name, case in cases.items():
        in_a_row = 1 if options.quick else _IN_A_ROW[case.train]
        ways = candidates(case, options)
        timings = timing.interleave(ways, repeats, options.cores, in_a_row)
        written.add(name, timings, case.voxels / 1e6, "Mvoxel")
        assert len({t.extra["parameters"] for t in timings.values()}) == 1, "not the same network"
        ours = timings.pop("emjax")
        written.ratio(name, ours, timings, memory=options.device == "cpu")
    written.write()


def chosen(options: Any) -> dict[str, Case]:
    """Cases by name, such as 'unet_train'."""
    cases = {}
    for name, network in NETWORKS.items():
        for kind in ("infer", "train"):
            if name not in options.cases and f"{name}_{kind}" not in options.cases:
                continue
            batch = GPU_BATCH[name] if options.device == "gpu" else 1
            case = Case(network, batch, CROPS[name], kind == "train")
            cases[f"{name}_{kind}"] = small(case) if options.quick else case
    return cases


def small(case: Case) -> Case:
    """The case on a network that runs within moments."""
    if case.network["name"] == "vit":
        less = {
            "width": 48,
            "depth": 2,
            "heads": 2,
            "mlp_width": 64,
            "decoder_widths": (8, 8, 8, 4),
        }
        less["taps"] = (0, 0, 1)
    else:
        less = {"widths": (4, 8), "kernels": ((1, 3, 3), (3, 3, 3))}
    return dataclasses.replace(case, network=case.network | less, batch=1, crop=(4, 32, 32))


def growth(quick: bool) -> dict[str, Case]:
    """One thing grows at a time, from the paper's network at a middling size."""
    crop = (18, 96, 96)
    cases = {}
    for train in (False, True):
        kind = "train" if train else "infer"
        for side in (32, 64, 96, 160, 224, 320):
            cases[f"crop_18x{side}x{side}_{kind}"] = Case(UNET, 1, (18, side, side), train)
        for depth in (4, 8, 36):
            cases[f"crop_{depth}x96x96_{kind}"] = Case(UNET, 1, (depth, 96, 96), train)
        for batch in (2, 4, 8):
            cases[f"batch_{batch}_{kind}"] = Case(UNET, batch, crop, train)
        for widths in (
            (8, 12, 16, 24, 32),
            (16, 24, 32, 48, 64),
            (32, 48, 64, 80, 96),
            (64, 96, 128, 160, 192),
        ):
            case = Case(UNET | {"widths": widths}, 1, crop, train)
            cases[f"widths_{widths[0]}_{kind}"] = case
    return {name: small(case) for name, case in list(cases.items())[:2]} if quick else cases


def candidates(case: Case, options: Any) -> dict[str, Candidate]:
    """Ours, and all forms of the peer."""
    dtype = "bfloat16" if options.device == "gpu" else "float32"
    case = dataclasses.replace(case, network=case.network | {"dtype": dtype})
    common = {"case": case, "device": options.device}
    # Two frameworks share one accelerator here.
    environment = {**AS_JOBS_START, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if options.device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    found = {"emjax": Candidate(make_ours, common, environment)}
    if options.peer and not options.growth:
        forms = options.forms or (FORMS[:1] if options.quick else FORMS)
        found |= {form: Candidate(make_torch, common | {"form": form}) for form in forms}
    return found


def make_torch(case: Case, device: str, form: str) -> Callable[[], dict[str, int]]:
    """A step of the twin."""
    from peers import torch_runs

    from emjax.models.build import build_backbone

    backbone = build_backbone(case.network)
    return torch_runs.make(backbone, case.batch, case.crop, form, case.train, device)


def make_ours(case: Case, device: str) -> Callable[[], dict[str, int]]:
    """A step of emjax's network."""
    import jax
    import numpy as np
    import optax

    from emjax.models.build import apply, build_backbone, count_params, init_params
    from emjax.parallel.compile import jit

    if jax.default_backend() != device:
        raise RuntimeError(f"--device {device}, but JAX has {jax.default_backend()} here")
    backbone = build_backbone(case.network)
    draw = np.random.default_rng(0).random((2, case.batch, *case.crop, 1), np.float32)
    image, target = jax.device_put(draw[0]), jax.device_put(draw[1])
    params = jit(lambda key: init_params(backbone, key, image))(jax.random.key(0))
    count = {"parameters": count_params(params)}
    if not case.train:
        forward = jit(lambda params, image: apply(backbone, params, image)["output"])

        def infer() -> dict[str, int]:
            forward(params, image).block_until_ready()
            return count

        return infer
    optimizer = optax.adamw(1e-4)
    state = [(params, optimizer.init(params))]

    def update(state: Any, image: Any, target: Any) -> Any:
        def loss(params: Any) -> Any:
            return ((apply(backbone, params, image)["output"] - target) ** 2).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(state[0]), state[1], state[0])
        return optax.apply_updates(state[0], updates), opt_state

    compiled = jit(update, donate_argnums=0)

    def step() -> dict[str, int]:
        state[0] = jax.block_until_ready(compiled(state[0], image, target))
        return count

    return step


if __name__ == "__main__":
    main()
