from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.train.run_spec import RunSpec
from emjax.train.transfer import merge_params
from emjax.train.weights import Weights

from .toy import ToyTask, run_toy, same, toy_config


def _tree(encoder=(4, 4), head=(4, 1), **more):
    backbone = {"encoder": {"kernel": np.ones(encoder)}, "head": {"kernel": np.ones(head)}}
    return {"backbone": backbone} | more


def _weights(tree, job="pretrain"):
    return Weights(params=tree, spec=RunSpec(job=job, config={}), source="runs/old")


def test_backbone_moves_and_heads_stay():
    merged, table = merge_params(
        _tree(), _weights(_tree(matcher={"kernel": np.ones(2)})), "finetune"
    )
    assert merged["backbone"]["encoder"]["kernel"] is not None
    assert merged["backbone"]["head"]["kernel"] is None
    assert "backbone/encoder 16 of 16 parameters" in " ".join(table.split())
    assert "backbone/head 0 of 4 parameters" in " ".join(table.split())


def test_same_job_takes_heads_too():
    merged, _ = merge_params(_tree(), _weights(_tree()), "pretrain")
    assert merged["backbone"]["head"]["kernel"] is not None


def test_other_network_is_an_error_that_lists_paths():
    with pytest.raises(
        InputError, match=r"only 0%.*backbone/encoder/kernel \(4, 4\) \(there: \(8, 4\)\)"
    ):
        merge_params(_tree(), _weights(_tree(encoder=(8, 4))), "finetune")


def test_run_starts_from_another(tmp_path):
    first = run_toy(toy_config(), tmp_path / "a")
    config = toy_config(init_from=str(tmp_path / "a"), num_steps=1)
    config.optimizer.learning_rate = 1e-20
    config.optimizer.final_learning_rate = 0.0
    second = run_toy(config, tmp_path / "b")
    assert same(first.params, second.params)
    other = toy_config(init_from=str(tmp_path / "a"), num_steps=1)
    with pytest.raises(InputError, match="only 0%"):
        run_toy(other, tmp_path / "c", task=ToyTask(width=5))
