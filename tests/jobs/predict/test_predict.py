"""The whole job on a tiny volume, killed and continued, and its answer to everything that a user can get wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from emjax.blocks.done import DoneBlocks
from emjax.command_line import load_config
from emjax.data.normalization import ALL_VOXELS, RULE, measure
from emjax.geometry.box import Box
from emjax.inference.predictor import Predictor
from emjax.jobs import predict
from emjax.jobs.predict import plan as predict_plan
from emjax.jobs.predict.settings import Settings
from emjax.tasks.build import build_segment
from emjax.volumes.attributes import read_attributes
from emjax.volumes.store import open_volume

from ...tasks.small import smooth_noise
from ..running import read_refusal, run_command
from .material import SHAPE, make_fields

CONFIG = "configs/predict.py"
pytestmark = pytest.mark.usefixtures("two_devices")
PROMISED = {"voxels", "voxels_per_s", "peak_rss_bytes", "blocks", "blocks_resumed"}


@pytest.mark.parametrize(("rule", "low"), [(RULE, 30), (ALL_VOXELS, 0)])
def test_the_rule_of_the_checkpoint_scales_the_images(folder, tmp_path, rule, low):
    shutil.copytree(folder / "run", tmp_path / "run")
    (metadata,) = tmp_path.rglob("metadata")
    spec = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(spec | {"normalization": rule}))
    padded = np.pad(np.clip(smooth_noise((4, 48, 48)), 40, 255), ((0, 0), (8, 8), (8, 8)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = padded
    fields = {"checkpoint": tmp_path / "run", "input": f"{tmp_path}/a.h5:raw", "output": "o.zarr"}
    config = load_config(CONFIG)
    for name, value in fields.items():
        config[name] = str(value)
    plan = predict_plan.make_plan(Settings.from_config(config))
    assert plan.normalization.low >= low
    assert (plan.normalization.low == 0) == (rule == ALL_VOXELS)


def _bytes(output: Path) -> dict[str, bytes]:
    files = (path for path in output.rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def finished(folder) -> Path:
    """The one run that the checks of results share."""
    output, workdir = folder / "one.zarr", folder / "one"
    assert run_command(CONFIG, workdir, make_fields(folder, output)) == 0
    return output


def test_replaced_images_and_weights_are_no_success(folder, finished, tmp_path, capfd) -> None:
    """What was made is put there by hand: predicting takes seconds."""
    shutil.copy(folder / "a.h5", tmp_path / "a.h5")
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.copytree(folder / "one", tmp_path / "one")
    fields = make_fields(tmp_path, folder / "one.zarr")
    stored = json.loads((tmp_path / "one" / "inputs.json").read_text())
    assert list(stored) == ["input", "checkpoint"]
    path = f"{tmp_path}/a.h5"
    stored["input"] = [f"{path}:raw?voxel_nm=40,8,8", {"path": path, "time_ns": 1, "bytes": 3}]
    (tmp_path / "one" / "inputs.json").write_text(json.dumps(stored))
    refusal = read_refusal(capfd, CONFIG, tmp_path / "one", fields)
    assert "a.h5 has" in refusal and "it had 3" in refusal and "overwrite=true" in refusal
    source = f"{tmp_path}/run/checkpoints/3/params"
    stored = {"checkpoint": [f"{tmp_path}/run", {"path": source, "digest": "x"}]}
    (tmp_path / "one" / "inputs.json").write_text(json.dumps(stored))
    refusal = read_refusal(capfd, CONFIG, tmp_path / "one", fields)
    assert f"{source} was written since" in refusal


def test_a_run_writes_what_was_promised(folder, finished) -> None:
    results = json.loads((folder / "one" / "results.json").read_text())
    assert set(results) >= PROMISED
    assert results["voxels"] == np.prod(SHAPE) and results["voxels_per_s"] > 0
    assert (results["blocks"], results["blocks_resumed"]) == (2, 0)
    assert json.loads((folder / "one" / "config.json").read_text())["config"]["job"] == "predict"

    volume = open_volume(str(finished))
    assert volume.shape == (4, *SHAPE) and volume.dtype == np.uint8
    assert volume.voxel_nm == (40, 8, 8)
    attributes = read_attributes(str(finished))
    assert attributes["targets"] == ["affinity"] * 3 + ["foreground"]
    assert attributes["offsets"] == [[-1, 0, 0], [0, -1, 0], [0, 0, -1], None]
    assert attributes["methods"] == ["agglomerate", "components"]
    assert attributes["scale"] == 1 / 255
    assert attributes["complete"] is True and "progress" not in attributes
    assert attributes["checkpoint"] == str(folder / "run" / "checkpoints" / "3" / "params")


def test_it_is_the_network_at_every_tile(folder, finished) -> None:
    """A volume of one tile: what `task.predict` says of the image, contrast stretched as in training."""
    output = folder / "tile.zarr"
    address = f"{folder}/a.h5:raw[1:5,3:19,4:20]?voxel_nm=40,8,8"
    fields = make_fields(
        folder, output, input=address, dtype="float16", block_size="()", batch_size=0
    )
    assert run_command(CONFIG, folder / "tile", fields) == 0
    weights = predict_plan.restore_params(folder / "run")
    image = open_volume(address)
    stretched = measure(image).apply(image.store.read().result())
    task = build_segment(weights.spec.config)
    expected = task.predict(weights.params, stretched[None].astype(np.float32) / 255)[0]
    found = open_volume(str(output)).store.read().result()
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), expected, atol=1e-3)
    assert read_attributes(str(output))["scale"] == 1.0


@pytest.mark.parametrize(
    ("block_size", "parts", "num_workers"),
    [("6,40,50", 1, 1), ("3,20,25", 1, 2), ("4,13,50", 2, 1)],
    ids=["1 block", "8 blocks, 2 workers", "8 uneven blocks, 2 parts"],
)
def test_any_partition_gives_the_same_voxels(
    folder, finished, tmp_path, block_size, parts, num_workers
) -> None:
    """Bit by bit, on one machine: tiles lie where the volume says, not where a block begins."""
    fields = make_fields(
        folder, tmp_path / "out.zarr", block_size=block_size, num_workers=num_workers
    )
    for part in range(parts):
        assert run_command(CONFIG, tmp_path / "run", fields | {"part": f"{part}/{parts}"}) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["blocks"] == (1 if block_size == "6,40,50" else 8)
    found = open_volume(str(tmp_path / "out.zarr")).store.read().result()
    whole = open_volume(str(finished)).store.read().result()
    assert len(np.unique(whole)) > 20
    np.testing.assert_array_equal(found, whole)


def test_blocks_and_boxes_do_not_matter(folder, finished) -> None:
    whole = open_volume(str(finished)).store.read().result()
    part = folder / "part.zarr"
    fields = make_fields(folder, part, box="1:5,10:31,0:29", block_size="2,21,7", num_workers=2)
    assert run_command(CONFIG, folder / "part", fields) == 0
    box = Box((1, 10, 0), (4, 21, 29))
    found = open_volume(str(part)).store.read().result()
    np.testing.assert_array_equal(found, whole[(slice(None), *box.slices)])
    scales = json.loads((part / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    moved = scales["datasets"][0]["coordinateTransformations"][1]["translation"]
    assert moved == [0, 40, 80, 0]


@pytest.mark.parametrize(
    ("channels", "kept"), [("nearest", [0, 1, 2]), ("foreground,affinity:0/0/-1", [3, 2])]
)
def test_some_channels_alone_are_written(folder, finished, channels, kept) -> None:
    output = folder / f"{len(kept)}.zarr"
    fields = make_fields(folder, output, channels=channels)
    assert run_command(CONFIG, folder / f"{len(kept)}", fields) == 0
    whole, part = (open_volume(str(path)).store.read().result() for path in (finished, output))
    np.testing.assert_array_equal(part, whole[kept])
    known, found = read_attributes(str(finished)), read_attributes(str(output))
    for name in ("targets", "offsets"):
        assert found[name] == [known[name][index] for index in kept]


def test_variants_run_and_change_the_prediction(folder, finished) -> None:
    output = folder / "variants.zarr"
    fields = make_fields(folder, output, variants=16, box="0:4,0:16,0:16", block_size="()")
    assert run_command(CONFIG, folder / "variants", fields) == 0
    plain_part = open_volume(f"{finished}[0:4,0:16,0:16]").store.read().result().astype(int)
    found = open_volume(str(output)).store.read().result().astype(int)
    # An untrained network is about as sure of an edge seen from either side.
    assert 0 < np.abs(found - plain_part).mean() < 60


def test_a_finished_run_is_not_done_again(folder, finished, monkeypatch) -> None:
    before, results = _bytes(finished), (folder / "one" / "results.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", lambda *_: pytest.fail("a block was done again"))
        assert run_command(CONFIG, folder / "one", make_fields(folder, finished)) == 0
    assert _bytes(finished) == before
    assert (folder / "one" / "results.json").read_text() == results


def test_parts_of_several_processes_make_the_same_volume(folder, finished) -> None:
    output = folder / "parts.zarr"
    first = make_fields(folder, output, part="0/2")
    assert run_command(CONFIG, folder / "parts", first) == 0
    assert not (folder / "parts" / "results.json").exists()
    assert run_command(CONFIG, folder / "parts", first | {"part": "1/2"}) == 0
    assert json.loads((folder / "parts" / "results.json").read_text())["blocks"] == 2
    _assert_same_voxels(output, finished)


def test_stopped_and_continued_is_the_same_volume(folder, finished, monkeypatch) -> None:
    output, workdir = folder / "stopped.zarr", folder / "stopped"
    real = Predictor.__call__

    def stop(self, read, block):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, read, block)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", stop)
        assert run_command(CONFIG, workdir, make_fields(folder, output)) == 75
    assert not (workdir / "results.json").exists()
    # What is said on the command line a second time must not undo the first.
    assert run_command(CONFIG, workdir, make_fields(folder, output, overwrite=True)) == 0
    assert json.loads((workdir / "results.json").read_text())["blocks_resumed"] == 1
    _assert_same_voxels(output, finished)


def _assert_same_voxels(output: Path, expected: Path) -> None:
    """Byte for byte, but for the name and the identity in the group's attributes."""
    one, other = _bytes(output), _bytes(expected)
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one if name != "zarr.json")


