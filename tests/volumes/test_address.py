"""The one string that names a volume."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from emjax.errors import InputError
from emjax.volumes.address import Address, Entry, parse_triple, parse_volumes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.zarr", Address("a.zarr")),
        ("fib25.h5:raw[0:160]", Address("fib25.h5", "raw", "0:160")),
        ("a.h5:/volumes/raw/", Address("a.h5", "volumes/raw")),
        ("a.zarr[0:64,256:768,:]", Address("a.zarr", "", "0:64,256:768,:")),
        ("f/*.png?voxel_nm=50,4,4", Address("f/*.png", keys={"voxel_nm": "50,4,4"})),
        ("s/z0?.png", Address("s/z0?.png")),
        ("s/z?.png[0:4]", Address("s/z?.png", "", "0:4")),
        ("s/z0?.png?weight=2", Address("s/z0?.png", keys={"weight": "2"})),
        ("gs://b/em?level=1[0:4]", Address("gs://b/em", "", "0:4", {"level": "1"})),
        ("gs://b/em[0:4]?level=1", Address("gs://b/em", "", "0:4", {"level": "1"})),
        ("precomputed://gs://b/em:x?level=1", Address("gs://b/em", "x", keys={"level": "1"})),
        ("precomputed://file:///d/em", Address("/d/em")),
        ("zarr3://https://h/a.zarr", Address("https://h/a.zarr")),
        ("file:///d/a.h5:raw", Address("/d/a.h5", "raw")),
        ("a.zarr?missing=error", Address("a.zarr", keys={"missing": "error"})),
        ("http://127.0.0.1:80/a.zarr", Address("http://127.0.0.1:80/a.zarr")),
        ("http://127.0.0.1:80/a.zarr:s0", Address("http://127.0.0.1:80/a.zarr", "s0")),
        (
            "synthetic://neurites[0:32]?seed=1&shape=64,256,256",
            Address("synthetic://neurites", "", "0:32", {"seed": "1", "shape": "64,256,256"}),
        ),
        (
            "synthetic://neurites?seed=3&labels=neurons",
            Address("synthetic://neurites", keys={"seed": "3", "labels": "neurons"}),
        ),
    ],
)
def test_parse_by_hand(text: str, expected: Address) -> None:
    assert Address.parse(text) == expected
    assert Address.parse(str(expected)) == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


def test_equal_addresses_hash_alike_and_keys_cannot_change() -> None:
    one, other = (Address.parse("a.zarr?weight=2") for _ in range(2))
    assert len({one, other}) == 1
    with pytest.raises(TypeError):
        one.keys["weight"] = "3"


def test_source_is_what_holds_the_voxels() -> None:
    source = Address.parse("a.h5:raw").source
    assert Address.parse("a.h5:raw[0:4]?weight=2&voxel_nm=1,1,1").source == source
    assert Address.parse("a.h5:other").source != source
    assert Address.parse("synthetic://n?seed=1").source != Address.parse("synthetic://n").source
    levels = {Address.parse(f"a.zarr?level={level}").source for level in (0, 1)}
    assert len(levels) == 2


def test_source_is_the_same_however_the_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ways = ("a.h5:raw", "./a.h5:raw", f"{tmp_path}/a.h5:raw", f"{tmp_path}/b/../a.h5:/raw")
    assert len({Address.parse(way).source for way in ways}) == 1
    assert Address.parse("gs://b/em").source == "gs://b/em"


def test_volumes_by_hand() -> None:
    entries = parse_volumes(
        "a.h5:raw[0:160]|a.h5:labels[0:160]; b.zarr?voxel_nm=30,6,6|c.zarr\n d ;"
    )
    assert entries == (
        Entry(Address("a.h5", "raw", "0:160"), Address("a.h5", "labels", "0:160")),
        Entry(Address("b.zarr", keys={"voxel_nm": "30,6,6"}), Address("c.zarr")),
        Entry(Address("d")),
    )
    assert parse_volumes(tuple(map(str, entries))) == entries
    assert parse_volumes("; ".join(map(str, entries))) == entries
    assert parse_volumes(("a.h5:raw; d", "e")) == parse_volumes("a.h5:raw;d\ne")
    assert parse_volumes("") == ()


def test_labels_with_names_and_a_mask_by_hand() -> None:
    (one, other) = parse_volumes("a|neurons=b.h5:n?ignore=0|mito = c|mask=d; e|f|mask=g?level=1")
    assert one.labels is None and one.mask == Address("d")
    named = {"neurons": Address("b.h5", "n", keys={"ignore": "0"}), "mito": Address("c")}
    assert dict(one.named) == named and one.all_labels == named
    assert other.all_labels == {"": Address("f")} and other.mask is not None
    assert parse_volumes(f"{one};{other}") == (one, other)
    # Not a name: something stands before the '='.
    assert parse_volumes("a|b?ignore=0|mask=c")[0].labels == Address("b", keys={"ignore": "0"})
    assert parse_volumes("a|./x=1.zarr")[0].labels == Address("./x=1.zarr")


@pytest.mark.parametrize(
    ("text", "helps"),
    [
        ("", r"PATH\[:DATASET\]"),
        (
            "a.zarr?wieght=2",
            "unknown key 'wieght'; known: voxel_nm, level, channel, missing, weight",
        ),
        ("a.zarr?seed=2", "unknown key 'seed'"),
        ("a.zarr?weight", "'weight' is not key=value"),
        ("a.zarr?weight=", "is not key=value"),
    ],
)
def test_mistakes_in_addresses(text: str, helps: str) -> None:
    with pytest.raises(InputError, match=helps):
        Address.parse(text)


def test_mistakes_in_lists_and_triples() -> None:
    with pytest.raises(InputError, match=r"2 '\|'; write image\|labels"):
        parse_volumes("a|b|c")
    with pytest.raises(InputError, match="'mito' twice"):
        parse_volumes("a|mito=b|mito=c")
    with pytest.raises(InputError, match="a mask and no labels"):
        parse_volumes("a|mask=b")
    assert parse_triple("50, 4,4", "voxel_nm") == (50.0, 4.0, 4.0)
    for text in ("4", "4,4", "4,4,0", "4,4,-1", "4,4,nan", "a,b,c", "1,2,3,4"):
        with pytest.raises(
            InputError, match="three positive numbers, z,y,x, as in voxel_nm=50,4,4"
        ):
            parse_triple(text, "voxel_nm")


def test_ids_behind_an_address():
    address = Address.parse("a.h5:labels?ignore=249,0&background=7")
    assert address.ids("ignore") == (249, 0) and address.ids("background") == (7,)
    assert Address.parse("a.h5:labels").ids("ignore") == ()
    with pytest.raises(InputError, match="ignore=x must be ids separated by commas"):
        Address.parse("a.h5?ignore=x").ids("ignore")


def test_absolute_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    address = Address.parse("a.h5:labels[0:4]?ignore=7").absolute()
    assert str(address) == f"{tmp_path}/a.h5:labels[0:4]?ignore=7"
    assert Address.parse("~/a.zarr").absolute().path == f"{tmp_path}/home/a.zarr"
    assert Address.parse("folder/*.png").absolute().path == f"{tmp_path}/folder/*.png"
    for text in ("gs://bucket/a.zarr", "synthetic://neurites?seed=3"):
        assert str(Address.parse(text).absolute()) == text


def test_a_pattern_of_files_is_an_entry_for_each(tmp_path):
    for name in ("b.h5", "a.h5"):
        (tmp_path / name).touch()
    found = parse_volumes(f"{tmp_path}/*.h5:raw[0:8]|{tmp_path}/*.h5:labels; c.zarr; d/*.png")
    assert [str(entry) for entry in found] == [
        f"{tmp_path}/a.h5:raw[0:8]|{tmp_path}/a.h5:labels",
        f"{tmp_path}/b.h5:raw[0:8]|{tmp_path}/b.h5:labels",
        "c.zarr",
        "d/*.png",
    ]
    with pytest.raises(InputError, match="write image.labels for each of the 2 files"):
        parse_volumes(f"{tmp_path}/*.h5:raw|other/*.h5:labels")
    with pytest.raises(InputError, match="no file matches"):
        parse_volumes(f"{tmp_path}/*.nrrd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d%3Ae/a%3Bb.h5:raw%3F[0:4]", Address("d:e/a;b.h5", "raw?", "0:4")),
        ("a%5B1%5D%7c%3F?weight=2", Address("a[1]|?", keys={"weight": "2"})),
        # Only what means something in an address is a code.
        ("a%20b%2F.h5", Address("a%20b%2F.h5")),
        ("a%253Ab.h5", Address("a%3Ab.h5")),
        # URLs have codes of their own.
        ("gs://b/a%3Ab.zarr:x%3Ay", Address("gs://b/a%3Ab.zarr", "x%3Ay")),
    ],
)
def test_names_with_characters_that_mean_something(text: str, expected: Address) -> None:
    assert Address.parse(text) == expected
    assert Address.parse(str(expected)) == expected
    (entry,) = parse_volumes(f"{expected}|{expected}")
    assert entry == Entry(expected, expected)


def test_a_code_that_may_be_part_of_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x%3Ay").mkdir()
    (tmp_path / "x:y").mkdir()
    for name in ("x%3Ay", "x%3Ay/a.h5"):
        with pytest.raises(InputError, match="%25 for each % of its name"):
            Address.parse(f"{tmp_path}/{name}")
    assert Address.parse(f"{tmp_path}/x%253Ay/a.h5").path == f"{tmp_path}/x%3Ay/a.h5"


def test_messages_say_how_names_are_written(tmp_path: Path) -> None:
    for text in ("a.zarr?b", "a.zarr?who=1"):
        with pytest.raises(InputError, match="%3A %3B"):
            Address.parse(text)
    with pytest.raises(InputError, match="%7C"):
        parse_volumes("a|b|c")
