"""Training steps on pods: memory, FLOPs and collectives of the compiled program, and the efficiency that they allow.

    pip install "libtpu==0.0.42.*"     # the compiler for TPUs of jax 0.10; no TPU is needed
    python benchmarks/scaling.py --presets unet_l vit_l --topology v5e:2x4 v5e:8x8 v5e:16x16 v5p:4x4x4 v6e:8x8

Compiles the step of each preset ahead of time for each topology, at the same number of crops on each device (weak
scaling), and reads the compiled program: see `collectives.py` for how what is sent is counted. `--topology cpu:8
cpu:64` does the same for virtual devices without libtpu. A compile takes 6 GiB and 15 minutes of a core; with
`JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1` in the environment (jax 0.10 alone) it takes a third, for a slower program.
What is compiled stays in `--workdir`, so that a killed benchmark goes on where it was. Prints Markdown and writes
`scaling.json`.

The prediction: a step computes for FLOPs / (peak x MFU), MFU being an assumption (`--mfu`), and sends for the sum of
bytes / rate of its operations. Without any overlap of the two the efficiency is compute / (compute + send), with all of
it compute / max(compute, send). Latency, skew between devices and loading of data are not in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from collectives import Collective, by_group, read_collectives
from compiled import Program, load, path_of

from emjax.train.device import PEAK_FLOPS

MIB, GIB = 2**20, 2**30
GPUS_PER_NODE = 8


@dataclasses.dataclass(frozen=True)
class Fabric:
    """What connects devices, by its data sheet; rates are bytes/s in one direction.

    Attributes:
        kind: of a device, as in `PEAK_FLOPS`.
        port_rate: of a torus, of each of a chip's ports.
        wraps_from: of a torus, smallest slice whose rings are closed; smaller ones are lines, at half the rate.
        node_rate: of each device within a node; 0: a torus.
        network_rate: of each device's adapter between nodes.
        memory_gib: of each device.
    """

    kind: str
    memory_gib: float
    port_rate: float = 0.0
    wraps_from: int = 0
    node_rate: float = 0.0
    network_rate: float = 0.0

    def rate(self, group: Sequence[int], devices: int) -> float:
        """Returns the bytes/s at which each device of a group sends in a ring.

        On a torus the ring is taken along one axis, both ways where it is closed. Of nodes, a ring crosses from one to
        the next once, so that all adapters of the members in a node share what crosses.

        Args:
            group: devices of an operation.
            devices: of the whole run.
        """
        if not self.node_rate:
            return self.port_rate * (2 if devices >= self.wraps_from else 1)
        nodes = [device // GPUS_PER_NODE for device in group]
        if len(set(nodes)) == 1:
            return self.node_rate
        return min(self.node_rate, self.network_rate * nodes.count(nodes[0]))


# Source: cloud.google.com/tpu/docs/{v5e,v5p,v6e}: 1600, 4800 and 3200 Gbit/s a chip each way over 4, 6 and 4 ports;
# the data sheets of H100 (NVLink, 900 GB/s both ways together) and of DGX H100 (an adapter of 400 Gbit/s for each GPU).
FABRICS = {
    "v5e": Fabric("TPU v5 lite", 16, port_rate=50e9, wraps_from=256),
    "v5p": Fabric("TPU v5", 95, port_rate=100e9, wraps_from=64),
    "v6e": Fabric("TPU v6 lite", 32, port_rate=100e9, wraps_from=256),
    "H100": Fabric("NVIDIA H100", 80, node_rate=450e9, network_rate=50e9),
}


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds of a step that devices compute, and that they send."""

    compute_s: float
    send_s: float

    @property
    def no_overlap(self) -> float:
        """Efficiency if nothing is sent while a device computes; a lower bound."""
        return self.compute_s / (self.compute_s + self.send_s)

    @property
    def full_overlap(self) -> float:
        """Efficiency if everything is; an upper bound."""
        return self.compute_s / max(self.compute_s, self.send_s)


def predict(
    flops: float, collectives: Sequence[Collective], fabric: Fabric, devices: int, mfu: float
) -> Prediction:
    """Predicts a step.

    Args:
        flops: of the model, on each device.
        collectives: of the step.
        fabric: that connects the devices.
        devices: of the run.
        mfu: share of a device's peak that the model reaches alone.
    """
    send = sum(one.wire_bytes / fabric.rate(one.group, devices) for one in collectives)
    return Prediction(flops / (PEAK_FLOPS[fabric.kind] * mfu), send)