_KILLED = """
import os, sys, jax
jax.config.update("jax_num_cpu_devices", 2)
from emjax import main
from emjax.inference.predictor import Predictor
real = Predictor.__call__
def call(self, read, block):
    prediction = real(self, read, block)
    if block.index == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    return prediction
Predictor.__call__ = call
sys.exit(main.main(sys.argv[2:]))
"""


def test_killed_without_warning_and_continued_is_the_same_volume(folder, finished) -> None:
    output, workdir = folder / "killed.zarr", folder / "killed"
    fields = make_fields(folder, output)
    arguments = [f"--config.{name}={value}" for name, value in fields.items()]
    command = [sys.executable, "-c", _KILLED, "1", "--config", CONFIG, "--workdir", str(workdir)]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert DoneBlocks(workdir / "blocks", "").indices() == {0}
    assert run_command(CONFIG, workdir, fields) == 0
    assert json.loads((workdir / "results.json").read_text())["blocks_resumed"] == 1
    _assert_same_voxels(output, finished)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    folder, finished, caplog, monkeypatch
) -> None:
    output, workdir = folder / "full.zarr", folder / "full"
    real = Predictor.__call__

    def full(self, read, block):
        if block.index == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, read, block)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "__call__", full)
        assert run_command(CONFIG, workdir, make_fields(folder, output)) == 75
    said = [message for message in caplog.messages if "No space left" in message]
    assert len(said) == 1 and "block 1 [0:6,20:40,0:50]" in said[0] and "make room" in said[0]
    assert run_command(CONFIG, workdir, make_fields(folder, output)) == 0
    assert json.loads((workdir / "results.json").read_text())["blocks_resumed"] == 1
    _assert_same_voxels(output, finished)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"checkpoint": "nowhere"}, ["no such checkpoint", "nowhere"]),
        ({"checkpoint": ""}, ["checkpoint is empty", "--config.checkpoint"]),
        ({"checkpoint": "{}/pretrained"}, ["no targets", "finetune"]),
        ({"input": "{}/a.h5:row"}, ["no dataset 'row'", "raw"]),
        ({"input": "{}/a.h5:labels"}, ["uint64", "labels"]),
        ({"input": "{}/a.h5:complex"}, ["complex64"]),
        (
            {"input": "{}/a.h5:raw?voxel_nm=8,8,8", "resample": False},
            ["8x8x8", "40x8x8", "voxel_nm"],
        ),
        (
            {"input": "{}/a.h5:raw?voxel_nm=40,8,8.5", "resample": False, "variants": 16},
            ["variants=8"],
        ),
        ({"output": "{}/a.h5"}, ["writes OME-Zarr", "NAME.zarr"]),
        ({"output": "{}"}, ["in one place"]),
        ({"output": "{}/run"}, ["no zarr volume"]),
        ({"output": "{}/one.zarr"}, ["one.zarr exists", "overwrite=true"]),
        ({"box": "0:9"}, ["leaves the volume", "(6, 40, 50)"]),
        ({"dtype": "uint16"}, ["dtype='uint16'", "uint8"]),
        ({"blending": "gausian"}, ["did you mean 'gaussian'"]),
        ({"overlap": 0.1}, ["overlap=0.1", "0.25"]),
        ({"variants": 3}, ["1, 4, 8, 16"]),
        ({"tile_size": "4,15,16"}, ["tile_size=(4, 15, 16)", "stride"]),
        ({"block_size": "4,100"}, ["three whole numbers"]),
        ({"halo": "1,1,1"}, ["halo", "overlap"]),
        ({"part": "2/2"}, ["part=2/2", "0/4"]),
        ({"cluster": "local"}, ["cluster=local", "--config.part=I/N"]),
        ({"channels": "contour"}, ["no contour", "affinity[-1,0,0]", "foreground"]),
        ({"channels": "affinity:1"}, ["affinity:1", "affinity:-1/0/0"]),
        ({"cluster": "ssh://a:1"}, ["cluster='ssh://a:1'", "tcp://host:8786"]),
        ({"varaints": 8}, ["did you mean --config.variants"]),
    ],
)
def test_mistakes(folder, finished, tmp_path, capfd, monkeypatch, fields, words) -> None:
    monkeypatch.setattr(predict, "Predictor", lambda *_, **__: pytest.fail("it was compiled"))
    fields = {name: str(value).replace("{}", str(folder)) for name, value in fields.items()}
    given = make_fields(folder, tmp_path / "out.zarr") | fields
    message = read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert all(word in message for word in words), message
    assert not (tmp_path / "out.zarr").exists()


