"""Training steps compiled ahead of time for devices that are not here, and what their compiler says of them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

INSTALL = (
    "needs the TPU compiler, no TPU: pip install '{requirement}' (any folder on PYTHONPATH will do)"
)
# As the volumes of the paper for the most part; it chooses the strides of the U-Net.
VOXEL_NM = (40, 4, 4)


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled step.

    Attributes:
        preset: of `configs/pretrain.py`.
        topology: such as 'v5e:8x8', or 'cpu:8'.
        device_kind: as JAX names it.
        mesh: devices on each axis.
        overrides: of the configuration, as on the command line.
        batch_size: crops on all devices together.
        parameters: of the network and the heads.
        model_flops: of a step on all devices together, without what rematerialisation repeats.
        memory: bytes of each device: argument, output, alias, temp, and peak where the compiler says it.
        cost: what XLA's own analysis says of one device: flops and bytes accessed. It counts a loop's body once.
        compile_s: seconds that compiling took.
        effort: of the compiler to find a fast program, -1 to 1; see `scaling.py`.
        versions: of what compiled it.
        text: of the program.
    """

    preset: str
    topology: str
    device_kind: str
    mesh: dict[str, int]
    overrides: tuple[str, ...]
    batch_size: int
    parameters: int
    model_flops: int
    memory: dict[str, int]
    cost: dict[str, float]
    compile_s: float
    effort: float
    versions: dict[str, str]
    text: str

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"{self.preset} on {self.topology}"

    @property
    def devices(self) -> int:
        """Number of devices."""
        return math.prod(self.mesh.values())

    @property
    def resident_bytes(self) -> int:
        """Bytes that a device holds at once: state and batch, what is computed, and outputs that are not the state."""
        m = self.memory
        return m["argument"] + m["temp"] + m["output"] - m["alias"]


def path_of(folder: Path, preset: str, topology: str, per_device: int, *overrides: str) -> Path:
    """Returns the file that a program is kept in.

    Args:
        folder: for what is compiled.
        preset: of `configs/pretrain.py`.
        topology: such as 'v5e:8x8' or 'cpu:8'.
        per_device: crops on each device; 0: the preset's batch, whatever the devices.
        *overrides: of the configuration, as `data.batch_size=64`.
    """
    words = [preset, topology.replace(":", "_"), *([f"{per_device}each"] if per_device else [])]
    return folder / ("_".join([*words, *overrides]).replace("/", "-") + ".json.gz")


def load(*case: Any) -> Program:
    """Returns a program that was compiled before; arguments of `path_of`."""
    return Program(**json.loads(gzip.decompress(path_of(*case).read_bytes())))


def main() -> None:
    """Compiles what the command line says, FOLDER PRESET TOPOLOGY PER_DEVICE [FIELD=VALUE ...], and keeps it."""
    folder, preset, topology, per_device, *overrides = sys.argv[1:]
    case = (preset, topology, int(per_device), *overrides)
    program = compile_step_of(*case)
    path = path_of(Path(folder), *case)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(dataclasses.asdict(program)).encode()))


def compile_step_of(preset: str, topology: str, per_device: int, *overrides: str) -> Program:
    """Compiles the training step of a preset; arguments of `path_of`."""
    devices = _devices(topology)
    # Only now: what is imported here may ask for devices.
    import jax
    import jax.numpy as jnp

    from emjax.command_line import load_config
    from emjax.config import plain, validate
    from emjax.field_overrides import override
    from emjax.parallel.mesh import batch_sharding, check_batch_size, make_mesh
    from emjax.tasks.build import build_pretrain
    from emjax.train.flops import training_flops
    from emjax.train.optimizer import make_optimizer
    from emjax.train.preparation import with_network
    from emjax.train.settings import TrainSettings
    from emjax.train.state import abstract_state
    from emjax.train.step import compile_step, make_step

    config = load_config(f"configs/pretrain.py:{preset}")
    # 'auto' would ask this machine's devices.
    config.model.dtype = "bfloat16"
    if per_device:
        config.data.batch_size = per_device * len(devices)
    for item in overrides:
        override(config, *item.split("=", 1))
    validate(config)
    values = with_network(plain(config), VOXEL_NM)
    task = build_pretrain(values)
    mesh = make_mesh(values["mesh"], devices)
    check_batch_size(config.data.batch_size, mesh)
    settings = TrainSettings.from_config(config)
    chosen = settings.optimizer
    optimizer, schedule = make_optimizer(chosen, settings.num_steps, task.backbone.layers)
    state = abstract_state(task, optimizer, seed=0, ema=settings.uses_ema, mesh=mesh)
    shape = (settings.data.batch_size, *task.window_size)
    batch = {"image": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=batch_sharding(mesh))}
    step = make_step(
        task,
        optimizer,
        schedule,
        accumulate_steps=chosen.accumulate_steps,
        ema_decay=chosen.ema_decay,
    )
    sys.stderr.write(f"compiling {preset} for {topology}, {mesh.size} devices\n")
    began = time.perf_counter()
    try:
        compiled = compile_step(step, state, batch, mesh)
    except jax.errors.JaxRuntimeError as error:
        # The compiler's report of what fills the memory goes on for pages.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise SystemExit(
            f"{preset} does not fit {topology}: {str(error).splitlines()[0]}"
        ) from None
    seconds = time.perf_counter() - began
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    sizes = {
        name: getattr(memory, f"{name}_size_in_bytes")
        for name in ("argument", "output", "alias", "temp")
    }
    if peak := getattr(memory, "peak_memory_in_bytes", 0):
        sizes["peak"] = peak
    return Program(
        preset=preset,
        topology=topology,
        device_kind=devices[0].device_kind,
        mesh=dict(mesh.shape),
        overrides=overrides,
        batch_size=config.data.batch_size,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        model_flops=training_flops(task.loss, state.params, batch, jax.random.key(0)),
        memory=sizes,
        cost={"flops": cost["flops"], "bytes": cost["bytes accessed"]},
        compile_s=seconds,
        # jax 0.11 has no such setting.
        effort=getattr(jax.config, "jax_exec_time_optimization_effort", 0.0),
        versions=_versions(),
        text=compiled.as_text(),
    )


def _devices(topology: str) -> list[Any]:
    """Returns devices that need not be here; must come before JAX is used."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    platform, _, size = topology.partition(":")
    if platform == "cpu":
        jax.config.update("jax_num_cpu_devices", int(size))
        return jax.devices()
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise SystemExit(
            f"--topology {topology} {INSTALL.format(requirement=_libtpu_requirement())}"
        ) from None
    # Nothing may ask the network whether this machine is part of a slice.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Compilers do not disturb each other, unlike programs that run on a TPU.
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    from jax.experimental import topologies

    return list(topologies.get_topology_desc(topology, "tpu").devices)


def _libtpu_requirement() -> str:
    """Returns what this jax is released with, as pip wants it."""
    import importlib.metadata
    import re

    wanted = " ".join(importlib.metadata.requires("jax") or [])
    found = re.search(r"libtpu==[\w.*]+", wanted)
    return found[0] if found else "libtpu"


def _versions() -> dict[str, str]:
    import importlib.metadata

    found = {}
    for name in ("jax", "jaxlib", "libtpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
