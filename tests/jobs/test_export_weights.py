"""An exported network is read back bit for bit, and its page says what it is."""

from __future__ import annotations

import hashlib
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from etils import epath

from emjax.errors import InputError
from emjax.runs.spec import RunSpec
from emjax.train.weights import restore_params, write_params

from .running import read_refusal, run_command

EXPORT, IMPORT = "configs/export_weights.py", "configs/import_weights.py"


@pytest.fixture
def trained(tmp_path):
    """A run with weights, as training leaves it."""
    rng = np.random.default_rng(0)
    params = {
        "backbone": {"stem": {"kernel": rng.normal(size=(1, 5, 5, 1, 4)).astype(np.float32)}},
        "odd": np.array([np.pi, -0.0, 1e-42], np.float32),
    }
    config = {
        "model": {"name": "unet", "widths": [4, 8]},
        "data": {
            "volumes": "a.h5:raw[0:16]|a.h5:labels[0:16]; b.zarr",
            "exclude": "a.h5:raw[16:20]",
        },
        "targets": "foreground?losses=bce",
    }
    spec = RunSpec(job="finetune", config=config, voxel_nm=(40.0, 4.0, 4.0))
    folder = tmp_path / "run"
    write_params(epath.Path(folder), params, spec)
    (folder / "results.json").write_text(json.dumps({"val_foreground_iou": 0.75}))
    return folder, params, spec


def test_round_trip(trained, tmp_path):
    folder, params, spec = trained
    output = tmp_path / "published"
    fields = {"checkpoint": folder, "output": output, "licence": "CC-BY-4.0"}
    assert run_command(EXPORT, tmp_path / "work", fields) == 0
    assert run_command(IMPORT, tmp_path / "imported", {"source": output}) == 0
    file = output / "model.safetensors"
    for path in (output, file, tmp_path / "imported"):
        weights = restore_params(path)
        assert jax.tree.structure(weights.params) == jax.tree.structure(params)
        for found, given in zip(*map(jax.tree.leaves, (weights.params, params)), strict=True):
            assert found.tobytes() == given.tobytes() and found.dtype == given.dtype
        assert weights.spec == spec
    # Any other reader finds the arrays by their paths.
    assert set(safetensors.numpy.load_file(file)) == {"backbone/stem/kernel", "odd"}

    page = (output / "README.md").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in page
    for text in (
        *("license: CC-BY-4.0", "# published", "40x4x4 nm", "a.h5:raw[0:16]|a.h5:labels[0:16]"),
        *("Never read: `a.h5:raw[16:20]`", "val_foreground_iou | 0.75", "foreground?losses=bce"),
        *("init_from=published", '"widths"', "| parameters | 103 |"),
    ):
        assert text in page


def test_commands_of_the_page_name_the_folder_whatever_its_title(trained, tmp_path):
    fields = {"checkpoint": trained[0], "output": tmp_path / "published", "name": "Fly neurons"}
    assert run_command(EXPORT, tmp_path / "work", fields) == 0
    page = (tmp_path / "published" / "README.md").read_text()
    assert "# Fly neurons\n" in page and "init_from=published\n" in page
    assert "checkpoint=published --config.input=VOLUME" in page


def test_what_is_there_is_not_replaced_unless_asked(trained, tmp_path, capfd):
    fields = {"checkpoint": trained[0], "output": tmp_path / "published"}
    assert run_command(EXPORT, tmp_path / "one", fields) == 0
    assert "holds an export" in read_refusal(capfd, EXPORT, tmp_path / "two", fields)
    assert run_command(EXPORT, tmp_path / "two", {**fields, "overwrite": True}) == 0


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"output": "x"}, "checkpoint is empty"),
        ({"checkpoint": "nowhere"}, "output is empty"),
        ({"checkpoint": "nowhere", "output": "x"}, "no such checkpoint"),
        ({"checkpoint": "nowhere", "output": "gs://x/y"}, "local folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capfd, monkeypatch, fields, match):
    assert match in read_refusal(capfd, EXPORT, tmp_path / "work", fields)


def test_a_file_of_others_is_no_checkpoint(tmp_path):
    safetensors.numpy.save_file({"w": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="holds no checkpoint"):
        restore_params(tmp_path)
