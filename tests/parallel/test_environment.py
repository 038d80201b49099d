from __future__ import annotations

import pytest

from emjax.errors import InputError
from emjax.parallel import environment
from emjax.parallel.environment import expects_others, local_device_ids

SLURM_SHELL = {
    # What `salloc -N 2 -n 8` gives to the command that its user types.
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "8",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
SLURM_TASK = SLURM_SHELL | {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
GKE = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes the root of a machine with a device of that vendor behind that file."""

    def make(vendor: str, device: str, *, driver: bool) -> object:
        for path, text in ((device, ""), ("sys/bus/pci/devices/0000:00:05.0/vendor", vendor)):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{text}\n")
        found = object() if driver else None
        monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: found)
        return tmp_path

    return make


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": "/home/me", "KAGGLE_USERNAME": "me"},
        SLURM_SHELL,
        SLURM_SHELL | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NODELIST": "node1"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0", **GKE},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"COLAB_GPU": "1"} | SLURM_TASK,
        {"COLAB_RELEASE_TAG": "r", "TPU_WORKER_HOSTNAMES": "a,b"},
        {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "JAX_COORDINATOR_ADDRESS": "a:1"},
    ],
    ids=lambda variables: "+".join(variables) or "laptop",
)
def test_alone(variables, tmp_path):
    assert expects_others(variables, root=tmp_path) == ""


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (SLURM_TASK, "SLURM_STEP_NUM_TASKS=8"),
        (MPI, "OMPI_COMM_WORLD_SIZE=4"),
        ({"PMI_SIZE": "2"}, "PMI_SIZE=2"),
        ({"TPU_WORKER_HOSTNAMES": "t-0,t-1", "TPU_WORKER_ID": "1"}, "TPU_WORKER_HOSTNAMES=t-0,t-1"),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "t-0"}, "MEGASCALE_COORDINATOR_ADDRESS=t-0"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, "JAX_COORDINATOR_ADDRESS=a:1"),
        (GKE, "JOB_COMPLETION_INDEX=1"),
    ],
)
def test_one_of_several(variables, reason, tmp_path):
    assert expects_others(variables, root=tmp_path) == reason


def test_tpu_vm(machine):
    root = machine("0x1ae0", "dev/vfio/0", driver=True)
    assert expects_others({}, root=root) == "its TPU"
    assert expects_others({"JAX_PLATFORMS": "tpu,cpu"}, root=root) == "its TPU"
    assert expects_others({"JAX_PLATFORMS": "cpu"}, root=root) == ""
    assert expects_others({"COLAB_RELEASE_TAG": "r"}, root=root) == ""


def test_tpu_vm_without_libtpu(machine):
    root = machine("0x1ae0", "dev/accel0", driver=False)
    # Alone and on its CPU, each machine of a slice would write to the same folder.
    with pytest.raises(InputError, match="libtpu is not installed"):
        expects_others({}, root=root)
    assert expects_others({"TPU_LIBRARY_PATH": "/lib/libtpu.so"}, root=root) == "its TPU"


def test_another_device_behind_vfio_is_no_tpu(machine):
    assert expects_others({}, root=machine("0x10de", "dev/vfio/0", driver=True)) == ""


def test_gpus_of_a_task():
    shown = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    one_a_node = SLURM_TASK | {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_LOCALID": "0",
    }
    assert local_device_ids(shown) is None
    assert local_device_ids(one_a_node | shown) == []
    # Four tasks share eight; or the launcher shows each its own.
    assert local_device_ids(SLURM_TASK | shown) == [2, 3]
    assert local_device_ids(SLURM_TASK | {"CUDA_VISIBLE_DEVICES": "1"}) == []
    assert local_device_ids(SLURM_TASK) == [1]
    assert local_device_ids(MPI | {"CUDA_VISIBLE_DEVICES": "0,1"}) == [1]
    assert local_device_ids(SLURM_TASK | {"JAX_LOCAL_DEVICE_IDS": "3"}) is None
    # Tasks that are not spread evenly: three on the second machine.
    uneven = SLURM_TASK | {"SLURM_STEP_TASKS_PER_NODE": "4,3(x2)"} | shown
    assert local_device_ids(uneven) == [2, 3]
    assert local_device_ids(uneven | {"CUDA_VISIBLE_DEVICES": "0,1,2"}) == [1]
