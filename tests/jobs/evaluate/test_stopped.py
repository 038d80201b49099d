"""Scores of a run that was stopped, or whose parts are not what they were."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import h5py

from emjax.blocks import work
from emjax.jobs.evaluate import passes

from ..running import run_command
from .material import CONFIG, make_fields, refusal_after_work, score


def test_stopped_between_blocks(volumes, tmp_path, monkeypatch):
    count, counted = passes.count_block, []

    def stop(pair, block, **how):
        counted.append(block.index)
        if len(counted) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return count(pair, block, **how)

    monkeypatch.setattr(passes, "count_block", stop)
    fields = make_fields(volumes, block_size="1,40,48")
    assert run_command(CONFIG, tmp_path / "run", fields) == 75
    assert not (tmp_path / "run" / "results.json").exists() and counted == [0, 1]
    # What was counted is not counted again.
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert counted == [0, 1, 2, 3, 4, 5]
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (found["labels"], found["blocks_resumed"]) == (16, 2)
    # A finished run looks at the volumes anew.
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert len(counted) == 12


def test_parts_of_a_volume_that_was_replaced(volumes, tmp_path, monkeypatch):
    path = tmp_path / "b.h5"
    path.write_bytes(volumes.read_bytes())
    count = passes.count_block

    def stop(*args, **how):
        os.kill(os.getpid(), signal.SIGTERM)
        return count(*args, **how)

    monkeypatch.setattr(passes, "count_block", stop)
    fields = make_fields(path, block_size="1,40,48")
    assert run_command(CONFIG, tmp_path / "run", fields) == 75
    monkeypatch.setattr(passes, "count_block", count)
    path.unlink()
    with h5py.File(path, "w") as file, h5py.File(volumes) as old:
        file["labels"] = file["segments"] = old["labels"][()]
        file["raw"] = old["raw"][()]
    assert score(path, tmp_path / "run", block_size="1,40,48")["voi"] == 0


def test_damaged_part_is_named(volumes, tmp_path, monkeypatch, capfd):
    write = work.write_part

    def half(path, arrays):
        write(path, arrays)
        Path(path).write_bytes(Path(path).read_bytes()[:100])

    monkeypatch.setattr(work, "write_part", half)
    message = refusal_after_work(capfd, tmp_path / "run", make_fields(volumes))
    assert "block-0.npz" in message and f"delete the folder {tmp_path}/run/parts," in message
