"""Every configuration that is shipped can be read, and every preset makes its task."""

from __future__ import annotations

import runpy

import pytest

from emjax.command_line import REPOSITORY, load_config
from emjax.config import flatten, plain, validate
from emjax.main import find_job
from emjax.tasks.build import build_pretrain, build_segment
from emjax.train.preparation import with_strides

CONFIGS = sorted(path.stem for path in (REPOSITORY / "configs").glob("*.py"))


def _presets(name: str) -> list[str]:
    return sorted(runpy.run_path(str(REPOSITORY / "configs" / f"{name}.py"))["PRESETS"])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_names_a_job(name):
    config = load_config(f"configs/{name}.py")
    assert callable(find_job(config.job).run)
    # Only plain values: they are stored as JSON, and overridden on the command line.
    kinds = (str, int, float, bool, list)
    assert all(isinstance(value, kinds) for value in flatten(plain(config)).values())


@pytest.mark.parametrize("preset", _presets("pretrain"))
def test_presets_of_pretraining(preset):
    config = load_config(f"configs/pretrain.py:{preset}")
    validate(config)
    assert build_pretrain(with_strides(plain(config), ())).backbone.layers


@pytest.mark.parametrize("preset", [*_presets("finetune"), "nuclei,large", "mitochondria,smoke"])
def test_presets_of_finetuning(preset):
    config = load_config(f"configs/finetune.py:{preset}")
    validate(config)
    task = build_segment(with_strides(plain(config), (40, 8, 8)))
    assert task.backbone.out_channels == len(task.names)


def test_sizes_keep_what_is_learnt():
    nuclei = load_config("configs/finetune.py:nuclei,large")
    assert nuclei.targets == load_config("configs/finetune.py:nuclei").targets
    assert tuple(nuclei.data.crop_size) == (18, 160, 160)
