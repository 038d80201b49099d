"""The PyTorch twins are the same networks; the script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from emjax.models.build import apply, build_backbone, count_params, init_params

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
VIT = {"name": "vit", "width": 48, "depth": 2, "heads": 2, "head_width": 16, "mlp_width": 64}
NETWORKS = [
    {"name": "unet", "widths": (8, 12, 16), "skips": "add", "out_channels": 3},
    {"name": "unet", "widths": (6, 9), "skips": "none", "strides": ((2, 2, 2),)},
    {"name": "unet", "widths": (8, 12), "skips": "concat", "activation": "leaky_relu"},
    {**VIT, "taps": (0, 0, 1), "decoder_widths": (16, 8, 8, 4)},
]


@pytest.fixture
def twins(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from peers import torch_models, torch_runs

    return torch_models, torch_runs


def _network(fields):
    backbone = build_backbone(fields)
    rng = np.random.default_rng(0)
    image = rng.random((2, 8, 32, 32, 1), np.float32)
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, image), jax.random.key(0))
    params = jax.tree.map(lambda p: rng.normal(0.1, 0.2, p.shape).astype(np.float32), shapes)
    return backbone, params, image


@pytest.mark.parametrize("fields", NETWORKS)
def test_twin_computes_the_same(twins, fields):
    import torch

    torch_models, torch_runs = twins
    backbone, params, image = _network(fields)
    twin = torch_runs.build(backbone, image.shape[1:4])
    assert count_params(params) == sum(p.numel() for p in twin.parameters())
    torch_models.copy_parameters(params, twin)
    found = twin(torch.from_numpy(image).permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    wanted = np.asarray(apply(backbone, params, image)["output"])
    difference = np.abs(found.detach().numpy() - wanted).max()
    assert difference < 1e-4 * np.abs(wanted).max()


def test_parameters_of_another_network_are_refused(twins):
    torch_models, torch_runs = twins
    _, params, _ = _network(NETWORKS[1])
    other = torch_runs.build(build_backbone({"name": "unet", "widths": (6, 12)}), (8, 32, 32))
    with pytest.raises(ValueError, match="here"):
        torch_models.copy_parameters(params, other)


def test_quick_run_writes_what_it_measured(tmp_path):
    output = tmp_path / "models.json"
    command = [sys.executable, "models.py", "--quick", "--cases", "unet_infer"]
    run = subprocess.run(
        [*command, "--output", str(output)], cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "TIME unet_infer emjax" in run.stdout
    written = json.loads(output.read_text())
    assert len(written["timings"]["unet_infer"]["emjax"]["seconds"]) == 2
    assert written["machine"]["cores"] >= 1
