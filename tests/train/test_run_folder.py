"""One process reads and writes the folder of a training run; all learn what came of it."""

from __future__ import annotations

import json
import shutil

import pytest

from emjax.errors import InputError
from emjax.parallel import runtime
from emjax.runs.spec import RunSpec
from emjax.train.run_folder import open_training_folder, read_begun

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


def test_what_was_begun_says_which_network_it_has(tmp_path):
    """The last step that can be read; nothing where the command would begin anew."""
    config = toy_config()
    assert read_begun(tmp_path / "run", config) is None
    open_training_folder(tmp_path / "run", config)
    assert read_begun(tmp_path / "run", config) is None
    for step, text in ((4, json.dumps(RunSpec("toy", {"model": 4}).to_json())), (8, "{")):
        place = tmp_path / "run" / "checkpoints" / str(step) / "config"
        place.mkdir(parents=True)
        (place / "metadata").write_text(text)
    begun = read_begun(tmp_path / "run", config)
    assert begun is not None and begun.config == {"model": 4}
    assert read_begun(tmp_path / "run", toy_config(seed=1)) is None
    again = toy_config(overwrite=True)
    assert read_begun(tmp_path / "run", again) is not None
    (tmp_path / "run" / "results.json").write_text("{}")
    assert read_begun(tmp_path / "run", again) is None
