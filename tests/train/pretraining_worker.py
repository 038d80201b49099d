"""One process of a tiny pretraining run; started by test_processes.py and benchmarks/meshes.py.

Prints the numbers of the examples that it was given, a list for each batch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jax
from absl import flags


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="unet")
    parser.add_argument("--mesh", default="1,1,1")
    parser.add_argument("--devices", type=int, default=1, help="of this process")
    parser.add_argument("--port", default="")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--stop_at", type=int, default=-1)
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", arguments.devices)
    flags.FLAGS.mark_as_parsed()

    import pretraining

    from emjax.parallel import runtime

    address = f"localhost:{arguments.port}" if arguments.processes > 1 else None
    runtime.initialize(
        address,
        arguments.processes,
        arguments.process if arguments.processes > 1 else None,
    )
    pretraining.compile_quickly(setattr)
    mesh = tuple(int(size) for size in arguments.mesh.split(","))
    config = pretraining.settings(arguments.model, save__every_steps=4)
    _, examples = pretraining.train(config, arguments.folder, mesh, arguments.stop_at)
    print(json.dumps(examples), flush=True)


if __name__ == "__main__":
    main()
