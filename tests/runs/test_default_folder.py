from __future__ import annotations

from pathlib import Path

import pytest

from emjax.config import base_config
from emjax.runs.default_folder import choose_folder, folder_path
from emjax.runs.folder import open_run_folder, write_results
from emjax.volume_config import volume_config


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _training(**fields):
    config = base_config("toy")
    config.update(fields)
    return config


def _volume_job(output, threshold=0.5):
    config = volume_config("segment")
    config.output, config.threshold = output, threshold
    return config


def _begin(config):
    """Does what a command does that names no folder, up to its first step; returns its folder and what it says."""
    chosen = choose_folder(config)
    path = folder_path(config, chosen.number)
    open_run_folder(path, config)
    left = Path(path) / ("blocks" if config.get("output") else "metrics.jsonl")
    left.mkdir(exist_ok=True) if config.get("output") else left.write_text('{"step": 1}\n')
    return path, chosen.remark


def test_each_configuration_has_its_folder_and_finds_it_again():
    assert _begin(_training()) == ("runs/toy", "")
    path, remark = _begin(_training(seed=1))
    assert path == "runs/toy-2"
    assert (
        remark
        == "runs/toy is of another configuration (seed: 0 -> 1): this run works in runs/toy-2"
    )
    assert _begin(_training(seed=2))[0] == "runs/toy-3"
    # As after a kill.
    path, remark = _begin(_training(seed=1))
    assert path == "runs/toy-2" and "goes on in runs/toy-2" in remark
    # Not even once a lower number is free.
    for file in Path("runs/toy").iterdir():
        file.unlink()
    assert _begin(_training(seed=2))[0] == "runs/toy-3"
    assert _begin(_training(seed=3)) == ("runs/toy", "")


def test_what_was_refused_before_it_did_anything_is_taken_over():
    open_run_folder("runs/toy", _training())
    assert choose_folder(_training(seed=1)).number == 1
    # But not while a run is in it.
    assert choose_folder(_training(seed=1), is_held=lambda path: path == "runs/toy").number == 2
    # The same command twice: the lock of the folder refuses the second.
    assert choose_folder(_training(), is_held=lambda path: True).number == 1


def test_overwrite_replaces_the_run_under_the_plain_name():
    _begin(_training())
    _begin(_training(seed=1))
    assert choose_folder(_training(seed=2, overwrite=True)).number == 1
    assert choose_folder(_training(seed=1, overwrite=True)).number == 2


def test_more_steps_than_a_cosine_allows_are_a_run_of_its_own():
    _begin(_training(num_steps=10))
    remark = _begin(_training(num_steps=20))[1]
    assert "num_steps: 10 -> 20" in remark and "--config.init_from=runs/toy" in remark


def test_more_steps_of_a_constant_rate_go_on():
    def config(steps):
        config = _training(num_steps=steps)
        config.optimizer.schedule, config.optimizer.warmup_fraction = "constant", 0.0
        return config

    path, _ = _begin(config(10))
    write_results(path, {"steps": 10})
    assert _begin(config(20)) == ("runs/toy", "")
    # It is not finished then, also if it is stopped at once.
    assert not Path(path, "results.json").exists()
    assert choose_folder(config(10)).number == 2


def test_outputs_have_folders_of_their_own():
    assert _begin(_volume_job("out/a.zarr")) == ("runs/segment/a", "")
    assert _begin(_volume_job("b.zarr")) == ("runs/segment/b", "")
    path, remark = _begin(_volume_job("there/a.zarr"))
    assert path == "runs/segment/a-2" and "output: out/a.zarr -> there/a.zarr" in remark
    # One output, however it is written, and whatever else differs: what made it must be known.
    assert _begin(_volume_job(f"{Path.cwd()}/out/../out/a.zarr/", 0.7))[0] == "runs/segment/a"
    assert _begin(_volume_job("there/a.zarr"))[0] == "runs/segment/a-2"


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("out.h5:volumes/raw", "out-volumes-raw"),
        ("gs://bucket/a/em.zarr", "em"),
        ("precomputed://x.precomputed", "x"),
        ("..", "segment"),
    ],
)
def test_names(output, name):
    assert Path(folder_path(_volume_job(output))).name == name
