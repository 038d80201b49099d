"""What napari gets to draw, and what it saves; without napari, as the plugin needs none."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from emjax.errors import InputError
from emjax.viewing import napari_reader
from emjax.viewing.napari_reader import get_reader, read_points, read_volumes
from emjax.viewing.napari_writer import write_labels, write_points
from emjax.volumes.create import create_volume, open_created
from emjax.volumes.store import open_volume
from emjax.volumes.write.pyramid import plan_levels

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = yaml.safe_load((ROOT / "emjax" / "viewing" / "napari.yaml").read_text())


@pytest.fixture
def volumes(tmp_path):
    """An image with a place, and its ids without one."""
    image = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
    store = create_volume(
        tmp_path / "em.zarr", image.shape, "uint8", (40, 4, 4), {}, origin=(10, 0, 5)
    )
    store.write(image).result()
    with h5py.File(tmp_path / "ids.h5", "w") as file:
        file["neurons"] = (image // 50).astype(np.uint64)
    return tmp_path, image


def test_an_image_lies_where_its_file_says_in_nm(volumes):
    folder, image = volumes
    address = f"{folder}/em.zarr[1:3,2:6,:]"
    ((data, options, kind),) = get_reader(address)(address)
    assert kind == "image" and np.array_equal(np.asarray(data), image[1:3, 2:6])
    assert options["scale"] == (40, 4, 4) and options["units"] == ("nm",) * 3
    assert options["translate"] == (40 * 11, 4 * 2, 4 * 5)
    low, high = options["contrast_limits"]
    assert 0 <= low < high <= 255


def test_ids_are_labels_that_can_be_painted_and_lie_over_their_image(volumes):
    folder, image = volumes
    pair = f"{folder}/em.zarr|{folder}/ids.h5:neurons?voxel_nm=40,4,4"
    (_, first, _), (data, options, kind) = read_volumes(pair)
    assert kind == "labels" and isinstance(data, np.ndarray) and data.dtype == np.uint64
    assert np.array_equal(data, image // 50)
    assert options["translate"] == first["translate"] == (400, 0, 20)


def test_large_labels_are_read_as_they_are_looked_at(volumes, monkeypatch):
    folder, image = volumes
    monkeypatch.setattr(napari_reader, "PAINTED_BYTES", 10)
    ((data, options, kind),) = read_volumes(f"{folder}/ids.h5:neurons")
    assert kind == "labels" and not isinstance(data, np.ndarray)
    assert np.array_equal(np.asarray(data[2]), image[2] // 50)
    assert options["scale"] == (1, 1, 1) and "units" not in options


def test_levels_of_a_pyramid_and_a_level_by_itself_lie_as_ome_zarr_says(tmp_path):
    levels = plan_levels((8, 16, 16), (8.0, 8.0, 8.0), count=2)
    create_volume(tmp_path / "a.zarr", (8, 16, 16), "uint8", (8, 8, 8), {}, coarser=levels[1:])
    for number, level in enumerate(levels):
        open_created(tmp_path / "a.zarr", number).write(
            np.full(level.size, number + 1, np.uint8)
        ).result()
    ((data, options, _),) = read_volumes(f"{tmp_path}/a.zarr")
    assert [array.shape for array in data] == [(8, 16, 16), (4, 8, 8)]
    assert options["translate"] == (0, 0, 0)
    ((_, options, _),) = read_volumes(f"{tmp_path}/a.zarr?level=1")
    # The centre of a voxel of two by two by two is half a fine voxel further in.
    assert options["scale"] == (16, 16, 16) and options["translate"] == (4, 4, 4)


def test_a_viewer_gets_a_layer_for_each_volume(volumes):
    folder, _ = volumes

    class Viewer:
        def add_image(self, data, **options):
            return ("image", data.shape, options["name"])

        def add_labels(self, data, **options):
            return ("labels", data.shape, options["name"])

    pair = f"{folder}/em.zarr[0:2]|{folder}/ids.h5:neurons[0:2]?voxel_nm=40,4,4"
    assert napari_reader.add_volumes(Viewer(), pair) == [
        ("image", (2, 6, 8), "em.zarr"),
        ("labels", (2, 6, 8), "ids.h5:neurons"),
    ]


def test_channels_of_a_prediction_become_layers(tmp_path):
    attributes = {
        "targets": ["affinity"] * 3 + ["foreground"],
        "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], None],
        "scale": 255,
    }
    path = tmp_path / "p.zarr"
    create_volume(path, (4, 2, 3, 3), "uint8", (40, 4, 4), attributes)
    ((data, options, kind),) = read_volumes(str(path))
    assert kind == "image" and data.shape == (4, 2, 3, 3) and options["channel_axis"] == 0
    assert options["colormap"] == ["red", "green", "blue", "gray"]
    assert options["visible"] == [True, True, True, False]
    assert len(options["name"]) == 4 and len(options["scale"]) == 3


def test_what_is_no_volume_is_left_to_others(tmp_path):
    (tmp_path / "notes.h5x").write_text("?")
    assert get_reader(str(tmp_path / "notes.h5x")) is None
    assert get_reader(str(tmp_path / "absent.zarr")) is None


def test_labels_are_saved_where_they_lie_and_read_back(volumes):
    folder, _ = volumes
    ids = np.arange(24, dtype=np.uint64).reshape(2, 3, 4) << np.uint64(40)
    options = {
        "name": "fixed",
        "scale": (40, 4, 4),
        "translate": (400, 8, 20),
        "units": ("nm",) * 3,
    }
    path = str(folder / "fixed.zarr")
    assert write_labels(path, ids, options) == [path]
    assert np.array_equal(open_volume(path).store.read().result(), ids)
    ((data, read, kind),) = read_volumes(path)
    assert kind == "labels" and np.array_equal(data, ids)
    assert read["scale"] == (40, 4, 4) and read["translate"] == (400, 8, 20)
    with pytest.raises(InputError, match="exists; give another name"):
        write_labels(path, ids, options)


class Levels(Sequence):
    """A pyramid as napari hands it over: a sequence, but no list, with what arrays say of themselves."""

    def __init__(self, *levels):
        self.levels = levels
        self.shape, self.ndim, self.dtype = levels[0].shape, levels[0].ndim, levels[0].dtype

    def __len__(self):
        return len(self.levels)

    def __getitem__(self, index):
        return self.levels[index]


def test_of_a_pyramid_of_labels_the_finest_level_is_saved(tmp_path):
    ids = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    path = str(tmp_path / "pyramid.zarr")
    write_labels(path, Levels(ids, ids[::2, ::2, ::2]), {"scale": (40, 4, 4)})
    assert np.array_equal(open_volume(path).store.read().result(), ids)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((2, 2, 2)), {}, "float64"),
        (np.zeros((1, 1, 2, 2), int), {}, "axes z, y, x"),
        (np.zeros((2, 2, 2), int), {"rotate": np.eye(3)[::-1]}, "rotate"),
        (np.zeros((2, 2, 2), int), {"shear": [0, 0.5, 0]}, "sheared"),
    ],
)
def test_labels_that_no_volume_can_hold_are_refused(tmp_path, data, options, message):
    with pytest.raises(InputError, match=message):
        write_labels(str(tmp_path / "a.zarr"), data, options)
    assert list(tmp_path.iterdir()) == []


def test_points_are_saved_in_nm_and_read_back(tmp_path):
    path = str(tmp_path / "marks.csv")
    options = {"scale": (40, 4, 4), "translate": (400, 0, 20), "features": {"kind": ["split"]}}
    write_points(path, np.array([[1, 2.5, 3]]), options)
    assert (tmp_path / "marks.csv").read_text() == "z_nm,y_nm,x_nm,kind\n440,10,32,split\n"
    ((data, _, kind),) = get_reader(path)(path)
    assert kind == "points" and data.tolist() == [[440, 10, 32]]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="z_nm, y_nm, x_nm"):
        read_points(str(tmp_path / "other.csv"))


def test_the_manifest_names_functions_that_exist():
    contributions = MANIFEST["contributions"]
    commands = {command["id"]: command["python_name"] for command in contributions["commands"]}
    for name in commands.values():
        module, function = name.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    used = [c["command"] for kind in ("readers", "widgets", "writers") for c in contributions[kind]]
    assert sorted(used) == sorted(commands)


def test_the_manifest_is_valid_for_napari():
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(ROOT / "emjax" / "viewing" / "napari.yaml")
    assert manifest.name == "emjax" and len(manifest.contributions.writers) == 2


def test_finding_the_plugin_imports_nothing_heavy():
    code = "import sys, emjax.viewing; print({'jax', 'napari', 'neuroglancer', 'tensorstore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
