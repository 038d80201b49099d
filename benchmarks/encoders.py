"""Inference of the encoders that have published weights, beside the same networks in PyTorch.

    python benchmarks/encoders.py [--peer torch] [--quick] [--device cpu|gpu] [--cases resnet18 vit_small ...]

The input is a crop of sections, which PyTorch sees as a batch of grey images; the output is what the deepest layer
gives. Networks are those of timm, with one input channel and without classifier; parameter counts are asserted to be
equal here, and tests/models/test_published.py compares outputs. The best of PyTorch's forms counts. On a machine that
others use, too, measure with `--cores 1`, and compare processor seconds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import report
import timing
from timing import AS_JOBS_START, Candidate

# Name of our preset -> that of the same network in timm, and height and width of a section.
NETWORKS = {
    "resnet18": ("resnet18", 224),
    "resnet50": ("resnet50", 224),
    "efficientnet_lite0": ("tf_efficientnet_lite0", 224),
    "convnext_tiny": ("convnext_tiny", 224),
    "vit_small": ("vit_small_patch16_224", 224),
    "dinov2_small": ("vit_small_patch14_dinov2", 224),
}
# Of the peer; see `peers.torch_encoders`.
FORMS = ("torch", "torch_channels_last", "torch_compile", "torch_compile_channels_last")
SECTIONS, GPU_SECTIONS = 8, 128


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run: a network, by its names here and in timm, and the sections of a step."""

    network: str
    peer: str
    sections: int
    side: int
    dtype: str


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("torch",))
    parser.add_argument("--cases", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--forms", nargs="+", choices=FORMS, help="of the peer; all by default")
    options = parser.parse_args()
    written = report.Report("encoders", options)
    repeats = options.repeats or (2 if options.quick else 15)
    gpu = options.device == "gpu"
    for name in options.cases:
        peer, side = NETWORKS[name]
        sections = 1 if options.quick else GPU_SECTIONS if gpu else SECTIONS
        case = Case(name, peer, sections, side, "bfloat16" if gpu else "float32")
        ways = candidates(case, options)
        timings = timing.interleave(ways, repeats, options.cores, 1 if options.quick else 3)
        written.add(name, timings, math.prod((sections, side, side)) / 1e6, "Mvoxel")
        assert len({t.extra["parameters"] for t in timings.values()}) == 1, "not the same network"
        written.ratio(name, timings.pop("emjax"), timings, memory=not gpu)
    written.write()


def candidates(case: Case, options: Any) -> dict[str, Candidate]:
    """Ours, and all forms of the peer."""
    common = {"case": case, "device": options.device}
    # Two frameworks share one accelerator here.
    environment = {**AS_JOBS_START, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if options.device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    found = {"emjax": Candidate(make_ours, common, environment)}
    if options.peer:
        forms = options.forms or (FORMS[:1] if options.quick else FORMS)
        found |= {form: Candidate(make_torch, common | {"form": form}) for form in forms}
    return found


def make_torch(case: Case, device: str, form: str) -> Callable[[], dict[str, int]]:
    """The encoder in PyTorch."""
    from peers import torch_encoders

    return torch_encoders.make(case.peer, case.sections, case.side, form, device)


def make_ours(case: Case, device: str) -> Callable[[], dict[str, int]]:
    """Our encoder: of the whole network only what its deepest features need is compiled."""
    import jax
    import numpy as np

    from emjax.models.build import apply, build_backbone, count_params, init_params
    from emjax.models.presets import network
    from emjax.parallel.compile import jit

    if jax.default_backend() != device:
        raise RuntimeError(f"--device {device}, but JAX has {jax.default_backend()} here")
    fields = network(case.network).to_dict() | {"dtype": case.dtype}
    if "norm" in fields:
        fields["norm"] = "affine"
    if case.network == "dinov2_small":
        # timm's network for this size of images has as many positions.
        fields["position_grid"] = case.side // fields["patch"]
    backbone = build_backbone(fields)
    shape = (1, case.sections, case.side, case.side, 1)
    image = jax.device_put(np.random.default_rng(0).random(shape, np.float32))
    params = jit(lambda key: init_params(backbone, key, image))(jax.random.key(0))
    encoder = {n: p for n, p in params.items() if not n.startswith(("decoder", "head"))}
    count = {"parameters": count_params(encoder)}
    forward = jit(lambda params, image: apply(backbone, params, image)["centre"])

    def infer() -> dict[str, int]:
        forward(params, image).block_until_ready()
        return count

    return infer


if __name__ == "__main__":
    main()
