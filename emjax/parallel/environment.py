"""What the environment of this process says: alone or one of several, and which devices are its own."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from emjax.errors import InputError

# A notebook has one machine, whatever else its environment says. Not all of KAGGLE_: the names of an account are set
# on other machines too.
_NOTEBOOKS = re.compile(r"COLAB_.*|KAGGLE_KERNEL_RUN_TYPE")
# Not SLURM_NTASKS: an interactive allocation sets it too, for a command that runs once.
_LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_ADDRESSES = ("JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS")
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
_TPU_FILES = ("dev/accel0", "dev/vfio/0")
_GOOGLE = "0x1ae0"


def expects_others(environment: Mapping[str, str], *, root: Path = Path("/")) -> str:
    """Returns what shows that this process is one of several; '' when it is alone.

    Args:
        environment: variables of the process.
        root: of the file system, where devices are looked for.

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
            # GKE says 'localhost' to a slice of one machine.
            return f"{name}={environment[name]}" if "," in environment[name] else ""
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return f"JOB_COMPLETION_INDEX={environment['JOB_COMPLETION_INDEX']}"
    # Each machine of a slice runs the same command; only JAX knows how many there are.
    return "its TPU" if _has_tpu(environment, root) else ""


def local_device_ids(environment: Mapping[str, str]) -> list[int] | None:
    """Returns the GPUs that this process takes of those that it sees.

    JAX gives one GPU to every process of a launcher; that leaves seven of eight idle where one process was started on
    each machine, and asks for a GPU that is not there where the launcher shows each process its own alone.

    Args:
        environment: variables of the process.

    Returns:
        Numbers of GPUs; an empty list for all of them; None without a launcher, or where the user chose.
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
    """Returns the processes that the launcher started on this machine, 0 without one, and the number of this one."""
    if _count(environment, "OMPI_COMM_WORLD_SIZE") > 1:
        tasks = _count(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
        return tasks, _count(environment, "OMPI_COMM_WORLD_LOCAL_RANK")
    if _count(environment, "SLURM_STEP_NUM_TASKS") > 1:
        # As in '2(x3),1': two tasks on each of three machines, one on the last.
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
    # Other devices are handed to programs through /dev/vfio as well.
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