def test_processes_of_one_run_have_no_other_part_than_their_own(
    folder, tmp_path, capfd, monkeypatch
) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    fields = make_fields(folder, tmp_path / "out.zarr", part="1/2")
    message = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert "--num_processes=1" in message and "--config.part=I/4" in message
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    config = load_config(CONFIG)
    config.checkpoint, config.input, config.output = "run", "a.zarr", "b.zarr"
    settings = Settings.from_config(config)
    assert predict._as_one_of_several(settings).rank_and_world == (3, 4)


@pytest.mark.slow
def test_two_processes_of_one_run_share_the_blocks(folder, finished, tmp_path) -> None:
    """As one process predicts, and each of the two has done some of the blocks."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    fields = make_fields(folder, tmp_path / "out.zarr", block_size="3,20,25")
    command = [sys.executable, "-m", "emjax.main", "--config", CONFIG, f"--workdir={tmp_path}/run"]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    command += [f"--coordinator=localhost:{port}", "--num_processes=2"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    processes = [
        subprocess.Popen(
            [*command, f"--process_id={i}"], env=environment, stderr=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert read_attributes(str(tmp_path / "out.zarr"))["complete"]
    found = open_volume(str(tmp_path / "out.zarr")).store.read().result()
    np.testing.assert_array_equal(found, open_volume(str(finished)).store.read().result())
    for one, words in enumerate(said):
        assert f"process {one} of 2" in words and "predict: " in words, words
