"""Parts that look at compiled programs: the kernels that they call, and how fast they run beside PyTorch's."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import models
import timing

from accelerator.numbers import Numbers
from accelerator.setting import Setting

# Crops of a step, until the chip is full.
BATCHES = (8, 16, 32, 64, 128)
# Fastest first, as far as is known: the first that works is enough to compare with if time runs short.
FORMS = ("torch_compile_channels_last", "torch_channels_last", "torch_compile")
_SHOWN = 12  # operations of a trace that are listed


def kernels(setting: Setting, numbers: Numbers) -> None:
    """Counts the calls of libraries' kernels in the compiled training steps: convolutions, attention, products."""
    import jax
    import jax.numpy as jnp

    from emjax.models.build import build_backbone, init_params

    for name in ("unet", "vit"):
        case = _case(name, True, 1, setting)
        image = jax.ShapeDtypeStruct((1, *case.crop, 1), jnp.float32)
        backbone = build_backbone(case.network)
        make = functools.partial(init_params, backbone)
        params = jax.eval_shape(make, jax.random.key(0), image)
        gradient = jax.jit(jax.grad(functools.partial(_square, backbone)))
        program = gradient.lower(params, image).compile().as_text()
        for target, count in sorted(count_calls(program).items()):
            numbers.add(f"{name}: {target}", count, "calls")


def _square(backbone: Any, params: Any, image: Any) -> Any:
    from emjax.models.build import apply

    return (apply(backbone, params, image)["output"].astype("float32") ** 2).mean()


def count_calls(program: str) -> dict[str, int]:
    """Returns kernel of a library -> calls in the text of a compiled program; 'convolution' and 'dot' are XLA's own."""
    found = collections.Counter(re.findall(r'custom_call_target="([^"]+)"', program))
    found.update(re.findall(r"= \S+ (convolution|dot)\(", program))
    return dict(found)


def speed(setting: Setting, numbers: Numbers, name: str, train: bool) -> None:
    """Voxels/s, MFU and memory at growing batches, and beside PyTorch at the fastest of them."""
    repeats, in_a_row = (1, 1) if setting.quick else (3, 8)
    best: tuple[float, models.Case] | None = None
    for batch in BATCHES[:1] if setting.quick else BATCHES:
        case = _case(name, train, 1 if setting.quick else batch, setting)
        ours = timing.Candidate(make_measured, {"case": case, "device": setting.device})
        try:
            found = timing.interleave({"emjax": ours}, repeats, in_a_row=in_a_row)["emjax"]
        except RuntimeError as error:
            if not _is_full(error):
                raise
            numbers.add(f"batch {case.batch}", "does not fit")
            break
        rate = case.voxels / found.median
        numbers.add(f"batch {case.batch}", rate / 1e6, "Mvoxel/s")
        numbers.add(
            f"batch {case.batch}: arithmetic", found.extra["flops"] / found.median / 1e12, "TFLOP/s"
        )
        for key, unit in (("mfu_peak", "%"), ("memory_gib", "GiB")):
            if found.extra[key] is not None:
                value = (
                    found.extra[key]
                    if unit == "GiB"
                    else 100 * found.extra["flops"] / found.median / found.extra[key]
                )
                numbers.add(
                    f"batch {case.batch}: {'memory' if unit == 'GiB' else 'MFU'}", value, unit
                )
        if best and rate < 1.03 * best[0]:
            # A larger batch gains no more.
            break
        best = (rate, case) if best is None or rate > best[0] else best
    assert best is not None, "not even the smallest batch fits"
    rate, case = best
    for form in FORMS[:1] if setting.quick else FORMS:
        found = _torch_rate(form, case, setting, numbers, repeats, in_a_row)
        if found:
            numbers.add(f"emjax to {form}", rate / found, "times as fast")


def _torch_rate(
    form: str, case: models.Case, setting: Setting, numbers: Numbers, repeats: int, in_a_row: int
) -> float | None:
    """Measures a form of the peer at a batch, or at half of it until it fits; None where it cannot run."""
    batch = case.batch
    while batch:
        smaller = dataclasses.replace(case, batch=batch)
        arguments = {"case": smaller, "device": setting.device, "form": form}
        peer = {form: timing.Candidate(models.make_torch, arguments)}
        try:
            found = timing.interleave(peer, repeats, in_a_row=in_a_row)[form]
        except RuntimeError as error:
            if not _is_full(error):
                numbers.add(form, f"failed: {str(error).strip().splitlines()[-1]}")
                return None
            numbers.add(f"{form}, batch {batch}", "does not fit")
            batch //= 2
            continue
        numbers.add(f"{form}, batch {batch}", smaller.voxels / found.median / 1e6, "Mvoxel/s")
        return smaller.voxels / found.median
    return None


def make_measured(case: models.Case, device: str) -> Callable[[], dict[str, Any]]:
    """A step of emjax's network that also says its arithmetic, the chip's peak (None: unknown), and the memory held."""
    import jax
    import jax.numpy as jnp

    from emjax.models.build import apply, build_backbone, init_params
    from emjax.train.device import peak_flops, peak_memory
    from emjax.train.flops import count_flops, training_flops

    step = models.make_ours(case, device)
    backbone = build_backbone(case.network)
    image = jax.ShapeDtypeStruct((case.batch, *case.crop, 1), jnp.float32)
    params = jax.eval_shape(lambda key, x: init_params(backbone, key, x), jax.random.key(0), image)

    def forward(params: Any, image: Any) -> Any:
        return apply(backbone, params, image)["output"]

    flops = (training_flops if case.train else count_flops)(forward, params, image)
    peak = peak_flops(jax.local_devices()[0])

    def run() -> dict[str, Any]:
        extra = step()
        held = peak_memory(jax.local_devices())
        return extra | {
            "flops": flops,
            "mfu_peak": peak,
            "memory_gib": None if held is None else held / 2**30,
        }

    return run


def summarise(trace: Path) -> list[tuple[str, float]]:
    """Returns operation -> share of the device's time in a Perfetto trace, largest first.

    Args:
        trace: `perfetto_trace.json.gz`, as JAX's profiler writes it.
    """
    events = json.loads(gzip.decompress(trace.read_bytes()))
    events = events["traceEvents"] if isinstance(events, Mapping) else events
    names = {
        e["pid"]: e["args"]["name"]
        for e in events
        if e.get("name") == "process_name" and "args" in e
    }
    threads = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in events
        if e.get("name") == "thread_name" and "args" in e
    }
    device = {
        pid for pid, name in names.items() if "device" in name.lower() and "cpu" not in name.lower()
    }
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") != "X" or (device and event["pid"] not in device):
            continue
        # Functions of Python, which hold all that they call.
        if event["name"].startswith("$"):
            continue
        # Rows of a device that repeat others: whole modules and steps; the rows of streams hold the kernels.
        thread = threads.get((event["pid"], event.get("tid")), "")
        if device and ("module" in thread.lower() or "step" in thread.lower()):
            continue
        # Kernels of the same kind are numbered: fusion.12, fusion.13.
        spent[re.sub(r"[._]\d+$", "", event["name"])] += event.get("dur", 0)
    total = sum(spent.values()) or 1
    return [(name, value / total) for name, value in spent.most_common(_SHOWN)]


def _case(name: str, train: bool, batch: int, setting: Setting) -> models.Case:
    dtype = "float32" if setting.quick else "bfloat16"
    case = models.Case(models.NETWORKS[name] | {"dtype": dtype}, batch, models.CROPS[name], train)
    return models.small(case) if setting.quick else case


def _is_full(error: Exception) -> bool:
    text = str(error)
    return any(word in text for word in ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory"))
