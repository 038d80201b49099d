"""The job on files: blocks make no difference, and its answer to everything that a user can get wrong."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from matplotlib.image import imread

from emjax.volumes.create import create_volume

from ..running import read_refusal
from .material import (
    CONFIG,
    CREMI_BACKGROUND,
    SHAPE,
    make_fields,
    refusal_after_work,
    score,
)

CLEFTS = {
    "kind": "clefts",
    "labels": "{a}:clefts?voxel_nm=40,4,4",
    "segmentation": "{a}:moved",
    "background_ids": CREMI_BACKGROUND,
}


def test_clefts_of_a_cremi_file_against_themselves(volumes, tmp_path):
    address = f"{{a}}:clefts?voxel_nm=40,4,4&background={CREMI_BACKGROUND}"
    found = score(volumes, tmp_path, kind="clefts", labels=address, segmentation=address)
    assert found["foreground_iou"] == 1 and found["cremi_cleft"] == 0
    # The challenge's mark for no cleft is background without being named, too.
    fields = {
        "kind": "clefts",
        "labels": "{a}:clefts?voxel_nm=40,4,4",
        "segmentation": "{a}:clefts",
    }
    plain = score(volumes, tmp_path / "plain", **fields)
    assert plain == found


def test_what_is_named_as_no_segment(volumes, tmp_path):
    first = 1 << 40
    named = score(volumes, tmp_path, segmentation=f"{{a}}:segments?background={11 * first}")
    assert named["segments"] == score(volumes, tmp_path / "all")["segments"] - 1
    assert named["recall"] < 1


def test_scores_and_pictures(volumes, tmp_path, capfd):
    found = score(volumes, tmp_path / "run")
    promised = {"voi_split", "voi_merge", "voi", "arand", "arand_precision", "arand_recall"}
    promised |= {"ap_50", "ap_75", "foreground_iou", "mean_iou", "dice"}
    assert set(found) >= promised
    assert (found["labels"], found["segments"], found["voxels"]) == (16, 16, np.prod(SHAPE))
    # Two objects of 9 and 9 rows of 12 in 39 rows of 48 are one: 18 / 156 of the voxels lose one bit each.
    assert found["voi_merge"] == pytest.approx(18 * 12 / (39 * 48))
    assert found["voi_split"] == pytest.approx(10 * 12 / (39 * 48))
    # 13 objects are right; the halves of one, and the one that swallowed its neighbour, are at exactly 0.5.
    assert found["ap_75"] == pytest.approx(13 / (13 + 3 + 3))
    assert imread(tmp_path / "run" / "plots" / "sections.png").std() > 0.05
    assert "background of the labels: 0 (not scored by VOI and Rand)" in capfd.readouterr().out


def test_blocks_make_no_difference(volumes, tmp_path):
    # Borders of 9 nm reach into the next block.
    fields = {"labels": "{a}:labels?voxel_nm=40,4,4", "cremi_border_nm": 9}
    whole = score(volumes, tmp_path / "whole", **fields)
    for number, size in enumerate(("1,40,48", "4,7,13", "6,40,48")):
        how = fields | {"block_size": size, "num_workers": 2}
        assert score(volumes, tmp_path / f"{number}", **how) == whole
    assert {"boundary_f1", "ap_50_95", "cremi_score"} <= whole.keys()
    voi = whole["cremi_voi_split"] + whole["cremi_voi_merge"]
    assert whole["cremi_score"] == pytest.approx(np.sqrt(voi * whole["cremi_rand"]))


def test_the_score_of_cremi(volumes, tmp_path, capfd):
    fields = {"labels": "{a}:labels?voxel_nm=40,4,4"}
    found = score(volumes, tmp_path / "some", **fields)
    assert found["cremi_score"] > 0 and found["cremi_voi_merge"] == 0 < found["voi_merge"]
    assert "CREMI score: without voxels within 25 nm of a border" in capfd.readouterr().out
    # Objects are 10 x 12 voxels large.
    assert "cremi_score" not in score(volumes, tmp_path / "none", **fields, cremi_border_nm=99)
    assert "no CREMI score: no voxel is farther than 99 nm from" in capfd.readouterr().out
    found = score(volumes, tmp_path / "all", **fields, cremi_border_nm=0)
    assert found["cremi_voi_merge"] == pytest.approx(found["voi_merge"])
    assert found["cremi_rand"] == pytest.approx(found["arand"], abs=1e-4)
    assert "cremi_score" not in score(volumes, tmp_path / "unknown")
    assert "no CREMI score: no voxel size is known" in capfd.readouterr().out


def test_box_mask_and_ignored_ids(volumes, tmp_path):
    boxed = score(volumes, tmp_path / "box", box=":,:,0:24")
    masked = score(volumes, tmp_path / "mask", mask=f"{volumes}:mask")
    assert boxed == masked and boxed["labels"] == 8
    first = 1 << 40
    ignored = score(volumes, tmp_path / "ignore", ignore_ids=f"{first},{2 * first}")
    assert ignored["labels"] == 14 and ignored["voi_merge"] == 0
    scored = score(volumes, tmp_path / "background", score_background="true")
    assert scored["voi"] != score(volumes, tmp_path / "without")["voi"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"labels": ""}, ["labels is empty", "--config.labels=ADDRESS"]),
        ({"segmentation": "{a}:segments[0:3]"}, ["(3, 40, 48) voxels", "(6, 40, 48)"]),
        ({"labels": "{a}:floats"}, ["float32", "ids are integers"]),
        ({"segmentation": "{a}:segment"}, ["segment", "segments"]),
        ({"mask": "{a}:mask[:,:,1:]"}, ["mask", "must be equal"]),
        ({"box": "0:9"}, ["0:9", "6"]),
        ({"block_size": "0,1,1"}, ["block_size=(0, 1, 1)"]),
        ({"halo": "1,1,1"}, ["halo=(1, 1, 1)", "leave it out"]),
        ({"kind": "instance"}, ["kind='instance'", "did you mean 'instances'?"]),
        ({"segmentation": "{a}:raw"}, ["segmentation", "looks like a grey image", "kind=labels"]),
        ({"labels": "{a}:raw"}, ["labels", "looks like a grey image"]),
        ({"labels": "{a}:labels?kind=image"}, ["kind=image, but ids are needed"]),
        ({"segmentation": "{a}:channels"}, ["uint8[2, 6, 40, 48]", "ids are integers"]),
        ({"segmentation": "{a}:negative"}, ["the segmentation has the id -"]),
        ({"image": "{a}:labels"}, ["which labels are, not images"]),
        ({"labels": "{a}:labels?ignore=a"}, ["ignore=a", "ids separated by commas"]),
        ({"cremi_border_nm": "-1"}, ["cremi_border_nm=-1.0 must be 0 or more nm"]),
        ({"boundary_tolerance": "-1"}, ["boundary_tolerance=-1.0"]),
        ({"skeletons": "{a}.swc"}, ["no file", "a.h5.swc", "folder or pattern"]),
        ({"labels": "", "skeletons": "{a}"}, ["cannot read skeleton", "it is no text"]),
    ],
)
def test_what_cannot_be_scored_is_one_line(volumes, tmp_path, capfd, overrides, words):
    message = read_refusal(capfd, CONFIG, tmp_path / "run", make_fields(volumes, **overrides))
    assert all(word in message for word in words), message
    assert not (tmp_path / "run" / "results.json").exists()


def test_nothing_left_to_score(volumes, tmp_path, capfd):
    fields = make_fields(volumes, labels=f"{volumes}:mask", ignore_ids="0,1")
    assert "can be scored" in refusal_after_work(capfd, tmp_path / "run", fields)
    empty = make_fields(
        volumes, labels=f"{volumes}:labels[:,:1]", segmentation="{a}:segments[:,:1]"
    )
    refusal = refusal_after_work(capfd, tmp_path / "empty", empty | {"image": ""})
    assert "has no object in [0:6,0:1,0:48]: all of its 288 known voxels are background" in refusal


def test_a_segmentation_without_segments_is_scored_and_said(volumes, tmp_path, capfd):
    scores = score(volumes, tmp_path, segmentation="{a}:none")
    assert scores["segments"] == scores["recall"] == scores["ap_50"] == 0
    assert (
        "a.h5:none has no segment in [0:6,0:40,0:48]: all objects are missed"
        in capfd.readouterr().out
    )


def test_clefts(volumes, tmp_path, capfd):
    scores = score(volumes, tmp_path / "whole", **CLEFTS)
    # 2 of 5 rows lie 4 and 8 nm away.
    distances = {"adgt_nm": 2.4, "adf_nm": 2.4, "cremi_cleft": 2.4, "foreground_iou": 3 / 7}
    assert scores == scores | {k: pytest.approx(v) for k, v in distances.items()}
    assert "voi" not in scores and "boundary_f1" not in scores
    assert score(volumes, tmp_path / "blocks", **CLEFTS, block_size="2,13,9") == scores
    out = capfd.readouterr().out
    assert f"background of the labels: 0, {CREMI_BACKGROUND}" in out

    unknown = CLEFTS | {"labels": "{a}:clefts"}
    assert "adgt_nm" not in score(volumes, tmp_path / "unknown", **unknown)
    assert "no voxel size is known; add ?voxel_nm=Z,Y,X" in capfd.readouterr().out
    nothing = score(volumes, tmp_path / "nothing", **CLEFTS, box=":,0:11")
    assert "adgt_nm" not in nothing and nothing["recall"] == 0
    assert "have no cleft in" in capfd.readouterr().out


def test_semantic(volumes, tmp_path):
    fields = {"kind": "semantic", "labels": "{a}:classes", "segmentation": "{a}:other_classes"}
    scores = score(volumes, tmp_path / "classes", **fields)
    assert scores["class_iou_1"] == pytest.approx(12 / 20) and "class_iou_3" in scores
    assert scores["foreground_iou"] == pytest.approx(32 / 36) and "voi" not in scores
    fields = {"kind": "semantic", "labels": "{a}:mask", "segmentation": "{a}:other_classes"}
    two = score(volumes, tmp_path / "two", **fields)
    assert "class_mean_iou" not in two and "boundary_f1" in two


def test_objects_have_no_confusion_of_classes(volumes, tmp_path, capfd):
    store = create_volume(tmp_path / "many.zarr", SHAPE, "uint32", None, {})
    store[...].write(np.arange(1, np.prod(SHAPE) + 1, dtype=np.uint32).reshape(SHAPE)).result()
    fields = {"labels": "{a}:classes", "segmentation": f"{tmp_path}/many.zarr?kind=labels"}
    scores = score(volumes, tmp_path / "run", kind="semantic", **fields)
    assert scores["class_iou_1"] < 0.01
    assert "has 11,520 ids, more than the 64 that classes have" in capfd.readouterr().out
    assert not (tmp_path / "run" / "confusion.csv").exists()


def test_classes_in_full(volumes, tmp_path, capfd):
    """A map of classes that says so is scored by class, two of them too; what is ignored is in no number."""
    made = tmp_path / "c.zarr"
    attributes = {"classes": {"1": "class_1", "2": "class_2"}}
    store = create_volume(made, SHAPE, "uint8", None, attributes)
    found = np.ones(SHAPE, np.uint8)
    found[:, :, 20:] = 2
    store[...].write(found).result()
    labels = "{a}:mask?kind=labels&background=9"
    fields = {"kind": "semantic", "labels": labels, "segmentation": made}
    scores = score(volumes, tmp_path / "run", **fields)
    # Truth: 1 in 24 columns of 48, 0 in the others; found: 1 in 20, 2 in 28.
    assert scores["class_iou_1"] == pytest.approx(20 / 24)
    assert scores["class_dice_1"] == pytest.approx(40 / 44)
    assert scores["class_accuracy"] == pytest.approx(20 / 48)
    rows = (tmp_path / "run" / "confusion.csv").read_text().splitlines()
    column = np.prod(SHAPE[:2])
    assert rows == [
        "true\\found,0,1,2",
        f"0,0,0,{24 * column}",
        f"1,0,{20 * column},{4 * column}",
        "2,0,0,0",
    ]
    assert (tmp_path / "run" / "plots" / "confusion.png").exists()
    assert "class 1 class_1" in capfd.readouterr().out
    ignored = score(volumes, tmp_path / "i", **fields | {"labels": "{a}:mask?kind=labels&ignore=0"})
    assert ignored["voxels"] == 24 * column and ignored["class_iou_1"] == pytest.approx(20 / 24)


def test_other_voxels_are_compared_when_asked(volumes, tmp_path, capfd):
    """A segmentation of twice as long voxels, which begins at voxel 2 of the labels, against its own ids."""
    made = tmp_path / "s.zarr"
    known = {"whole_nm": [40, 4, 4]}
    store = create_volume(made, (6, 18, 22), "uint64", (40, 8, 8), known, origin=(0, 2.25, 1.25))
    ids = np.arange(1, 18 * 22 + 1, dtype=np.uint64).reshape(1, 18, 22)
    store[...].write(np.broadcast_to(ids, (6, 18, 22))).result()
    labels = tmp_path / "l.zarr"
    store = create_volume(labels, (6, 40, 48), "uint64", (40, 4, 4), {})
    true = np.zeros((40, 48), np.uint64)
    true[4:40, 2:46] = np.repeat(np.repeat(ids[0], 2, axis=0), 2, axis=1)
    store[...].write(np.broadcast_to(true, (6, 40, 48))).result()
    fields = {"labels": labels, "segmentation": made, "image": ""}
    found = score(volumes, tmp_path / "run", **fields, resample=True)
    assert found["voi"] == 0 and found["voxels"] == 6 * 36 * 44
    refusal = read_refusal(capfd, CONFIG, tmp_path / "no", make_fields(volumes, **fields))
    assert "40x8x8" in refusal and "--config.resample=true" in refusal


def test_ids_behind_the_address(volumes, tmp_path):
    by_field = score(volumes, tmp_path / "field", ignore_ids=1 << 40, background_ids=2 << 40)
    labels = f"{{a}}:labels?ignore={1 << 40}&background={2 << 40}"
    assert score(volumes, tmp_path / "address", labels=labels) == by_field
    assert by_field["labels"] == 14


def _part(volumes: Path, name: str, start: tuple[int, int, int]) -> Path:
    """Writes the labels from a voxel on as a file that says where it lies."""
    path = volumes.parent / name
    with h5py.File(volumes) as file:
        part = file["labels"][tuple(slice(s, None) for s in start)]
    create_volume(path, part.shape, part.dtype, (40, 4, 4), {}, origin=start)
    zarr.open_group(path)["0"][...] = part
    return path


def test_parts_are_compared_where_both_lie(volumes, neurons, tmp_path, capfd):
    low, high = (
        _part(volumes, n, s) for n, s in (("low.zarr", (0, 0, 4)), ("high.zarr", (0, 8, 0)))
    )
    fields = {"labels": low, "segmentation": high, "mask": "{a}:mask", "skeletons": neurons}
    found = score(volumes, tmp_path / "run", **fields)
    # Columns 4 to 24, as the mask says, and rows from 8 on.
    assert found["voxels"] == 6 * 32 * 20 and found["voi"] == 0 and found["skeleton_split"] == 0
    assert 0 < found["erl_nm"] < 40
    said = capfd.readouterr().out
    assert "[0:6,0:40,4:48] (0:240,0:160,16:192 nm), [0:6,8:40,0:48]" in said
    assert "left out: 2,112 of 10,560 of labels, 768 of 9,216 of segmentation" in said
    # A box counts voxels of the labels, from their own first.
    boxed = score(volumes, tmp_path / "box", **fields, box=":,10:20,0:4")
    assert boxed["voxels"] == 6 * 10 * 4 and boxed["voi"] == 0


def test_places_that_share_nothing(volumes, tmp_path, capfd):
    part = _part(volumes, "part.zarr", (0, 8, 0))
    fields = make_fields(volumes, labels="{a}:labels[:,:8]", segmentation=part, image="")
    refusal = read_refusal(capfd, CONFIG, tmp_path / "none", fields)
    assert "[0:6,0:8,0:48]" in refusal and "[0:6,8:40,0:48] (0:240,32:160,0:192 nm)" in refusal
    fields = make_fields(volumes, labels=part, segmentation=part, image="", box=":,:,4")
    assert "box [:,:,4]" in read_refusal(capfd, CONFIG, tmp_path / "box", fields)
    fields = make_fields(volumes, labels="{a}:labels", segmentation=part, image="", box=":,:8")
    assert "all volumes have [0:6,8:40,0:48] of" in read_refusal(
        capfd, CONFIG, tmp_path / "o", fields
    )


@pytest.fixture(scope="module")
def neurons(volumes) -> Path:
    """Two lines along x, 40 nm each: in the row that is merged, and in the row below."""
    lines = []
    for tree, y in enumerate((5, 15)):
        for i in range(11):
            number = 1 + tree * 11 + i
            lines.append(f"{number} 0 {1 + 4 * i} {4 * y} 40 0 {number - 1 if i else -1}")
    path = volumes.parent / "neurons.swc"
    path.write_text("\n".join(lines))
    return path


def test_skeletons_without_labels(volumes, neurons, tmp_path, capfd):
    fields = {"labels": "", "segmentation": "{a}:segments?voxel_nm=40,4,4", "skeletons": neurons}
    # In the upper row points 0 to 10 are in one segment; so are those of the lower row.
    scores = score(volumes, tmp_path / "one", **fields)
    assert set(scores) >= {"erl_nm", "erl_normalized", "skeleton_correct"} and "voi" not in scores
    assert scores["erl_nm"] == pytest.approx(40) and scores["erl_normalized"] == 1
    blocks = score(volumes, tmp_path / "blocks", **fields, block_size="1,3,4")
    assert blocks == scores
    capfd.readouterr()
    # The file counts from its own first voxel, whatever part of it is opened; 16 points lie in this one.
    part = fields | {"segmentation": "{a}:segments[1:2,:,3:11]?voxel_nm=40,4,4", "image": ""}
    assert score(volumes, tmp_path / "part", **part)["erl_nm"] == pytest.approx(28)
    assert "2 neurons, 16 points in the scored part, 6 outside" in capfd.readouterr().out
    away = make_fields(volumes, **fields, skeleton_unit="um")
    refusal = refusal_after_work(capfd, tmp_path / "away", away)
    assert "nothing can be scored" in refusal and "check skeleton_unit" in refusal


def test_skeletons_beside_labels(volumes, neurons, tmp_path, capfd):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.swc").write_text(neurons.read_text())
    scores = score(volumes, tmp_path / "run", skeletons=folder)
    assert "erl_nm" not in scores and "voi" in scores
    assert "no run length: no voxel size is known" in capfd.readouterr().out
    known = {"skeletons": folder, "labels": "{a}:labels?voxel_nm=40,4,4"}
    scores = score(volumes, tmp_path / "known", **known)
    # One file of a folder is one neuron.
    assert scores["erl_nm"] == pytest.approx((40**2 + 40**2) / 80)
    assert scores["erl_normalized"] == pytest.approx(0.5)
