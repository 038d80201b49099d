"""A network whose first kernel is known is explained, and what cannot be explained is refused."""

from __future__ import annotations

import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from emjax.data.normalization import RULE
from emjax.jobs.attribute.report import equalized, overlay
from emjax.models.build import build_backbone, init_params
from emjax.runs.spec import RunSpec
from emjax.train.weights import write_params
from tests.jobs.running import read_refusal, run_command

VIT = {
    **{"name": "image_vit", "width": 8, "depth": 1, "heads": 2, "mlp_width": 8, "patch": 2},
    **{"position_grid": 2, "taps": [], "decoder_widths": [2], "groups": 2, "slices": 3},
    **{"skips": "encoder", "decoder_kernel": [1, 1, 1]},
}
# Those that the job has to do something for; the others are tested where they are.
METHODS = "integrated_gradients,section_occlusion,guided_backpropagation,grad_cam"
CONFIG = "configs/attribute.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network whose kernel reads the section before twice as much as the one after, images and labels."""
    root = tmp_path_factory.mktemp("attribute")
    backbone = build_backbone(VIT)
    x = jax.ShapeDtypeStruct((1, 3, 8, 8, 1), jnp.float32)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda key: init_params(backbone, key, x), jax.random.key(0))
    params = jax.tree.map(lambda a: rng.normal(0, 0.4, a.shape).astype(np.float32), shapes)
    kernel = rng.normal(0, 0.3, (1, 2, 2, 1, 8)) * np.array([2, 3, 1.0])[:, None, None, None, None]
    params["stem"]["kernel"] = kernel.astype(np.float32)
    spec = RunSpec("import_weights", {"model": VIT}, (40, 8, 8), RULE)
    (root / "run").mkdir()
    write_params(epath.Path(root / "run"), {"backbone": params}, spec)
    with h5py.File(root / "a.h5", "w") as file:
        file["raw"] = rng.integers(0, 255, (6, 16, 16)).astype(np.uint8)
        labels = np.zeros((6, 16, 16), np.uint8)
        labels[:, :, 3:9] = 4
        file["labels"], file["none"] = labels, np.zeros_like(labels)
    return root


def _fields(folder, **more):
    given = {"checkpoint": folder / "run", "input": f"{folder}/a.h5:raw", "least_voxels": 5}
    return given | {"labels": f"{folder}/a.h5:labels", "tile_size": "(8,8)", "images": 4} | more


def test_shares_are_those_of_the_kernel(folder, tmp_path, capsys):
    fields = _fields(folder, methods=METHODS + ",gradient", ig_steps=50)
    assert run_command(CONFIG, tmp_path, fields) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    # The kernels of the sections are multiples of one another, so the slopes are, whatever comes behind.
    shares = [found[f"gradient_share_{i}"] for i in range(3)]
    np.testing.assert_allclose(shares, [1 / 3, 1 / 2, 1 / 6], atol=1e-4)
    assert np.isclose(found["gradient_neighbour_ratio"], 2, atol=1e-3)
    assert np.isclose(found["guided_backpropagation_neighbour_ratio"], 2, atol=1e-3)
    assert found["swap_sensitivity"] > 1e-3 and found["integrated_gradients_gap"] < 0.05
    assert "grad_cam_share_0" not in found
    page = (tmp_path / "report.html").read_text()
    assert "16 x 16 pixels" not in page and "8 x 8 pixels" in page
    assert "integrated gradients add up" in page and page.count("data:image/png") == 3
    printed = capsys.readouterr().out
    assert "integrated gradients add up to the answer within" in printed
    assert len(list((tmp_path / "plots").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"labels": ""}, "region=foreground needs labels"),
        ({"channel": "mito"}, "channel='mito' does not exist"),
        ({"channel": "1"}, "0 to 0"),
        ({"sections": 4}, "sections=4 have no neighbours"),
        ({"methods": "gradiant"}, "did you mean"),
        ({"region": "front"}, "region='front' is unknown"),
        ({"tile_size": "(8,7)"}, "not divisible"),
        ({"tile_size": "(32,32)"}, "a tile needs"),
        ({"images": 0}, "images=0 must be at least 1"),
    ],
)
def test_what_cannot_be_explained_is_refused(folder, tmp_path, capfd, fields, said):
    assert said in read_refusal(capfd, CONFIG, tmp_path, _fields(folder, **fields))


def test_labels_without_foreground_are_refused(folder, tmp_path, capfd):
    fields = _fields(folder, labels=f"{folder}/a.h5:none")
    assert "voxels of foreground" in read_refusal(capfd, CONFIG, tmp_path, fields)


def test_images_unlike_those_of_the_training_are_refused(folder, tmp_path, capfd):
    fields = _fields(folder, input=f"{folder}/a.h5:raw?voxel_nm=10,8,8", region="all")
    assert "was trained at 40x8x8 nm" in read_refusal(capfd, CONFIG, tmp_path, fields)


def test_a_map_lies_over_its_section():
    image = np.full((2, 2), 0.5)
    found = overlay(image, np.array([[0.0, 1.0], [0.0, 0.5]]))
    np.testing.assert_allclose(found[:, 0], 0.5)  # where there is nothing, the section is as it is
    inferno = np.array([0.988362, 0.998364, 0.644924])  # matplotlib's last colour of it
    np.testing.assert_allclose(found[0, 1], inferno, atol=1e-5)
    assert found[1, 1, 0] > found[1, 1, 2] > 0.2


def test_equalized_maps_have_every_grey_value_once():
    found = equalized(np.array([[4.0, -1, 0], [9, 2, 100]]))
    np.testing.assert_allclose(found, np.array([[3, 1, 0], [4, 2, 5]]) / 5)
    assert not equalized(np.ones((2, 2))).any()
