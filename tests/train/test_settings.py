"""Settings are what the configuration says, frozen."""

from __future__ import annotations

import dataclasses

import pytest

from emjax.command_line import load_config
from emjax.config import pick, plain
from emjax.train.settings import OptimizerSettings, TrainSettings


def test_settings_are_read_once_from_the_configuration():
    config = load_config("configs/finetune.py:smoke")
    settings = TrainSettings.from_config(config)
    assert settings.job == "finetune" and settings.num_steps == 6
    assert settings.data.crop_size == (6, 64, 64) and settings.save.best_metric == "val_loss"
    assert settings.optimizer.betas == (0.9, 0.999) and settings.uses_ema
    assert (settings.eval_every_steps, settings.log_every_steps) == (3, 1)
    assert (settings.log_to, settings.log_project) == ("", "emjax")
    assert settings.mesh == {"data": -1, "fsdp": 1, "spatial": 1}
    with config.unlocked():
        config.num_steps = 7
    assert settings.num_steps == 6
    # As a checkpoint remembers them.
    assert TrainSettings.from_config(plain(load_config("configs/finetune.py:smoke"))) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.num_steps = 8


def test_every_field_of_the_group_is_read():
    group = plain(load_config("configs/pretrain.py").optimizer)
    assert set(group) == {field.name for field in dataclasses.fields(OptimizerSettings)}
    assert pick(OptimizerSettings, {**group, "others": 1}).name == group["name"]
