"""The job as a whole on a tiny network: its lists, what it remembers, and what it refuses."""

from __future__ import annotations

import csv
import json

import h5py
import jax
import numpy as np
import pytest
from matplotlib.image import imread

from emjax.geometry.box import Box
from emjax.jobs.suggest import lists, passes
from emjax.jobs.suggest.lists import link, make_rows
from emjax.volumes.store import open_volume

from ..predict.material import write_material
from ..running import read_refusal, run_command

CONFIG = "configs/suggest.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggest")
    write_material(folder)
    with h5py.File(folder / "a.h5", "a") as file:
        # Nothing to see in a corner.
        file["raw"][:, :16, :16] = 0
    return folder


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Of the eight that tests have: compiling for all takes longer than the rest."""
    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)


@pytest.fixture(scope="module")
def fields(folder):
    return {
        "input": f"{folder}/a.h5:raw",
        "checkpoint": folder / "run",
        "labelled": f"{folder}/a.h5:raw[0:3,0:16,16:32]",
        "size": "3,16,16",
        "budget": 4,
    }


def _rows(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_lists_and_their_continuation(fields, folder, tmp_path, monkeypatch, capfd):
    labels = {"labels": f"{folder}/a.h5:labels", "suspect_size": "3,16,16", "suspect_least": 0.3}
    fields = {**fields, **labels, "suspect_thickness": 1}
    chosen = passes.choose

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(passes, "choose", stop)
    with pytest.raises(KeyboardInterrupt):
        run_command(CONFIG, tmp_path / "run", fields)
    monkeypatch.setattr(passes, "choose", chosen)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # 2 x 2 x 3 boxes, each in one block; both passes were done before.
    assert results["candidates"] == 12
    assert results["candidates_labelled"] == 1
    assert results["candidates_blank"] == 2
    assert results["blocks_resumed"] == 2
    rows = _rows(tmp_path / "run", "suggestions")
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    places = {(row["z0"], row["y0"], row["x0"]) for row in rows}
    assert len(places) == 4 and (0, 0, 16) not in places
    assert not places & {(0, 0, 0), (3, 0, 0)}
    first = rows[0]
    assert open_volume(first["address"]).size == (3, 16, 16)
    assert first["y1_nm"] - first["y0_nm"] == 16 * 8 and first["link"] == ""
    assert first["address"] in first["view"]
    with (tmp_path / "run" / "suggestions.csv").open() as file:
        assert [row["address"] for row in csv.DictReader(file)] == [r["address"] for r in rows]
    for name in ("suggestions", "suspects"):
        assert imread(tmp_path / "run" / "plots" / f"{name}.png").std() > 0
    suspects = _rows(tmp_path / "run", "suspects")
    shares = [row["contradicted"] for row in suspects]
    assert shares == sorted(shares, reverse=True) and 0 < shares[0] <= 1
    # A prediction that is there already gives the same list, whole sections another one.
    given = {**fields, "prediction": tmp_path / "run" / "prediction.zarr", "labels": ""}
    assert run_command(CONFIG, tmp_path / "given", given) == 0
    assert _rows(tmp_path / "given", "suggestions") == rows
    sections = {**given, "size": "1,0,0", "budget": 2, "labelled": f"{folder}/a.h5:raw[0:1]"}
    assert run_command(CONFIG, tmp_path / "sections", sections) == 0
    found = _rows(tmp_path / "sections", "suggestions")
    assert all(row["z0"] > 0 and (row["y1"], row["x1"]) == (40, 50) for row in found)


REFUSED = [
    ({"checkpoint": ""}, "checkpoint is empty"),
    ({"input": ""}, "input is empty"),
    ({"budget": 0}, "budget=0"),
    ({"size": "3,16"}, "size=(3, 16)"),
    ({"size": "9,16,16"}, "is larger than"),
    ({"halo": "1,1,1"}, "halo"),
    ({"cluster": "local"}, "cluster=local"),
    ({"target_score": 0.9}, "target_score has no effect"),
    ({"labelled": "{folder}/a.h5:labels"}, "is no part of input"),
    ({"prediction": "{folder}/a.h5:raw"}, "was not made by configs/predict.py"),
    ({"labels": "mito={folder}/a.h5:labels"}, "targets read labels without a name"),
    ({"features": "{folder}/nothing"}, "no such checkpoint"),
    ({"curve": "runs/nothing"}, "cannot be read"),
]


@pytest.mark.parametrize(("changed", "words"), REFUSED)
def test_wrong_inputs(changed, words, fields, folder, tmp_path, capfd):
    changed = {k: v.format(folder=folder) if isinstance(v, str) else v for k, v in changed.items()}
    assert words in read_refusal(capfd, CONFIG, tmp_path / "run", {**fields, **changed})
    assert not (tmp_path / "run" / "config.json").exists()


def _run(folder, score, sections=0):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"val_loss": 1.0, "val_iou": score}))
    stored = {"config": {"data": {"label_sections": sections}}}
    (folder / "config.json").write_text(json.dumps(stored))
    return str(folder)


def test_a_curve_alone(tmp_path, capfd):
    runs = [_run(tmp_path / f"r{n}", 0.9 - 0.4 * n**-0.5, n) for n in (1, 2, 4)]
    more = _run(tmp_path / "more", 0.9 - 0.4 * 8**-0.5)
    fields = {"curve": f"{'; '.join(runs)}; 8={more}", "target_score": 0.85}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["curve_score_2x"] == pytest.approx(0.8, abs=0.01)
    assert results["curve_needed"] == pytest.approx(64, rel=0.1)
    assert "val_iou" in capfd.readouterr().out
    refused = {"curve": f"{more}; {fields['curve']}"}
    assert "was not limited" in read_refusal(capfd, CONFIG, tmp_path / "no", refused)
    fields["curve_score"] = "val_io"
    assert "did you mean 'val_iou'" in read_refusal(capfd, CONFIG, tmp_path / "no", fields)


def test_places_of_a_part_are_those_of_its_file(folder):
    volume = open_volume(f"{folder}/a.h5:raw[1:5,8:40]")
    (row,) = make_rows(volume, [Box((0, 8, 4), (2, 8, 8))], {"a": [np.float32("nan")]})
    assert (row["z0"], row["z1"], row["y0"], row["x0"], row["x1"]) == (1, 3, 16, 4, 12)
    assert (row["z0_nm"], row["y0_nm"]) == (20.0, 124.0) and row["a"] is None


def test_links_lead_to_volumes_on_the_network(folder, monkeypatch):
    monkeypatch.setattr(lists, "place_of", lambda *_: (0.0, 0.0, 0.0))
    volume = open_volume(f"{folder}/a.h5:raw")
    address = volume.address.parse("gs://bucket/em.zarr")
    placed = link(
        type(volume)(volume.store, (40, 8, 8), address, volume.box), Box((0, 0, 0), (2, 8, 8))
    )
    assert "neuroglancer" in placed and "zarr%3A//gs%3A//bucket/em.zarr" in placed
