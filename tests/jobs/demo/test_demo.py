"""The demo's stages are commands that a user could type; finished ones are not run again; the report has everything."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from emjax import command_line
from emjax.config import plain
from emjax.errors import InputError
from emjax.jobs import demo, evaluate, finetune, predict, pretrain, segment
from emjax.jobs.demo.report import write_report
from emjax.jobs.demo.settings import Settings
from emjax.pictures.render import save_png
from emjax.runs.folder import open_run_folder, write_results

JOBS = (pretrain, finetune, predict, segment, evaluate)


@pytest.fixture
def ran(monkeypatch) -> list[tuple[str, dict]]:
    """Replaces the jobs by ones that write results and a picture, and remember what they were given."""
    calls: list[tuple[str, dict]] = []

    def run(config, workdir) -> int:
        calls.append((Path(workdir).name, plain(config)))
        folder = open_run_folder(workdir, config)
        (folder / "plots").mkdir(exist_ok=True)
        save_png(Path(folder) / "plots" / "a.png", np.full((4, 4, 3), 80, np.uint8))
        write_results(folder, {"voi": float(len(calls)), "val_loss": 0.5})
        return 0

    for job in JOBS:
        monkeypatch.setattr(job, "run", run)
    return calls


def test_every_command_is_one_that_can_be_typed(tmp_path):
    config = command_line.load_config("configs/demo.py")
    stages = demo.make_stages(Settings.from_config(config), tmp_path)
    assert [stage.name for stage in stages] == [
        "pretrain",
        *(f"{job}_pretrained" for job in ("finetune", "predict", "segment", "evaluate")),
        *(f"{job}_scratch" for job in ("finetune", "predict", "segment", "evaluate")),
    ]
    for stage in stages:
        words = shlex.split(stage.command(tmp_path))
        assert words[:3] == ["python", "-m", "emjax.main"]
        typed, flags = command_line.parse(words[3:])
        assert flags.workdir == str(tmp_path / stage.name)
        for name, value in stage.fields.items():
            field = typed
            for part in name.split("."):
                field = field[part]
            assert field == (value if isinstance(value, int | tuple) else str(value))


def test_the_arms_differ_in_what_they_start_from_alone(tmp_path):
    config = command_line.load_config("configs/demo.py")
    stages = {
        stage.name: stage for stage in demo.make_stages(Settings.from_config(config), tmp_path)
    }
    one, other = (dict(stages[f"finetune_{arm}"].fields) for arm in demo.ARMS)
    assert one.pop("init_from") == tmp_path / "pretrain"
    assert one == other


def test_results_report_and_going_on(ran, tmp_path, capfd):
    config = command_line.load_config("configs/demo.py:smoke")
    assert demo.run(config, tmp_path) == 0
    assert len(ran) == 9
    results = json.loads((tmp_path / "results.json").read_text())
    assert results == {
        "pretrained_voi": 5.0,
        "pretrained_val_loss": 0.5,
        "scratch_voi": 9.0,
        "scratch_val_loss": 0.5,
    }
    report = (tmp_path / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 9 - 2  # predict draws nothing of its own
    assert "src='http" not in report and "href" not in report  # nothing is fetched
    assert "<td class=best>5.000</td><td>9.000</td>" in report
    for name, _ in ran:
        assert f"<h3>{name}" in report
    assert str(tmp_path / "report.html") in capfd.readouterr().out
    # Again: nothing but what is not finished.
    (tmp_path / "segment_scratch" / "results.json").unlink()
    assert demo.run(config, tmp_path) == 0
    assert [name for name, _ in ran[9:]] == ["segment_scratch"]


def test_an_interrupted_stage_ends_the_demo(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "run", lambda config, workdir: 75)
    assert demo.run(command_line.load_config("configs/demo.py:smoke"), tmp_path) == 75
    assert [name for name, _ in ran] == ["pretrain", "finetune_pretrained"]
    assert not (tmp_path / "results.json").exists()


def test_an_unknown_preset():
    with pytest.raises(InputError, match="unknown preset 'smok'; did you mean 'smoke'"):
        command_line.load_config("configs/demo.py:smok")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop_size": (8, 64)}, r"crop_size=\(8, 64\): needs three positive numbers"),
        ({"finetune_steps": 0}, "finetune_steps=0: must be at least 1"),
    ],
)
def test_what_later_stages_would_refuse_is_refused_at_once(fields, message):
    config = command_line.load_config("configs/demo.py")
    for name, value in fields.items():
        config[name] = value
    with pytest.raises(InputError, match=message):
        Settings.from_config(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "vit"}, r"finetuning: data.crop_size=\(8, 64, 64\).*\(32, 160, 160\)"),
        ({"network": "ours"}, "unknown preset 'ours'"),
        ({"crop_size": (8, 65, 64)}, r"finetuning: .*use \(8, 64, 64\)"),
    ],
)
def test_networks_of_later_stages_are_looked_at_before_the_first(fields, message, ran, tmp_path):
    config = command_line.load_config("configs/demo.py")
    for name, value in fields.items():
        config[name] = value
    with pytest.raises(InputError, match=message):
        demo.run(config, tmp_path / "demo")
    assert not ran and not (tmp_path / "demo").exists()


def test_the_report_says_what_and_when_and_calls_nothing_better_that_is_equal(tmp_path):
    for stage in ("pretrain", "finetune_a", "finetune_b"):
        (tmp_path / stage / "plots").mkdir(parents=True)
        save_png(tmp_path / stage / "plots" / "crops.png", np.zeros((2, 2, 3), np.uint8))
    results = {"a_ap_50": 0.0, "b_ap_50": 0.0, "a_voi": 1.0, "b_voi": 2.0}
    report = write_report(tmp_path, ("a", "b"), results, {}, {"pretrain": 90.0}, {"training": 7})
    text = report.read_text()
    assert text.count("class=best") == 1 and "<td class=best>1.000</td>" in text
    assert "7 steps of training" in text and "It took 1.5 minutes" in text and "emjax 0." in text
    # Each picture once, those of the two networks beside each other, with what is to be seen.
    both = text.split("<div class=arms>")[1].split("</div>")[0]
    assert both.count("<img") == 2 and "<b>a</b>" in both and "<b>b</b>" in both
    assert text.count("<img") == 3 and "bright at the blue cross" in text
