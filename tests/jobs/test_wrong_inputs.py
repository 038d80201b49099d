"""Wrong inputs of every job, as a new user would give them: one line, exit status 2, nothing written or deleted."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.volumes.create import create_volume

from .running import read_refusal

# Job and preset, fields, and words of the answer.
CASES = [
    # Inputs that are no volume, or not the one that was meant.
    ("convert", "", "input is empty"),
    ("convert", "input=nothing.h5 output=o.zarr", "no such path: nothing.h5"),
    ("convert", "input=zero.npy output=o.zarr", "is empty: it has axes of (0, 20, 30)"),
    ("convert", "input=zero.h5:raw output=o.zarr", "empty"),
    ("convert", "input=cut.npy output=o.zarr", "is cut short"),
    ("convert", "input=rgb.npy output=o.zarr", "looks like channels"),
    ("convert", "input=halves.npy output=o.zarr kind=labels dtype=uint32", "whole numbers"),
    ("convert", "input=halves.npy output=o.zarr dtype=uint8", "value_range=LOW,HIGH"),
    ("convert", "input=a.npy?t=1 output=o.zarr", "one time alone"),
    ("convert", "input=a.npy?t=x output=o.zarr", "t=x is not a whole number"),
    ("convert", "input=text.mrc output=o.zarr", "is no MRC"),
    ("convert", "input=text.nii output=o.zarr", "cannot be read as NIfTI"),
    ("convert", "input=text.nii.gz output=o.zarr", "cannot be read as NIfTI"),
    ("convert", "input=text.nrrd output=o.zarr", "cannot be read as NRRD"),
    ("convert", "input=text.zip output=o.zarr", "cannot be read"),
    ("convert", "input=text.tif output=o.zarr", "text.tif"),
    ("convert", "input=text.h5:raw output=o.zarr", "text.h5"),
    ("convert", "input=text output=o.zarr", "is no format that is known"),
    ("convert", "input=a.npy:raw output=o.zarr", "has no datasets inside"),
    ("convert", "input=a.npy?level=1 output=o.zarr", "no pyramid"),
    ("convert", "input=a.npy?missing=fill output=o.zarr", "nothing can be absent"),
    ("convert", "input=~nosuchuser/x.npy output=o.zarr", "home directory"),
    ("convert", "input=many.h5 output=o.zarr", "one"),
    ("convert", "input=many.h5:on output=o.zarr", "one"),
    ("convert", "input=many.h5:link output=o.zarr", "link"),
    ("convert", "input=a.npy[0:99] output=o.zarr", "99"),
    ("convert", "input=a.npy?voxel_nm=8 output=o.zarr", "voxel_nm"),
    ("convert", "input=a.npy?voxl_nm=8,8,8 output=o.zarr", "voxel_nm"),
    # Outputs that cannot be, or would replace what emjax did not write.
    ("convert", "input=a.npy output=o.nrrd", "the name must say the format"),
    ("convert", "input=a.npy output=text", "the name must say the format"),
    ("convert", "input=a.npy output=mine.h5 overwrite=true", "did not write and will not delete"),
    ("convert", "input=a.npy output=text.h5 overwrite=true", "no HDF5 file"),
    ("convert", "input=a.npy output=folder.zarr overwrite=true", "is no zarr volume"),
    ("convert", "input=p.zarr output=p.zarr overwrite=true", "are in one place"),
    ("convert", "input=a.npy output=text/o.zarr", "text"),
    ("convert", "input=a.npy output=o.zarr block_size=4,4", "three whole numbers"),
    ("convert", "input=a.npy output=o.zarr dtype=uint12", "did you mean 'uint32'"),
    ("convert", "input=a.npy output=o.zarr cluster=slurm", "is not known"),
    ("convert", "input=a.npy outptu=o.zarr", "did you mean --config.output"),
    ("view", "volumes=zero.npy", "is empty"),
    ("view", "volumes=a.npy png=o.png sections=w=1", "sections"),
    ("view", "volumes=a.npy png=o.gif", "png"),
    ("evaluate", "segmentation=zero.npy labels=ids.npy", "is empty"),
    ("evaluate", "segmentation=ids.npy labels=small.npy", "(2, 20, 30)"),
    ("evaluate", "segmentation=a.npy labels=ids.npy", "looks like a grey image"),
    ("evaluate", "segmentation=ids.npy labels=ids.npy kind=semantics", "did you mean 'semantic"),
    ("objects", "input=zero.npy", "is empty"),
    ("objects", "input=a.npy", "looks like a grey image"),
    ("segment", "input=a.npy output=s.zarr", "was not made by configs/predict.py"),
    ("segment", "input=p.zarr output=s.tif", "this job writes OME-Zarr"),
    ("segment", "input=p.zarr output=s.zarr method=agglomerat", "did you mean 'agglomerate'"),
    ("segment", "input=p.zarr output=s.zarr settings=thresold=1", "threshold"),
    ("tune", "input=p.zarr labels=small.npy", "2, 20, 30"),
    ("tune", "input=p.zarr labels=ids.npy metric=vio", "did you mean 'voi'"),
    ("predict", "checkpoint=text input=a.npy output=o.zarr", "is a file, and no weights"),
    ("predict", "checkpoint=run input=a.npy output=o.zarr", "best.json is damaged"),
    ("predict", "checkpoint=nowhere input=a.npy output=o.zarr", "no such checkpoint"),
    ("predict", "checkpoint=run input=a.npy output=o.h5", "this job writes OME-Zarr"),
    ("predict", "checkpoint=run input=a.npy output=o.zarr part=4/4", "part"),
    ("export_weights", "checkpoint=text output=o", "is a file, and no weights"),
    ("import_weights", "source=text", "text"),
    ("attribute", "checkpoint=text input=a.npy region=all", "is a file, and no weights"),
    ("finetune", "data.volumes=zero.npy|zero.npy", "is empty"),
    ("finetune", "data.volumes=a.npy|a.npy", "looks like a grey image"),
    ("finetune", "data.volumes=a.npy", "has no labels"),
    ("finetune", "data.label_sections=-2", "must be at least 0"),
    ("finetune", "data.volumes=a.npy|ids.npy init_from=text", "is a file, and no weights"),
    ("finetune", "data.volumes=a.npy|ids.npy save.best_metric=val_los", "did you mean 'val_loss'"),
    ("finetune", "augment.fold_widht=3", "did you mean --config.augment.fold_width"),
    ("finetune", "data.volumes=a.npy|ids.npy augment.cutout_side=0,4", "cutout_side"),
    ("finetune:neuron", "", "did you mean 'neurons'"),
    ("pretrain:smoke", "data.volumes=zero.npy", "is empty"),
    ("pretrain:smoke", "data.volumes=", "data.volumes is empty"),
    ("pretrain:smoke", "data.volumes=a.npy save.best_metric=val_loss", "is no score of this run"),
    ("pretrain:smoke", "data.volumes=a.npy data.crop_size=4,65,64", "use (4, 64, 64)"),
    ("pretrain:smoke", "num_steps=many", "needs a whole number"),
    ("transfer", "arms=scratch,3d", "did you mean '2d'"),
    ("demo", "crop_size=8,64", "needs three positive numbers"),
    ("demo", "network=ours", "unknown preset 'ours'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Volumes, files that are none, and folders that look like runs."""
    place = tmp_path_factory.mktemp("wrong")
    grey = np.random.default_rng(0).integers(0, 255, (6, 20, 30)).astype(np.uint8)
    arrays = {
        "a": grey,
        "zero": grey[:0],
        "halves": grey + 0.5,
        "small": np.ones((2, 20, 30), "u4"),
    }
    arrays |= {"rgb": np.zeros((4, 5, 6, 3), np.uint8), "ids": np.ones((6, 20, 30), np.uint32)}
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    (place / "cut.npy").write_bytes((place / "a.npy").read_bytes()[:-5])
    for suffix in ("", ".mrc", ".nii", ".nii.gz", ".nrrd", ".zip", ".tif", ".h5"):
        (place / f"text{suffix}").write_text("x" * 2000)
    with h5py.File(place / "zero.h5", "w") as file:
        file["raw"] = grey[:0]
    with h5py.File(place / "many.h5", "w") as file:
        file["one"], file["other"] = grey, grey
        file["link"] = h5py.ExternalLink("gone.h5", "raw")
    with h5py.File(place / "mine.h5", "w") as file:
        file["main"] = grey
    (place / "folder.zarr").mkdir()
    (place / "folder.zarr" / "notes.txt").write_text("mine")
    (place / "run" / "checkpoints" / "1").mkdir(parents=True)
    (place / "run" / "best.json").write_text("")
    offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    attributes = {"targets": ["affinity"] * 3, "offsets": offsets, "scale": 255}
    create_volume(place / "p.zarr", (3, 6, 20, 30), "uint8", (40, 8, 8), attributes)
    return place


def _state(place: Path) -> dict[str, tuple[int, float]]:
    """Returns every file and folder with its size and time of change."""
    found = {}
    for root, folders, files in os.walk(place):
        for name in (*folders, *files):
            stat = os.lstat(os.path.join(root, name))
            found[os.path.join(root, name)] = (stat.st_size, stat.st_mtime_ns)
    return found


@pytest.mark.parametrize(("job", "fields", "words"), CASES, ids=lambda value: value[:40])
def test_one_line_and_nothing_written(job, fields, words, folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    before = _state(folder)
    values = dict(field.split("=", 1) for field in fields.split())
    name, colon, preset = job.partition(":")
    message = read_refusal(capfd, f"configs/{name}.py{colon}{preset}", folder / "w", values)
    assert words in message, message
    assert _state(folder) == before


def test_there_are_enough():
    assert len(CASES) >= 60 and len({job.partition(":")[0] for job, _, _ in CASES}) >= 13
