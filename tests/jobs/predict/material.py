"""What the tests of prediction read: checkpoints as training writes them, an image, and what is no image."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import jax
import numpy as np
import orbax.checkpoint as ocp

from emjax.command_line import load_config
from emjax.config import plain
from emjax.data.normalization import RULE
from emjax.runs.spec import RunSpec
from emjax.tasks.build import build_segment

from ...tasks.small import smooth_noise

SHAPE = (6, 40, 50)


def make_fields(folder: Path, output: Path, **fields: object) -> dict[str, object]:
    """Returns the fields of a command that predicts the image by the checkpoint, in two blocks."""
    return {
        "checkpoint": folder / "run",
        "input": f"{folder}/a.h5:raw?voxel_nm=40,8,8",
        "output": output,
        "batch_size": 8,
        "block_size": "6,20,50",
    } | fields


def write_material(folder: Path) -> None:
    """Writes a finetuned and a pretrained checkpoint, and a file with an image and everything that is none."""
    config = load_config("configs/finetune.py:smoke")
    config.data.crop_size = (4, 16, 16)
    config.model.widths = (4, 8)
    config.model.strides = ((1, 2, 2),)
    config.targets = "affinities?offsets=nearest; foreground?losses=bce"
    task = build_segment(plain(config))
    step = folder / "run" / "checkpoints" / "3"
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(step / "params", task.init(jax.random.key(0)))
    spec = RunSpec("finetune", plain(config), (40, 8, 8), RULE)
    _write_spec(step, spec)
    pretrained = RunSpec("pretrain", plain(load_config("configs/pretrain.py:smoke")))
    with ocp.PyTreeCheckpointer() as writer:
        writer.save(folder / "pretrained" / "params", {"a": np.zeros(3)})
    _write_spec(folder / "pretrained", pretrained)
    image = smooth_noise(SHAPE)
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = image
        file["raw"].attrs["resolution"] = (40.0, 8.0, 8.0)
        file["labels"] = (image // 64).astype(np.uint64)
        file["complex"] = image.astype(np.complex64)


def _write_spec(step: Path, spec: RunSpec) -> None:
    (step / "config").mkdir()
    (step / "config" / "metadata").write_text(json.dumps(spec.to_json()))