def main() -> int:
    """Compiles or loads all programs, prints the tables and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["unet_l", "vit_l"])
    parser.add_argument("--topology", nargs="+", default=["v5e:2x4", "v5e:8x8", "v5e:16x16"])
    parser.add_argument("--per_device", type=int, default=2, help="crops; 0: the preset's batch")
    parser.add_argument("--set", nargs="*", default=[], help="fields, as model.remat=false")
    parser.add_argument("--mfu", type=float, default=0.4, help="assumed, of the devices' peak")
    parser.add_argument("--workdir", type=Path, default=Path("runs/scaling"))
    options = parser.parse_args()
    programs = []
    for preset in options.presets:
        for topology in options.topology:
            case = (options.workdir, preset, topology, options.per_device, *options.set)
            if not path_of(*case).exists() and (failed := _compile(case)):
                return failed
            programs.append(load(*case))
    sent = [read_collectives(program.text, program.devices) for program in programs]
    lines = [
        *_memory_table(programs),
        "",
        *_collectives_table(programs, [found for found, _ in sent]),
        "",
        *_efficiency_table(programs, [found for found, _ in sent], options.mfu),
    ]
    for program, (_, unknown) in zip(programs, sent, strict=True):
        if unknown:
            lines += [
                "",
                f"{program.name}: rounds of {', '.join(unknown)} are not known, counted once",
            ]
    print("\n".join(lines))
    rows = []
    for program, (found, unknown) in zip(programs, sent, strict=True):
        row = {k: v for k, v in dataclasses.asdict(program).items() if k != "text"}
        row["collectives"] = [dataclasses.asdict(one) for one in found]
        row["unknown_loops"] = unknown
        row["predictions"] = {
            name: dataclasses.asdict(_predict(program, found, fabric, options.mfu))
            for name, fabric in FABRICS.items()
        }
        rows.append(row)
    path = options.workdir / "scaling.json"
    content = {"command": " ".join(["python", *sys.argv]), "mfu": options.mfu, "programs": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"\nwritten to {path}")
    return 0


def _compile(case: Sequence[object]) -> int:
    """Compiles in a process of its own, because virtual devices are counted once a process; returns its status."""
    script = Path(__file__).with_name("compiled.py")
    return subprocess.run([sys.executable, str(script), *map(str, case)], check=False).returncode


def _predict(
    program: Program, found: Sequence[Collective], fabric: Fabric, mfu: float
) -> Prediction:
    flops = program.model_flops / program.devices
    return predict(flops, found, fabric, program.devices, mfu)


def _memory_table(programs: Sequence[Program]) -> Iterator[str]:
    yield (
        "| preset | topology | mesh (data, fsdp, spatial) | crops each | arguments, GiB | temporary, GiB | peak, GiB "
        "| of memory | model TFLOP | XLA: TFLOP | XLA: GB accessed | compile, s (effort) |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for p in programs:
        fabric = FABRICS.get(p.topology.partition(":")[0])
        share = f"{p.resident_bytes / GIB / fabric.memory_gib:.0%}" if fabric else ""
        peak = f"{p.memory['peak'] / GIB:.2f}" if "peak" in p.memory else ""
        yield (
            f"| `{p.preset}` | {p.topology} | {', '.join(map(str, p.mesh.values()))} | {p.batch_size / p.devices:g} "
            f"| {p.memory['argument'] / GIB:.2f} | {p.memory['temp'] / GIB:.2f} | {peak} | {share} "
            f"| {p.model_flops / p.devices / 1e12:.2f} | {p.cost['flops'] / 1e12:.2f} | {p.cost['bytes'] / 1e9:.0f} "
            f"| {p.compile_s:.0f} ({p.effort:g}) |"
        )


def _collectives_table(
    programs: Sequence[Program], sent: Sequence[list[Collective]]
) -> Iterator[str]:
    yield "| preset | topology | operation | devices of a group | runs a step | MiB sent by each device |"
    yield "|---|---|---|---|---|---|"
    for p, found in zip(programs, sent, strict=True):
        for (kind, size), (times, sent_bytes) in by_group(found).items():
            yield f"| `{p.preset}` | {p.topology} | {kind} | {size} | {times} | {sent_bytes / MIB:.2f} |"


def _efficiency_table(
    programs: Sequence[Program], sent: Sequence[list[Collective]], mfu: float
) -> Iterator[str]:
    yield f"Efficiency without overlap to full overlap, at an assumed MFU of {mfu:g}:"
    yield ""
    yield f"| preset | compiled for | MiB sent by each device | {' | '.join(FABRICS)} |"
    yield "|---|---|---|" + "---|" * len(FABRICS)
    for p, found in zip(programs, sent, strict=True):
        cells = []
        for fabric in FABRICS.values():
            one = _predict(p, found, fabric, mfu)
            cells.append(
                f"{one.no_overlap:.1%} to {one.full_overlap:.1%} "
                f"({one.compute_s * 1e3:.0f} + {one.send_s * 1e3:.1f} ms)"
            )
        total = sum(one.wire_bytes for one in found) / MIB
        yield f"| `{p.preset}` | {p.topology}, {p.devices} | {total:.1f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
