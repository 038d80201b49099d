"""Published weights through the command: a run that training starts from, and what became of each array."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from emjax.data.normalization import RULE
from emjax.models.build import build_backbone, init_params
from emjax.train.weights import restore_params

from .running import read_refusal, run_command

CONFIG = "configs/import_weights.py"
SMALL = {"model.decoder_widths": "2,2,2,2"}


def write_vit(path, width=64, depth=2, seed=0, **changed):
    """A ViT of two blocks in the layout of DINO, with what a checkpoint has besides."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 10, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (10, width),
    }
    for i in range(depth):
        layers = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width)}
        layers |= {"attn.proj": (width, width)}
        layers |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        for name, shape in layers.items():
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
    shapes |= changed
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(arrays, path)
    return arrays


def test_a_run_that_training_starts_from(tmp_path, capfd):
    arrays = write_vit(tmp_path / "vit.safetensors")
    folder = tmp_path / "run"
    fields = {"source": tmp_path / "vit.safetensors", **SMALL}
    deep = {"model.slices": 3, "model.stem_fill": "uniform_g"}
    assert run_command(CONFIG, folder, fields | deep) == 0
    printed = capfd.readouterr().out
    assert "family 'vit', network 'image_vit'" in printed
    assert "adapted    0" in printed and "unused     1 arrays\n  head.weight" in printed

    weights = restore_params(folder)
    assert weights.spec.job == "import_weights" and weights.spec.normalization == RULE
    model = weights.spec.config["model"]
    assert model["width"] == 64 and model["slices"] == 3
    params = weights.params["backbone"]
    green = arrays["patch_embed.proj.weight"][:, 1].transpose(1, 2, 0)
    np.testing.assert_array_equal(params["stem"]["kernel"][:, :, :, 0], [green] * 3)
    np.testing.assert_array_equal(
        params["encoder"]["blocks"]["qkv"]["kernel"][1], arrays["blocks.1.attn.qkv.weight"].T
    )
    # It is whole: the network that its configuration makes has these parameters and no others.
    backbone = build_backbone(model)
    x = jax.ShapeDtypeStruct((1, 3, 16, 16, 1), np.float32)
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    results = json.loads((folder / "results.json").read_text())
    assert results["arrays_unused"] == 1
    assert results["parameters_imported"] == sum(a.size for a in arrays.values()) - 640


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"source": ""}, "source is empty"),
        ({"source": "nowhere.pt"}, "no such file of weights"),
        ({"family": "resnet"}, "of no known family"),
        ({"model.slices": 2}, "model.slices=2"),
        ({"model.slices": 5, "model.section_stride": 2}, "model.section_stride=2"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capfd, fields, match):
    write_vit(tmp_path / "vit.safetensors")
    given = {"source": tmp_path / "vit.safetensors", **fields}
    assert match in read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert not (tmp_path / "run").exists()


def test_a_network_that_has_its_decoder_and_head_published(shared_data, tmp_path, capfd):
    source = shared_data / "weights" / "mip1_d2_1175k.chkpt"
    if not source.exists():
        pytest.skip("needs the real weights mip1_d2_1175k, which are not part of the repository")
    assert run_command(CONFIG, tmp_path / "run", {"source": source}) == 0
    printed = capfd.readouterr().out
    assert "unused     0 arrays" in printed and "anew       nothing" in printed
    fields = {"source": source, "model.slices": 3}
    assert "model.slices is no field" in read_refusal(capfd, CONFIG, tmp_path / "two", fields)
