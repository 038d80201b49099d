from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from emjax.command_line import parse

from ..docs.pages import undocumented

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOK = REPOSITORY / "launch" / "colab.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def _source(notebook: nbformat.NotebookNode, name: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.id == name)


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    for cell in code:
        ast.parse(cell.source)


def _fake_gpu(folder: Path) -> str:
    """A path on which a GPU is listed, though there is none that JAX could use."""
    (folder / "nvidia-smi").write_text('#!/bin/sh\necho "GPU 0: Tesla T4"\n')
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_gpu_runtime_on_the_cpu_fails_loudly(notebook, tmp_path):
    cells = [_source(notebook, name) for name in ("settings", "install", "check")]
    # As on Colab: nobody chose the platform, and JAX falls back without an error.
    done = _run("\n".join(cells), PATH=_fake_gpu(tmp_path), JAX_PLATFORMS="")
    assert done.returncode == 1
    assert "RuntimeError: this is a GPU runtime, but JAX found 'cpu" in done.stderr
    assert "this is a GPU runtime\nemjax is installed already" in done.stdout


@pytest.mark.parametrize(("gpu", "extra"), [(True, "[cuda]"), (False, "")])
def test_the_extra_follows_the_runtime(notebook, tmp_path, gpu, extra):
    # Neither git nor pip is run: what they would be asked is printed.
    cells = [_source(notebook, name) for name in ("settings", "install")]
    code = f'{cells[0]}\nREPOSITORY = "https://host/emjax.git"\n'
    before, after = cells[1].split("KIND = runtime_kind()")
    asked = "def python(*_): return type('Failed', (), {'returncode': 1})\n"
    asked += "KIND = runtime_kind()\nimport types\n"
    asked += "subprocess = types.SimpleNamespace(run=lambda command, check: print(command[-1]))\n"
    environment = {"PATH": _fake_gpu(tmp_path), "JAX_PLATFORMS": ""} if gpu else {}
    environment.setdefault("JAX_PLATFORMS", "cpu")
    done = _run(code + before + asked + after, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"emjax-source{extra}")


def test_without_a_repository_it_says_what_is_missing(notebook):
    cells = [_source(notebook, name) for name in ("settings", "install")]
    absent = cells[1].replace("import emjax.main", "import emjax_absent")
    # No address is shipped: one that nobody owns could install somebody else's code.
    done = _run("\n".join([cells[0], absent]), JAX_PLATFORMS="cpu")
    assert done.returncode == 1 and "emjax is not installed here: fill in REPOSITORY" in done.stderr


def test_a_repository_that_cannot_be_cloned_is_named(notebook, tmp_path):
    cells = [_source(notebook, name) for name in ("settings", "install")]
    absent = cells[1].replace("import emjax.main", "import emjax_absent")
    code = (
        f"import os; os.chdir({str(tmp_path)!r})\n{cells[0]}\nREPOSITORY = 'absent.git'\n{absent}"
    )
    done = _run(code, JAX_PLATFORMS="cpu")
    assert done.returncode == 1 and "ValueError: absent.git cannot be cloned" in done.stderr


def _jobs_of_own_volumes(notebook: nbformat.NotebookNode, fields: str) -> list[list[str]]:
    """Runs the last cell with these fields; its commands are checked, and not run."""
    run, own = _source(notebook, "run"), _source(notebook, "own")
    asked: list[list[str]] = []

    def emjax(*arguments: str) -> None:
        parse(arguments)
        asked.append(list(arguments))

    names = {"emjax": emjax, "show": lambda folder: None, "display": print, "SMALL": False}
    names |= {"WORK": "runs", "Image": lambda filename: filename}
    exec("def steps" + run.split("def steps")[1], names)
    before, after = own.split("OBJECTS = ")
    exec(f"{before}\n{fields}\nOBJECTS = {after}", names)
    return asked


def test_own_volumes_go_from_pretraining_to_a_scored_segmentation(notebook, capsys):
    fields = "IMAGES='a.h5:raw'; LABELLED='a.h5:raw[0:4]|a.h5:ids[0:4]'; CROP='a.h5:raw[8:9]'"
    fields += "; VALIDATION='a.h5:raw[5:7]|a.h5:ids[5:7]'; CROP_LABELS='a.h5:ids[8:9]'"
    asked = _jobs_of_own_volumes(notebook, fields)
    jobs = [arguments[1].removeprefix("configs/").partition(".py")[0] for arguments in asked]
    assert jobs == [
        *("pretrain", "finetune", "predict", "predict", "tune", "segment", "view", "evaluate"),
    ]
    assert "--config.init_from=runs/mine_pretrain" in asked[1]
    assert "--config.settings=runs/mine_tune" in asked[5]
    # Each has a folder of its own, so that none meets the marks of another.
    folders = [arguments[arguments.index("--workdir") + 1] for arguments in asked]
    assert len(set(folders)) == len(folders)
    few = _jobs_of_own_volumes(notebook, "LABELLED='a.h5:raw|a.h5:ids'; CROP='b.h5'")
    assert [arguments[1] for arguments in few][-1] == "configs/view.py" and len(few) == 4
    assert _jobs_of_own_volumes(notebook, "") == []
    assert "give the addresses of your volumes" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_from_pretraining_to_scores(notebook, tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient").NotebookClient
    monkeypatch.setenv("EMJAX_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    # Frozen modules make the debugger of the kernel warn.
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    shown = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    # One line of progress, a short report: not the log.
    printed = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    ]
    assert max(text.count("\n") for text in printed) < 40
    # Crops and curves of both trainings, and the pictures of segmentation and score.
    assert len(shown) >= 6
    for stage in ("pretrain", "finetune", "predict", "segment", "evaluate"):
        results = json.loads((tmp_path / "runs" / stage / "results.json").read_text())
        assert undocumented(results) == []
