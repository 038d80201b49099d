from __future__ import annotations

import errno
import json
import os

import pytest
from etils import epath

from emjax.config import base_config
from emjax.errors import InputError
from emjax.runs import folder as run_folder
from emjax.runs.folder import (
    check_space,
    config_hash,
    describe_changes,
    is_finished,
    open_run_folder,
    write_results,
)


def _config(**fields):
    """A small configuration; names of fields have '__' between groups."""
    config = base_config("toy")
    config.num_steps = 12
    for name, value in fields.items():
        *groups, last = name.split("__")
        group = config
        for part in groups:
            group = group[part]
        group[last] = value
    return config


def _begin(folder, config):
    """Leaves what a run leaves that was interrupted after its first step."""
    opened = open_run_folder(folder, config)
    (opened / "metrics.jsonl").write_text('{"step": 1, "losses": [1.0]}\n')
    return opened


def test_hash_ignores_what_does_not_change_the_result():
    one = config_hash(_config())
    same = [
        _config(data__num_threads=9),
        _config(save__keep=1),
        _config(log__every_steps=1),
        _config(mesh__fsdp=2),
        _config(eval__every_steps=7),
        _config(overwrite=True),
    ]
    assert all(config_hash(config) == one for config in same)
    for name, value in {"seed": 1, "num_steps": 13, "data__crop_size": (2, 4, 8)}.items():
        assert config_hash(_config(**{name: value})) != one


def test_a_run_is_finished_once_it_has_results_of_this_configuration(tmp_path):
    assert not is_finished(tmp_path / "run", _config())
    _begin(tmp_path / "run", _config())
    assert not is_finished(tmp_path / "run", _config())
    write_results(epath.Path(tmp_path / "run"), {"loss": 1.0})
    assert is_finished(tmp_path / "run", _config(data__num_threads=9))
    assert not is_finished(tmp_path / "run", _config(seed=1))
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is not the config.json of a run"):
        is_finished(tmp_path / "run", _config())


def test_same_configuration_is_taken_up(tmp_path):
    _begin(tmp_path, _config())
    open_run_folder(tmp_path, _config(data__num_threads=9))
    assert (tmp_path / "metrics.jsonl").exists()
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["config"]["job"] == "toy" and "jax" in stored["versions"]


def test_other_configuration_is_refused(tmp_path):
    _begin(tmp_path, _config())
    with pytest.raises(InputError, match=r"seed: 0 -> 1.*--workdir.*overwrite=true"):
        open_run_folder(tmp_path, _config(seed=1))
    with pytest.raises(InputError, match=r"num_steps: 12 -> 24.*init_from="):
        open_run_folder(tmp_path, _config(num_steps=24))


def test_what_differs_from_the_run_of_a_folder(tmp_path):
    assert describe_changes(tmp_path, _config()) == ""
    long = "/a/folder/that/is/deep/" + 20 * "x/" + "em.h5:raw"
    open_run_folder(tmp_path, _config(data__volumes=long))
    assert describe_changes(tmp_path, _config(data__volumes=long)) == ""
    said = describe_changes(tmp_path, _config(data__volumes=long + "[0:8]", num_steps=13))
    # Addresses differ at their end, which must be seen.
    assert "em.h5:raw -> " in said and "em.h5:raw[0:8]; num_steps: 12 -> 13" in said


def test_a_refused_command_can_be_corrected(tmp_path):
    open_run_folder(tmp_path, _config(data__volumes="typing_error.h5"))
    open_run_folder(tmp_path, _config())


def test_overwrite_deletes_the_run_and_nothing_else(tmp_path):
    _begin(tmp_path, _config())
    (tmp_path / "notes.txt").write_text("mine")
    open_run_folder(tmp_path, _config(seed=1, overwrite=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "notes.txt"]


def test_overwrite_goes_on_when_interrupted_and_begins_anew_when_finished(tmp_path):
    config = _config(overwrite=True)
    _begin(tmp_path, config)
    open_run_folder(tmp_path, config)
    assert (tmp_path / "metrics.jsonl").exists()
    write_results(tmp_path, {"steps": 12})
    open_run_folder(tmp_path, config)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_foreign_config_file(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match="not the config.json of a run"):
        open_run_folder(tmp_path, _config())
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        open_run_folder(tmp_path / "file" / "run", _config())
    if os.getuid():  # root may write everywhere
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(InputError, match="cannot write to"):
            open_run_folder(closed, _config())


def test_a_full_disk_is_told_with_the_folder(tmp_path, monkeypatch):
    def write_text(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "write_json", write_text)
    with pytest.raises(OSError, match=f"left on device: '{tmp_path}/a'"):
        open_run_folder(tmp_path / "a", _config())


def test_no_space(tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_space(tmp_path, 250, keep=3)
    with pytest.raises(InputError, match="4 checkpoints need"):
        check_space(tmp_path, 251, keep=3)


def test_results_are_flat_and_finite(tmp_path):
    import numpy as np

    write_results(tmp_path, {"a": np.float32(0.5), "b": float("nan"), "steps": 3})
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": 0.5, "steps": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_relative_workdir_becomes_absolute(tmp_path, monkeypatch):
    # The default workdir is relative, and orbax refuses to write to such a path.
    monkeypatch.chdir(tmp_path)
    folder = open_run_folder("runs/toy", _config())
    assert str(folder) == str(tmp_path / "runs" / "toy")


def test_a_kill_while_the_old_run_is_deleted_leaves_what_says_whose_it_is(tmp_path, monkeypatch):
    folder = _begin(tmp_path, _config())
    write_results(folder, {"a": 1})
    (folder / "checkpoints" / "1").mkdir(parents=True)
    gone, real = [], epath.Path("/").__class__.unlink

    def unlink(path, *arguments, **options):
        if path.name in ("metrics.jsonl", "results.json", "config.json"):
            gone.append(path.name)
        if path.name == "results.json":
            raise KeyboardInterrupt
        real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(folder), "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            open_run_folder(tmp_path, _config(seed=1, overwrite=True))
    assert gone == ["metrics.jsonl", "results.json"] and not (folder / "checkpoints").exists()
    # Neither taken for a run of the new configuration, nor refused to the command that was killed.
    with pytest.raises(InputError, match="another configuration"):
        open_run_folder(tmp_path, _config(seed=1))
    open_run_folder(tmp_path, _config(seed=1, overwrite=True))
    assert not (folder / "results.json").exists()


def test_overwrite_deletes_nothing_that_it_is_to_read(tmp_path):
    _begin(tmp_path, _config())
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path)
    for source in ("", "/checkpoints/1", "/link"):
        config = _config(seed=1, overwrite=True, init_from=f"{tmp_path}{source}")
        with pytest.raises(InputError, match="would delete .*, which init_from names"):
            open_run_folder(tmp_path, config)
    (tmp_path / "plots").symlink_to(tmp_path / "checkpoints")
    with pytest.raises(InputError, match="plots, a link to"):
        open_run_folder(tmp_path, _config(seed=1, overwrite=True))
    assert (tmp_path / "checkpoints" / "1").exists()
