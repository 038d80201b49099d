"""Every configuration that is shipped can be read, and every preset makes its task."""

from __future__ import annotations

import math
import runpy
import subprocess
import sys

import jax
import pytest

from emjax.command_line import REPOSITORY, load_config
from emjax.config import flatten, plain, validate
from emjax.errors import InputError
from emjax.main import find_job
from emjax.models.presets import network
from emjax.parallel.mesh import check_batch_size, make_mesh
from emjax.parallel.sharding import describe_copies
from emjax.tasks.build import build_pretrain, build_segment
from emjax.train.optimizer import make_optimizer
from emjax.train.preparation import with_network
from emjax.train.settings import TrainSettings
from emjax.train.state import abstract_state

CONFIGS = sorted(path.stem for path in (REPOSITORY / "configs").glob("*.py"))


def test_networks_by_name_import_no_jax():
    code = (
        "import sys\nfrom emjax.models.presets import PRESETS, network\n"
        "known = {'unet', 'vit', 'rsunet', 'resnet', 'efficientnet_lite0', 'convnext', 'image_vit'}\n"
        "assert {network(name).name for name in PRESETS} == known\n"
        "assert not {'jax', 'flax', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(InputError, match="unknown preset of a network 'small_unett'; did you mean"):
        network("small_unett")


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
    assert build_pretrain(with_network(plain(config), ())).backbone.layers


@pytest.mark.parametrize("preset, millions", [("unet_l", 12.5), ("vit_l", 305.1)])
def test_large_presets_split_their_state_over_eight(preset, millions):
    config = load_config(f"configs/pretrain.py:{preset}")
    values = with_network(plain(config), (40, 4, 4))
    task = build_pretrain(values)
    mesh = make_mesh(values["mesh"], jax.devices()[:8])
    check_batch_size(config.data.batch_size, mesh)
    optimizer, _ = make_optimizer(
        TrainSettings.from_config(config).optimizer, config.num_steps, task.backbone.layers
    )
    state = abstract_state(task, optimizer, seed=0, ema=True, mesh=mesh)
    leaves = jax.tree.leaves(state.params)
    assert round(sum(leaf.size for leaf in leaves) / 1e6, 1) == millions
    assert not describe_copies(state.params)
    kept = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)
    assert kept < 0.15 * sum(leaf.size for leaf in leaves)
    assert values["model"]["dtype"] == "bfloat16" and values["model"]["remat"]


@pytest.mark.parametrize("preset", [*_presets("finetune"), "nuclei,large", "mitochondria,smoke"])
def test_presets_of_finetuning(preset):
    config = load_config(f"configs/finetune.py:{preset}")
    validate(config)
    task = build_segment(with_network(plain(config), (40, 8, 8)))
    assert task.backbone.out_channels == len(task.names)


def test_sizes_keep_what_is_learnt():
    nuclei = load_config("configs/finetune.py:nuclei,large")
    assert nuclei.targets == load_config("configs/finetune.py:nuclei").targets
    assert tuple(nuclei.data.crop_size) == (18, 160, 160)
