"""The processes of a run: how they meet, how they agree, where compiled programs are kept."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
from pathlib import Path

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from emjax.errors import InputError

# A notebook has one machine, whatever its environment says.
_NOTEBOOKS = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")
_LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
_TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the processes of a run; must come before the first use of a device.

    With flags they are used as given; on a TPU slice or under a launcher (Slurm, Open MPI) JAX
    finds the others by itself; anywhere else the run has one process.

    Args:
        coordinator: HOST:PORT of process 0.
        num_processes: of the run; 1 forces a run of one process.
        process_id: of this process.

    Raises:
        InputError: if the flags are incomplete, or the processes cannot be found.
    """
    use_compilation_cache()
    if num_processes == 1 or jax.distributed.is_initialized():
        return
    given = (coordinator, num_processes, process_id)
    if any(flag is not None for flag in given):
        if coordinator is None or num_processes is None or process_id is None:
            raise InputError(
                "a run of several processes needs --coordinator, --num_processes and --process_id"
            )
        if not 0 <= process_id < num_processes:
            raise InputError(f"--process_id={process_id} must be in 0 to {num_processes - 1}")
        jax.distributed.initialize(coordinator, num_processes, process_id)
    elif _expects_others():
        try:
            jax.distributed.initialize()
        # Going on alone would start one run for each machine, all in the same folder.
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"this machine looks like one of a cluster, but no others were found ({error}); "
                "give --coordinator, --num_processes and --process_id, or --num_processes=1"
            ) from error
    logging.info("process %d of %d", jax.process_index(), jax.process_count())


def is_main() -> bool:
    """Whether this process writes logs and text files."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """Returns the value of process 0 on all processes; every process must call it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait_for_all(name: str) -> None:
    """Returns when every process has come here.

    Args:
        name: the same on all processes, another at each place.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, so that a restart starts at once.

    `JAX_COMPILATION_CACHE_DIR` moves the cache; an empty value turns it off.
    """
    if jax.config.jax_compilation_cache_dir or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(root) / "emjax" / "compiled" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.warning("no compilation cache: %s", error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _machine() -> str:
    """Names the instruction set: programs for CPU crash on another that shares the home folder."""
    text = platform.machine()
    cpu_file = Path("/proc/cpuinfo")
    if cpu_file.is_file():
        lines = cpu_file.read_text(errors="replace").splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _expects_others() -> bool:
    """Whether the environment says that this is one process of several."""
    if any(name in os.environ for name in _NOTEBOOKS):
        return False
    # Not SLURM_NTASKS: an interactive allocation sets it too, for a command that runs once.
    if any(int(os.environ.get(name, "1")) > 1 for name in _LAUNCHERS):
        return True
    if "JAX_COORDINATOR_ADDRESS" in os.environ or "MEGASCALE_COORDINATOR_ADDRESS" in os.environ:
        return True
    # Each machine of a TPU slice runs the same command; only JAX knows how many there are.
    has_driver = importlib.util.find_spec("libtpu") is not None
    return has_driver and any(Path(path).exists() for path in _TPU_DEVICES)
