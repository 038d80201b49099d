"""Jobs are found by folder and by entry points, described without being imported, and light where no jax is used."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from emjax import jobs, main
from emjax.blocks.lock import FolderLock
from emjax.errors import InputError
from emjax.runs.default_folder import TAKEN_OVER

from .running import read_refusal

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "grain"}
HOST_JOBS = ("convert", "objects", "evaluate", "segment", "view", "tune", "postprocess")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package beside emjax that offers a job, one without `run`, and one that is not there."""
    (tmp_path / "toy_job.py").write_text(
        '"""Writes down a seed."""\n'
        "def run(config, workdir):\n"
        "    import pathlib\n"
        "    pathlib.Path(workdir).write_text(str(config.seed))\n"
    )
    (tmp_path / "idle_job.py").write_text("")
    info = tmp_path / "toy_job-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy_job\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[emjax.jobs]\ntoy = toy_job\nidle = idle_job\nlost = no_such_module\n"
    )
    (tmp_path / "toy.py").write_text(
        "from emjax.config import base_config\ndef get_config():\n    return base_config('toy')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_module_of_the_folder_is_a_job_with_a_description():
    described = jobs.describe_jobs()
    assert {"pretrain", "finetune", "predict", "demo", *HOST_JOBS} <= described.keys()
    for name, line in described.items():
        assert line and not line.endswith(".") and len(line) < 110, name


def test_a_job_of_an_installed_package_runs(outside):
    assert main.main(["--config", "toy.py", "--config.seed=7", "--workdir", "seed.txt"]) == 0
    assert (outside / "seed.txt").read_text() == "7"
    described = jobs.describe_jobs()
    assert described["toy"] == "Writes down a seed" and described["lost"] == ""
    with pytest.raises(InputError, match=r"job 'idle': idle_job has no function run"):
        jobs.find_job("idle")
    with pytest.raises(InputError, match="'lost' cannot be imported from no_such_module"):
        jobs.find_job("lost")
    with pytest.raises(InputError, match="'tou' is not a job; did you mean 'toy'"):
        jobs.find_job("tou")


def test_help_lists_all_jobs_and_imports_none(capsys):
    code = (
        "import sys\nfrom emjax.main import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "assert not [name for name in sys.modules if name.startswith('emjax.jobs.')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, line in jobs.describe_jobs().items():
        assert f"  {name} " in done.stdout and line in done.stdout


def test_host_jobs_and_what_their_workers_unpickle_import_no_jax():
    """The works are made as a job makes them, by a process without jax, and unpickled by a fresh one, as dask does."""
    code = (
        "import importlib, sys\n"
        f"for name in {HOST_JOBS}:\n"
        "    importlib.import_module(f'emjax.jobs.{name}')\n"
        "import pickle\n"
        "from emjax.jobs.evaluate.passes import LookUpPoints, Source\n"
        "from emjax.geometry.box import Box\n"
        "from emjax.volumes.write.casting import Cast\n"
        "from emjax.jobs.convert.passes import Copy\n"
        "from emjax.volumes.write.zarr import ZarrOutput\n"
        "import emjax.segmentation.passes, emjax.jobs.objects, emjax.blocks.dask_engine\n"
        "works = [LookUpPoints(Source('a.zarr'), 'parts', 'points.npz'),\n"
        "    Copy('a.zarr', ZarrOutput('b.zarr'), Cast('uint8', 'uint8', None), (0, 0, 0)),\n"
        "    emjax.segmentation.passes.Relabel(None, 'segments', 'out.zarr')]\n"
        f"heavy = sorted({HEAVY} & sys.modules.keys())\n"
        "assert not heavy, heavy\n"
        "sys.stdout.buffer.write(pickle.dumps(works))\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    code = (
        "import pickle, sys\n"
        "works = pickle.loads(sys.stdin.buffer.read())\n"
        "assert len(works) == 3\n"
        f"heavy = sorted({HEAVY} & sys.modules.keys())\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], input=made.stdout, check=True)


def test_flags_of_several_processes_are_refused_where_there_is_one(outside, capsys):
    flags = ["--coordinator=a:1", "--num_processes=2", "--process_id=1"]
    assert main.main(["--config", "toy.py", "--workdir", "seed.txt", *flags]) == 2
    assert "job 'toy' uses no accelerators" in capsys.readouterr().err
    assert not (outside / "seed.txt").exists()
    assert main.main(["--config", "toy.py", "--workdir=seed.txt", "--num_processes=1"]) == 0


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    ran = []

    def run(config, workdir):
        ran.append(config.job)
        if len(ran) == 1:
            with pytest.raises(InputError, match="another run: outer.*give another --workdir"):
                jobs.run_job(job, ConfigDict({"job": "inner"}), workdir)
            # By another name of the same folder.
            with pytest.raises(InputError, match="another run: outer"):
                jobs.run_job(job, ConfigDict({"job": "inner"}), tmp_path / "link")

    job = types.SimpleNamespace(run=run)
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert jobs.run_job(job, ConfigDict({"job": "outer"}), tmp_path / "run") == 0
    assert ran == ["outer"]
    shares = types.SimpleNamespace(run=run, LOCKS_FOLDER=True)
    with FolderLock(tmp_path / "run", "part"):
        assert jobs.run_job(shares, ConfigDict({"job": "other"}), tmp_path / "run") == 0


@pytest.mark.parametrize("config", sorted(path.stem for path in CONFIGS.glob("*.py")))
def test_a_second_run_in_a_folder_is_refused_in_one_line(config, tmp_path, capfd):
    """Of every job, by another name of the folder; benchmarks/two_at_once.py lets the first go on as well."""
    module = jobs.find_job(config)
    if getattr(module, "LOCKS_FOLDER", False) or config in TAKEN_OVER:
        pytest.skip("shares its folder by parts, or lets others use it")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with FolderLock(tmp_path / "run", "another job"):
        line = read_refusal(capfd, f"{CONFIGS / config}.py", tmp_path / "link" / "run", {})
    assert "is being written by another run: another job, process" in line
    assert "give another --workdir" in line


def test_volumes_are_looked_at_while_others_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ConfigDict()
    config.job = "view"
    job = types.SimpleNamespace(run=lambda config, workdir: 0)
    assert jobs.default_workdir(job, config) == "runs/view"
    # A page may be open for days: its folder is not locked.
    with FolderLock("runs/view", "view"):
        assert jobs.run_job(job, config, "runs/view") == 0
        config.job = "evaluate"
        with pytest.raises(InputError, match="written by another run: view"):
            jobs.run_job(job, config, "runs/view")
