"""One process of a run of two; started by test_processes.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)

from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()

from toy import BATCH_SIZE, ToyBatches, norm_evaluator, run_toy, toy_config  # noqa: E402

from emjax.parallel import runtime  # noqa: E402
from emjax.parallel.mesh import make_mesh  # noqa: E402
from emjax.runs.exit_status import PREEMPTED  # noqa: E402


class Rows(ToyBatches):
    """This process's rows; process 1 is asked to stop while it reads a batch."""

    def __init__(self, kill_at: int) -> None:
        super().__init__()
        self._kill_at = kill_at

    def __next__(self):
        if self.next_batch == self._kill_at and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        rows = BATCH_SIZE // jax.process_count()
        first = rows * jax.process_index()
        return {name: value[first : first + rows] for name, value in super().__next__().items()}


def main(folder: Path, port: str, process_id: int, kill_at: int) -> int:
    runtime.initialize(f"localhost:{port}", 2, process_id)
    mesh = make_mesh({"data": 1, "fsdp": -1, "spatial": 1})
    config = toy_config(
        num_steps=200, save__every_steps=25, log__every_steps=50, eval__every_steps=100
    )
    result = run_toy(config, folder, Rows(kill_at), mesh, evaluator=norm_evaluator)
    if result.preempted:
        return PREEMPTED
    assert result.steps == 200
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
