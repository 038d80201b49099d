"""From the text of `data.volumes` to volumes; every mistake is found here."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr

from emjax.data.opening import open_entries
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.create import create_volume


def test_opening_by_hand(write, noise) -> None:
    image = noise(8, 16, 24)
    first, second = write("a.zarr", image), write("b.zarr", image)
    labels = write("l.zarr", (image // 32).astype(np.uint64))
    one, other = open_entries(f"{first}?weight=2&group=g|{labels}; {second}[2:8]")
    assert (one.group, one.weight, one.labels.size) == ("g", 2, (8, 16, 24))
    assert (other.group, other.weight, other.labels) == (f"{second}[2:8]", 1, None)
    assert other.image.size == (6, 16, 24)


def test_exclusions_are_in_voxels_of_the_part(write, noise) -> None:
    address, other = write("a.zarr", noise(8, 16, 24)), write("b.zarr", noise(8, 16, 24))
    entry, free = open_entries(
        f"{address}[2:8]; {other}", exclude=f"{address}[0:4,:8]; {address}[:1]; {address}[-1:]"
    )
    assert entry.excluded == (Box((0, 0, 0), (2, 8, 24)), Box((5, 0, 0), (1, 16, 24)))
    assert free.excluded == ()


def test_exclusions_written_differently_are_refused(tmp_path, noise) -> None:
    image = noise(16, 16, 24)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = file["other"] = image
    path = f"{tmp_path}/a.h5"
    # The second entry matches, so that without the check the first would be read at 0:8.
    with pytest.raises(InputError, match=r"a.h5:raw\[0:10\] may mean voxels of .*a.h5:raw.*level"):
        open_entries(f"{path}:raw[8:16]; {path}:raw[0:8]?level=0", exclude=f"{path}:raw[0:10]")
    with pytest.raises(InputError, match=r"give both the same dataset, level and channel"):
        open_entries(f"{path}:raw[8:16]; {path}[0:8]", exclude=f"{path}:raw[0:10]")
    entry, other = open_entries(f"{path}:raw; {path}:other", exclude=f"{path}:raw[0:10]")
    assert entry.excluded == (Box((0, 0, 0), (10, 16, 24)),)
    assert other.excluded == ()


def test_exclusions_of_one_generator_leave_others_alone() -> None:
    one, other = (f"synthetic://neurites?shape=8,32,32&seed={seed}" for seed in range(2))
    hole = "synthetic://neurites[0:2]?shape=8,32,32&seed=0"
    first, second = open_entries(f"{one}; {other}", exclude=hole)
    assert first.excluded == (Box((0, 0, 0), (2, 32, 32)),)
    assert second.excluded == ()


def test_image_and_labels_are_cut_to_what_both_have(write, noise, tmp_path) -> None:
    image = noise(8, 16, 24)
    whole = write("a.zarr", image)
    create_volume(tmp_path / "l.zarr", (4, 8, 16), np.uint64, (40, 8, 8), {}, origin=(2, 8, 4))
    zarr.open_group(tmp_path / "l.zarr")["0"][...] = image[2:6, 8:, 4:20] // 32
    (entry,) = open_entries(f"{whole}|{tmp_path}/l.zarr", exclude=f"{whole}[:3]")
    assert entry.image.size == entry.labels.size == (4, 8, 16)
    part = Box((0, 0, 0), (4, 8, 16))
    np.testing.assert_array_equal(entry.image.read(part) // 32, entry.labels.read(part))
    assert entry.excluded == (Box((0, 0, 0), (1, 8, 16)),)
    with pytest.raises(InputError, match=r"\[0:2,0:16,0:24\] .*\[2:6,8:16,4:20\] .*share no voxel"):
        open_entries(f"{whole}[:2]|{tmp_path}/l.zarr")


def test_keys_that_change_nothing_are_refused(write, noise) -> None:
    image, labels = write("a.zarr", noise(8, 16, 24)), write("l.zarr", noise(8, 16, 24) // 32)
    for text in (f"{image}?background=1", f"{image}|{labels}?weight=2"):
        with pytest.raises(InputError, match="means nothing here"):
            open_entries(text)


def test_bool_labels(write, noise) -> None:
    image = noise(8, 16, 24)
    (entry,) = open_entries(f"{write('a.zarr', image)}|{write('l.zarr', image > 99)}")
    assert entry.labels.dtype == bool


@pytest.mark.parametrize(
    ("entry", "helps"),
    [
        ("", "data.volumes names no volume; give PATH"),
        (
            "{a}|{short}",
            r"a.zarr is \(8, 16, 24\) voxels, its labels .*short.zarr are \(4, 16, 24\)",
        ),
        ("{a}|{real}", r"labels .*real.zarr are float32; labels are integers.*ids above 2\^24"),
        ("{ids}", "ids.zarr is uint64, which labels are"),
        ("{a}|{channels}", r"labels .*channels.zarr .*z, y, x"),
        ("{a}?weight=-1", "weight=-1 is not a number of 0 or more"),
        ("{a}?weight=much", "weight=much is not a number"),
        ("{a}x", r"no such path: .*did you mean .*a\.zarr"),
    ],
)
def test_mistakes(write, noise, tmp_path, entry, helps) -> None:
    image = noise(8, 16, 24)
    zarr.create_array(tmp_path / "channels.zarr", data=np.stack([image, image]))
    names = {
        "a": write("a.zarr", image),
        "short": write("short.zarr", image[:4]),
        "real": write("real.zarr", image.astype(np.float32)),
        "ids": write("ids.zarr", image.astype(np.uint64)),
        "channels": str(tmp_path / "channels.zarr"),
    }
    with pytest.raises(InputError, match=helps):
        open_entries(entry.format(**names))


def test_an_exclusion_that_matches_nothing(write, noise) -> None:
    address = write("a.zarr", noise(8, 16, 24))
    with pytest.raises(InputError, match=r"data.exclude: .*b.zarr\[0:4\] is no part of any volume"):
        open_entries(address, exclude=f"{address}[:1]; {address.replace('a.zarr', 'b.zarr')}[0:4]")
    with pytest.raises(InputError, match="leaves the volume"):
        open_entries(address, exclude=f"{address}[0:40]")
