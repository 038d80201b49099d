"""One process reads and writes the folder of a training run; all learn what came of it."""

from __future__ import annotations

import shutil

import pytest

from emjax.errors import InputError
from emjax.parallel import runtime
from emjax.train.run_folder import open_training_folder

from .toy import run_toy, toy_config


def test_process_0_claims_the_folder_alone(tmp_path, monkeypatch):
    folder = open_training_folder(tmp_path / "a", toy_config())
    assert (tmp_path / "a" / "config.json").exists() and str(folder) == str(tmp_path / "a")
    monkeypatch.setattr(runtime, "is_main", lambda: False)
    open_training_folder(tmp_path / "b", toy_config())
    assert not (tmp_path / "b").exists()


def test_all_processes_learn_that_process_0_was_refused(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="not the config.json of a run"):
        open_training_folder(tmp_path, toy_config())
    monkeypatch.setattr(runtime, "is_main", lambda: False)
    monkeypatch.setattr(runtime, "agree", lambda value: 1)
    with pytest.raises(InputError, match="was refused by process 0"):
        open_training_folder(tmp_path, toy_config())


def test_a_run_is_refused_where_its_checkpoints_have_no_room(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="GiB free"):
        run_toy(toy_config(), tmp_path / "run")
