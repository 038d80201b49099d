"""The comparison as a whole on a tiny transformer: what it writes, what it does not do again, what it refuses."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

import emjax.jobs.transfer
from emjax.errors import InputError
from emjax.jobs.transfer.arms import parse_arms
from emjax.jobs.transfer.weights import find_start, write_start
from emjax.models.presets import network
from emjax.tasks import segment
from emjax.train.weights import restore_params

from ...tasks.small import smooth_noise
from ..running import read_refusal, run_command
from ..test_import_weights import write_vit

CONFIG = "configs/transfer.py:mitochondria,vit_small"
ARMS = "center,2d,center+frozen"
SMALL = {
    "num_steps": 2,
    "seeds": "1,",
    "mesh.data": 1,
    "resamples": 20,
    "data.batch_size": 2,
    "data.crop_size": "3,16,16",
    "data.min_labelled": 0,
    "targets": "foreground?losses=bce",
    "model.width": 64,
    "model.depth": 1,
    "model.heads": 1,
    "model.mlp_width": 256,
    "model.position_grid": 3,
    "model.taps": "0,0,0",
    "model.decoder_widths": "2,2,2,2",
    "eval.crops": 2,
    "eval.every_steps": 2,
    "save.every_steps": 2,
}


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Fields of a comparison of two volumes and a file of weights."""
    folder = tmp_path_factory.mktemp("given")
    write_vit(folder / "vit.safetensors", depth=1)
    shape = (6, 48, 48)
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = smooth_noise(shape)
        file["mito"] = (smooth_noise(shape, seed=1) > 128).astype(np.uint8)
    address = f"{folder}/a.h5:raw[{{0}}]?voxel_nm=40,8,8|{folder}/a.h5:mito[{{0}}]"
    volumes = {"data.volumes": address.format("0:3"), "eval.volumes": address.format("3:6")}
    return {**SMALL, **volumes, "source": folder / "vit.safetensors"}


@pytest.fixture
def unchanged_crops(monkeypatch):
    """The middle of each window without augmentation, which takes long to compile."""

    def crop(key, window, labels, size, recipe, strong):
        del key, recipe, strong
        first = [(n - m) // 2 for n, m in zip(window.shape, size, strict=True)]
        middle = tuple(slice(f, f + m) for f, m in zip(first, size, strict=True))
        return window[middle].astype("float32") / 255, labels[middle]

    monkeypatch.setattr(segment, "augment_labelled", crop)


@pytest.mark.slow
@pytest.mark.usefixtures("unchanged_crops")
def test_a_comparison_and_its_continuation(fields, tmp_path, capfd, monkeypatch):
    folder = tmp_path / "compared"
    assert run_command(CONFIG, folder, {**fields, "arms": "center,center+frozen"}) == 0
    table = (folder / "table.md").read_text()
    assert "| center | " in table and "| center+frozen | " in table
    results = json.loads((folder / "results.json").read_text())
    assert results["center+frozen_val_foreground_iou_difference"] == pytest.approx(
        results["center+frozen_val_foreground_iou"] - results["center_val_foreground_iou"]
    )
    assert imread(folder / "plots" / "arms.png").std() > 0.01
    # The frozen encoder is that of the file; the decoder has learnt, and the samples were encoded once each.
    start = restore_params(folder / "weights" / "center").params["backbone"]
    trained = restore_params(folder / "center_frozen" / "seed1").params["backbone"]
    finetuned = restore_params(folder / "center" / "seed1").params["backbone"]
    np.testing.assert_array_equal(trained["stem"]["kernel"], start["stem"]["kernel"])
    assert np.any(finetuned["stem"]["kernel"] != start["stem"]["kernel"])
    assert set(trained) == set(finetuned) > set(start)
    assert len(list((folder / "center_frozen" / "seed1" / "encoded").iterdir())) == 2
    # Nothing is run again where all is done, but for what was lost.
    (folder / "center_frozen" / "seed1" / "results.json").unlink()
    monkeypatch.setattr(emjax.jobs.transfer, "run_training", None)
    assert run_command(CONFIG, folder, {**fields, "arms": "center,center+frozen"}) == 0
    assert json.loads((folder / "results.json").read_text()) == results
    capfd.readouterr()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"source": ""}, "source is empty, and the arm '2d' starts from it"),
        ({"seeds": "1,1"}, "seeds=(1, 1): give different whole numbers"),
        ({"resamples": 0}, "resamples=0"),
        ({"model.slices": 2}, "model.slices=2"),
        ({"data.crop_size": "3,24,16"}, "use (3, 32, 16)"),
        ({"model.depth": 2}, "has model.depth=1, and this comparison 2"),
        ({"source": "nowhere.pt"}, "no such file of weights"),
    ],
)
def test_bad_input_is_one_line_and_trains_nothing(fields, tmp_path, capfd, changed, words):
    given = {**fields, "arms": "scratch,2d,center", **changed}
    assert words in read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert not (tmp_path / "run").exists()


def _model(**changed):
    fields = {"width": 64, "depth": 1, "heads": 1, "mlp_width": 256, "position_grid": 3}
    return {**network("vit_small").to_dict(), **fields, "slices": 3, **changed}


def test_a_run_of_one_section_is_given_its_depth(tmp_path):
    write_vit(tmp_path / "vit.safetensors", depth=1)
    (plane, center, average, red) = parse_arms("2d,center,average,uniform_r")
    file = str(tmp_path / "vit.safetensors")
    run = write_start(tmp_path / "run", find_start(file, "", plane, _model()))
    for arm in (center, average):
        of_file, of_run = (find_start(source, "", arm, _model()) for source in (file, run))
        assert of_file.model == of_run.model
        kernels = [start.params["backbone"]["stem"]["kernel"] for start in (of_file, of_run)]
        np.testing.assert_allclose(*kernels, rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError, match="the arm 'uniform_r' needs colours"):
        find_start(run, "", red, _model())
    deep = write_start(tmp_path / "deep", find_start(file, "", center, _model()))
    with pytest.raises(InputError, match="model.slices=3 already"):
        find_start(deep, "", center, _model())
    (own,) = parse_arms(f"own={deep}")
    assert find_start("", "", own, _model(slices=1)).model["slices"] == 3
