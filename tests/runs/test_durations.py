from __future__ import annotations

import pytest

from emjax.config import base_config
from emjax.runs.durations import FILE, estimate, record, show_seconds
from emjax.volume_config import volume_config


def _training(steps, **fields):
    config = base_config("toy")
    config.num_steps = steps
    config.update(fields)
    return config


def test_the_same_command_takes_as_long_as_before(tmp_path):
    assert estimate(tmp_path / "run", _training(10)) == ""
    record(tmp_path / "run", _training(10), 600.4, None)
    record(tmp_path / "other", _training(20, seed=3), 900.0, None)
    assert estimate(tmp_path / "run", _training(10)) == "about 10 min, as the last time"
    # Another seed, more steps: by the steps of the same network.
    assert estimate(tmp_path / "new", _training(40, seed=4)) == (
        "about 30 min: 20 steps of such a network took 15 min"
    )
    config = _training(40)
    config.data.batch_size = 3
    assert estimate(tmp_path / "new", config) == ""


def test_jobs_on_volumes_say_how_large_the_last_one_was(tmp_path):
    config = volume_config("segment")
    record(tmp_path / "a", config, 30.0, 2_000_000)
    config.box = "0:4,0:4,0:4"
    assert estimate(tmp_path / "b", config) == "the last one took 30 s for 2 Mvoxel"
    assert estimate(tmp_path / "b", volume_config("convert")) == ""


def test_what_cannot_be_read_or_written_is_left_out(tmp_path):
    (tmp_path / FILE).write_text('broken\n[1]\n{"job": "toy"}\n')
    assert estimate(tmp_path / "run", _training(10)) == ""
    record("gs://bucket/run", _training(10), 1.0, None)
    record(tmp_path / "no" / "folder" / "run", _training(10), 1.0, None)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times(seconds, text):
    assert show_seconds(seconds) == text
