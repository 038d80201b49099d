"""The first lines of a command: they come before anything that takes time, and once."""

from __future__ import annotations

import os

import pytest

from emjax import announcement
from emjax.announcement import announce, describe_start, remembered
from emjax.command_line import load_config
from emjax.field_overrides import override


def test_what_with_what_where_and_how_long(tmp_path):
    config = load_config("configs/pretrain.py:smoke")
    lines = describe_start(config, str(tmp_path / "run"))
    assert lines[0].startswith("pretrain     ") and len(lines[0]) > 30
    assert any(line.startswith("steps        ") and "crops of 4x64x64" in line for line in lines)
    assert any(line.startswith("volumes      synthetic://") for line in lines)
    assert f"writes       {tmp_path}/run" in lines and lines[-1].startswith(
        "takes        not known"
    )
    config = load_config("configs/segment.py")
    override(config, "input", "p.zarr" * 40)
    override(config, "output", "s.zarr")
    lines = describe_start(config, "runs/segment/s")
    assert "writes       s.zarr, and runs/segment/s" in lines
    assert max(map(len, lines)) < 130


def test_once_for_a_process_that_restarts_itself(monkeypatch, capsys):
    monkeypatch.delenv("EMJAX_ANNOUNCED", raising=False)
    config = load_config("configs/convert.py")
    began = announce(config, "runs/convert")
    assert capsys.readouterr().out.startswith("convert ")
    # The restarted process has the same number and environment.
    assert announce(config, "runs/convert") == pytest.approx(began)
    assert capsys.readouterr().out == ""
    # A process that was started by it has another number.
    monkeypatch.setenv("EMJAX_ANNOUNCED", f"{os.getpid() + 1} {began}")
    announce(config, "runs/convert")
    assert capsys.readouterr().out


def test_only_a_whole_run_is_remembered(tmp_path, monkeypatch):
    config, found = load_config("configs/convert.py"), []
    monkeypatch.setattr(announcement, "record", lambda *fields: found.append(fields))
    with remembered(config, tmp_path / "stopped", 1.0):
        pass
    for _ in range(2):
        with remembered(config, tmp_path / "run", 1.0):
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "results.json").write_text('{"voxels": 7}')
    # Neither what was stopped, nor what was finished before.
    assert [fields[3] for fields in found] == [7]
