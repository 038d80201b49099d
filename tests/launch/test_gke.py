from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import yaml

from emjax import command_line
from emjax.parallel.environment import expects_others
from emjax.runs.exit_status import PREEMPTED

REPOSITORY = Path(__file__).resolve().parents[2]
GKE = REPOSITORY / "launch" / "gke"
MANIFESTS = ("jobset.yaml", "jobset_gpu.yaml")


def _load(name: str) -> dict:
    return yaml.safe_load((GKE / name).read_text())


def _job(name: str) -> dict:
    (job,) = _load(name)["spec"]["replicatedJobs"]
    return job["template"]["spec"]


def _container(name: str) -> dict:
    (container,) = _job(name)["template"]["spec"]["containers"]
    return container


def test_topology_equals_machines_times_chips():
    job = _job("jobset.yaml")
    topology = job["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = math.prod(int(side) for side in topology.split("x"))
    limits = _container("jobset.yaml")["resources"]["limits"]
    assert job["parallelism"] * limits["google.com/tpu"] == chips
    # More than one, or JAX is not told of the others.
    assert job["parallelism"] > 1


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_happens_when_a_pod_ends(name):
    job = _job(name)
    assert job["completions"] == job["parallelism"] and job["completionMode"] == "Indexed"
    # Kubernetes takes pod failure policies for pods that are never restarted in place alone.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["backoffLimit"] == 0 and _load(name)["spec"]["failurePolicy"]["maxRestarts"] > 0
    actions = {}
    for rule in job["podFailurePolicy"]["rules"]:
        for status in rule.get("onExitCodes", {"values": []})["values"]:
            assert rule["onExitCodes"]["containerName"] == _container(name)["name"]
            actions[status] = rule["action"]
    assert actions == {2: "FailJob", PREEMPTED: "Ignore"}
    (rule,) = _load(name)["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_command_is_one_of_emjax(name):
    config, flags = command_line.parse(_container(name)["args"])
    assert config.job == "pretrain" and flags.workdir.startswith("gs://")


def test_tpu_pods_are_found_by_what_gke_sets(tmp_path):
    # Nothing of ours overrides it, and flags would.
    container = _container("jobset.yaml")
    assert "env" not in container
    assert not [word for word in container["args"] if word.startswith("--coordinator")]
    hosts = ",".join(f"emjax-slice-0-{i}.emjax" for i in range(_job("jobset.yaml")["parallelism"]))
    variables = {"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": hosts}
    assert expects_others(variables, root=tmp_path) == f"TPU_WORKER_HOSTNAMES={hosts}"


def test_gpu_pods_are_given_the_name_of_the_first():
    jobset, container = _load("jobset_gpu.yaml"), _container("jobset_gpu.yaml")
    (replicated,) = jobset["spec"]["replicatedJobs"]
    name = jobset["metadata"]["name"]
    _, flags = command_line.parse(container["args"])
    host, port = flags.coordinator.split(":")
    assert host == f"{name}-{replicated['name']}-0-0.{name}" and port.isdigit()
    assert flags.num_processes == _job("jobset_gpu.yaml")["parallelism"]
    assert jobset["spec"]["network"]["enableDNSHostnames"] is True
    assert container["command"][2].startswith("exec ")


@pytest.mark.parametrize("name", MANIFESTS)
def test_jobset_schema(name):
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason="pip install kubeflow-trainer-api"
    )
    read = models.JobsetV1alpha2JobSet.from_dict(_load(name))
    # What the schema does not know is dropped on reading.
    assert _known(_load(name), read.to_dict()) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_schema_of_the_job(name):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": _job(name)}
    validate.validate(job, validate.latest_version(), strict=True)
    job["spec"]["podFailurePolicies"] = job["spec"].pop("podFailurePolicy")
    with pytest.raises(validate.ValidationError):
        validate.validate(job, validate.latest_version(), strict=True)


def test_only_the_tpu_needs_root():
    users = {
        name: _job(name)["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"]
        for name in MANIFESTS
    }
    assert users == {"jobset.yaml": 0, "jobset_gpu.yaml": 1000}


def _known(written: object, read: object, path: str = "") -> list[str]:
    """Paths of what was written and is not there, or another, after reading."""
    if isinstance(written, dict):
        found = read if isinstance(read, dict) else {}
        return [p for k in written for p in _known(written[k], found.get(k), f"{path}/{k}")]
    if isinstance(written, list):
        found = read if isinstance(read, list) else []
        found = found + [None] * (len(written) - len(found))
        pairs = enumerate(zip(written, found, strict=False))
        return [p for i, (a, b) in pairs for p in _known(a, b, f"{path}/{i}")]
    return [] if written == read else [path]


def test_dockerfile():
    lines = [line for line in (GKE / "Dockerfile").read_text().splitlines() if line[:1] not in "# "]
    instructions = [line.split(maxsplit=1) for line in lines if line]
    base = next(rest for kind, rest in instructions if kind == "ARG" and rest.startswith("BASE="))
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-\w+", base)
    assert ["FROM", "${BASE}"] in instructions
    # All is installed before, and what follows runs as nobody of importance.
    kinds = [kind for kind, _ in instructions]
    assert kinds.index("USER") > max(n for n, kind in enumerate(kinds) if kind in ("RUN", "COPY"))
    assert ["USER", "1000"] in instructions
    assert ["ARG", "EXTRA=tpu"] in instructions
    assert any(k == "RUN" and '".[${EXTRA}]"' in rest for k, rest in instructions)
    setup = (REPOSITORY / "setup.py").read_text()
    assert all(f'"{extra}": [' in setup for extra in ("tpu", "cuda"))
    copied = [rest.split()[:-1] for kind, rest in instructions if kind == "COPY"]
    sources = [source for group in copied for source in group]
    assert all((REPOSITORY / source).exists() for source in sources)
    # What setup.py reads has to be there.
    read = re.findall(r'HERE / "([^"]+)"', setup)
    assert read and set(read) <= set(sources)
