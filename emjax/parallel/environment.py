"""Reads from the environment whether this process is one of several, and which devices it uses."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from emjax.errors import InputError

# Variables of a notebook, which has one machine, whatever else its environment says. Not all of KAGGLE_*, since the
# variables of a Kaggle account are also set on other machines.
_NOTEBOOKS = re.compile(r"COLAB_.*|KAGGLE_KERNEL_RUN_TYPE")
# Variables with the number of processes. Not SLURM_NTASKS, which an interactive allocation also sets for a command that
# runs once.
_LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_ADDRESSES = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS")
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
_TPU_FILES = ("dev/accel0", "dev/vfio/0")
_GOOGLE = "0x1ae0"


def expects_others(environment: Mapping[str, str], *, root: Path = Path("/")) -> str:
    """Returns what shows that this process is one of several, such as a variable; '' if it is alone.

    Args:
        environment: environment variables of the process.
        root: root of the file system in which devices are looked for.

    Raises:
        InputError: if the machine has a TPU that cannot be used.
    """
    if any(_NOTEBOOKS.fullmatch(name) for name in environment):
        return ""
    for name in _LAUNCHERS:
        if _count(environment, name) > 1:
            return f"{name}={environment[name]}"
    for name in _ADDRESSES:
        if name in environment:
            return f"{name}={environment[name]}"
    for name in _TPU_HOSTS:
        if name in environment:
            # A list of one host is a slice of one machine, for which GKE gives 'localhost'.
            return f"{name}={environment[name]}" if "," in environment[name] else ""
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return f"JOB_COMPLETION_INDEX={environment['JOB_COMPLETION_INDEX']}"
    # Each machine of a TPU slice runs the same command, and only JAX knows how many machines there are.
    return "its TPU" if _has_tpu(environment, root) else ""


def local_device_ids(environment: Mapping[str, str]) -> list[int] | None:
    """Returns the GPUs that this process uses, of those that it sees.

    By default, JAX gives one GPU to every process of a launcher. That leaves seven of eight GPUs idle if one process
    was started on each machine, and asks for a GPU that does not exist if the launcher shows each process only its own.

    Args:
        environment: environment variables of the process.

    Returns:
        Numbers of GPUs; an empty list for all of them; None without a launcher, or if the user chose the GPUs.
    """
    tasks, rank = _tasks_here(environment)
    if not tasks or "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    if tasks == 1:
        return []
    if "CUDA_VISIBLE_DEVICES" not in environment:
        return [rank]
    seen = len([name for name in environment["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()])
    share = seen // tasks
    return list(range(rank * share, (rank + 1) * share))


def _tasks_here(environment: Mapping[str, str]) -> tuple[int, int]:
    """Returns how many processes the launcher started on this machine (0 without one), and this one's number."""
    if _count(environment, "OMPI_COMM_WORLD_SIZE") > 1:
        tasks = _count(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
        return tasks, _count(environment, "OMPI_COMM_WORLD_LOCAL_RANK")
    if _count(environment, "SLURM_STEP_NUM_TASKS") > 1:
        # '2(x3),1' means two tasks on each of three machines, and one on the last.
        counts: list[int] = []
        for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
            found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
            if found:
                counts += [int(found[1])] * int(found[2] or 1)
        node = _count(environment, "SLURM_NODEID")
        tasks = counts[node] if node < len(counts) else 0
        return tasks, _count(environment, "SLURM_LOCALID")
    return 0, 0


def _has_tpu(environment: Mapping[str, str], root: Path) -> bool:
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return False
    if not any((root / name).exists() for name in _TPU_FILES):
        return False
    # Also check the vendor, since other devices use /dev/vfio as well.
    vendors = (root / "sys/bus/pci/devices").glob("*/vendor")
    if not any(path.read_text().strip() == _GOOGLE for path in vendors):
        return False
    if importlib.util.find_spec("libtpu") is None and "TPU_LIBRARY_PATH" not in environment:
        raise InputError(
            "this machine has a TPU, but libtpu is not installed: pip install -e '.[tpu]', or set JAX_PLATFORMS=cpu to "
            "go without the TPU"
        )
    return True


def _count(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else 0
