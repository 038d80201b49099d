"""Single examples: the same whatever reads them, images and labels aligned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from emjax.data import source
from emjax.data.label_arrays import dense_ids
from emjax.data.source import Crops
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.volume import Volume


def _ranks(values: np.ndarray) -> np.ndarray:
    """Dense ids as the loader gives them to unsigned labels: 0 stays 0, the rest in order."""
    ids = np.unique(values)
    return (np.searchsorted(ids, values) + (ids[0] != 0)).astype(np.int32)


@pytest.fixture
def labelled(write, noise, open_plain):
    """Two volumes whose label is the grey value divided by 32."""
    text = []
    for number, shape in enumerate([(10, 24, 24), (12, 20, 30)]):
        image = noise(*shape, seed=number)
        text.append(f"{write(f'a{number}', image)}|{write(f'l{number}', image // 32)}")
    return open_plain(";".join(text))


def test_an_example_is_that_part_of_the_file(labelled) -> None:
    crops = Crops(labelled, (4, 8, 8), seed=3)
    for index in range(10):
        example = crops.example(index)
        image = labelled[int(example["volume"])].image
        voxels = image.read(Box(tuple(example["start"].tolist()), (4, 8, 8)))
        np.testing.assert_array_equal(example["image"], voxels)
        np.testing.assert_array_equal(example["labels"], _ranks(voxels // 32))
        assert example["image"].dtype == np.uint8
        assert example["labels"].dtype == np.int32
        assert example["index"] == index
        np.testing.assert_array_equal(example["voxel_nm"], (40, 8, 8))


def test_order_and_threads_do_not_matter(labelled) -> None:
    crops = Crops(labelled, (4, 8, 8), seed=3)
    expected = [crops.example(i) for i in range(24)]
    again = Crops(labelled, (4, 8, 8), seed=3)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(again.example, reversed(range(24))))[::-1]
    for one, other in zip(expected, found, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert len({(int(e["volume"]), *e["start"].tolist()) for e in expected}) > 20
    different = Crops(labelled, (4, 8, 8), seed=4).stack(range(24))
    assert (different["image"] != crops.stack(range(24))["image"]).any()


def test_start_counts_from_the_file_not_from_the_box(write, noise, open_plain) -> None:
    image = noise(12, 24, 24)
    address = write("a", image)
    crops = Crops(open_plain(f"{address}[3:,5:,7:]"), (4, 8, 8), seed=0)
    for index in range(5):
        example = crops.example(index)
        box = Box(tuple(example["start"].tolist()), (4, 8, 8))
        np.testing.assert_array_equal(example["image"], image[box.slices])


def test_exclusions_are_never_touched(write, noise, open_plain) -> None:
    address = write("a", noise(8, 32, 32))
    hole = Box((2, 10, 10), (3, 8, 8))
    entries = open_plain(f"{address}[1:]", exclude=f"{address}{hole}")
    crops = Crops(entries, (3, 6, 6), seed=0)
    starts = [tuple(crops.example(i)["start"].tolist()) for i in range(200)]
    assert not any(Box(start, (3, 6, 6)).overlaps(hole) for start in starts)
    assert any(start[0] == 5 for start in starts)


def test_reflect_padding_keeps_labels_aligned(write, noise, open_plain) -> None:
    image = noise(3, 16, 16)
    entries = open_plain(f"{write('a', image)}|{write('l', image // 32)}")
    with pytest.raises(InputError, match="smaller than the"):
        Crops(entries, (5, 8, 8), seed=0)
    crops = Crops(entries, (5, 8, 8), seed=0, pad="reflect")
    for index in range(5):
        example = crops.example(index)
        z, y, x = example["start"].tolist()
        assert z == 0
        expected = image[[0, 1, 2, 2, 1], y : y + 8, x : x + 8]
        np.testing.assert_array_equal(example["image"], expected)
        np.testing.assert_array_equal(example["labels"], _ranks(expected // 32))


def test_harmonising_to_larger_voxels(write, noise, open_plain) -> None:
    """By a factor of 3, an image becomes the means of blocks, and labels those of the middle voxels."""
    image = noise(10, 40, 40)
    entries = open_plain(f"{write('a', image)}|{write('l', image // 32)}")
    crops = Crops(entries, (4, 6, 6), seed=0, voxel_nm=(40, 24, 24))
    for index in range(5):
        example = crops.example(index)
        z, y, x = example["start"].tolist()
        blocks = image[z : z + 4, y : y + 18, x : x + 18].reshape(4, 6, 3, 6, 3)
        np.testing.assert_array_equal(example["image"], np.rint(blocks.mean((2, 4))))
        expected = image[z : z + 4, y + 1 : y + 18 : 3, x + 1 : x + 18 : 3]
        # The same label wherever the grey value falls into the same class, and nowhere else.
        pairs = {
            *zip((expected // 32).ravel().tolist(), example["labels"].ravel().tolist(), strict=True)
        }
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        np.testing.assert_array_equal(example["voxel_nm"], (40, 24, 24))


def test_texture_finer_than_the_larger_voxels_does_not_alias(write, open_plain) -> None:
    """Stripes of two voxels a period, sampled at every second voxel, would be all dark or all bright."""
    image = np.zeros((6, 24, 24), np.uint8)
    image[..., ::2] = 200
    entries = open_plain(f"{write('a', image)}?kind=image")
    for factor in (2, 2.5):
        crops = Crops(entries, (4, 8, 8), seed=0, voxel_nm=(40, 8, 8 * factor), max_blank_tries=0)
        found = np.stack([crops.example(index)["image"] for index in range(8)])
        assert abs(found.mean() - 100) < 5 and np.ptp(found) <= 200 / factor


def test_a_size_that_changes_a_little_is_resampled(write, noise, open_plain) -> None:
    """As many voxels are read as there are in a window, but they do not have its scale."""
    entries = open_plain(f"{write('a', noise(6, 12, 12))}?kind=image")
    close = Crops(entries, (4, 6, 6), seed=0, voxel_nm=(40, 8, 7.2)).example(0)
    z, y, x = close["start"].tolist()
    stored = Crops(entries, (4, 6, 6), seed=0).example(0)
    assert (z, y, x) == tuple(stored["start"].tolist())
    assert not np.array_equal(close["image"], stored["image"])


def test_harmonising_to_smaller_voxels(write, noise, open_plain) -> None:
    """At half the voxel size, the nearer voxel outweighs the other three in every interpolated one."""
    image = np.where(noise(10, 20, 20) > 127, 200, 20).astype(np.uint8)
    # Blocks of 2 x 2, so that classes are decided by linear weights along one axis at a time.
    image[:, 1::2] = image[:, ::2]
    image[..., 1::2] = image[..., ::2]
    entries = open_plain(
        f"{write('a', image)}?kind=image|{write('l', (image > 110).astype(np.uint8))}"
    )
    crops = Crops(entries, (4, 12, 12), seed=0, voxel_nm=(40, 4, 4))
    for index in range(5):
        example = crops.example(index)
        z, y, x = example["start"].tolist()
        part = image[z : z + 4, y : y + 6, x : x + 6]
        nearest = part.repeat(2, 1).repeat(2, 2)
        np.testing.assert_array_equal(example["labels"], nearest > 110)
        # Weights are 9/16 for the nearest, so the side of the middle stays.
        np.testing.assert_array_equal(example["image"] > 110, nearest > 110)


def test_harmonising_has_the_exact_scale(write, open_plain) -> None:
    """A ramp along each axis rises as the voxel sizes say, also where the ratio of them is not whole."""
    z, y, x = np.ogrid[:24, :30, :30]
    image = (2 * z + 3 * y + 4 * x).astype(np.uint8)
    crops = Crops(
        open_plain(f"{write('a', image)}?kind=image"), (5, 7, 9), seed=0, voxel_nm=(50, 10, 6)
    )
    for index in range(5):
        example = crops.example(index)
        start = example["start"]
        means = [
            start[axis] + np.diff(_integral(np.arange(n + 1) * 1.25)) / 1.25
            for axis, n in enumerate((5, 7))
        ]
        # Along x voxels become smaller, and lie between the centres of two.
        between = start[2] - 0.5 + 0.75 * (np.arange(9) + 0.5)
        expected = 2 * means[0][:, None, None] + 3 * means[1][:, None] + 4 * between
        # The outermost half voxel has no neighbour to interpolate with.
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(example["image"][inner], expected[inner], atol=0.51)


def _integral(end: np.ndarray) -> np.ndarray:
    """The integral of stored voxels' numbers from 0: a larger voxel is the mean of what it covers of them."""
    whole = np.floor(end)
    return whole * (whole - 1) / 2 + whole * (end - whole)


def test_harmonising_needs_a_voxel_size(labelled) -> None:
    unknown = [
        dataclasses.replace(e, image=dataclasses.replace(e.image, voxel_nm=None)) for e in labelled
    ]
    with pytest.raises(InputError, match=r"a0 does not say its voxel size.*add \?voxel_nm=z,y,x"):
        Crops(unknown, (4, 8, 8), seed=0, voxel_nm=(40, 16, 16))


def test_blank_windows_are_redrawn(write, noise, open_plain, caplog) -> None:
    image = noise(8, 16, 64)
    image[..., :40] = 0
    entries = open_plain(f"{write('a', image)}?kind=image")
    crops = Crops(entries, (4, 8, 8), seed=0, max_blank_tries=30)
    blank = [(crops.example(i)["image"] == 0).mean() > 0.6 for i in range(40)]
    assert not any(blank)
    anyway = Crops(entries, (4, 8, 8), seed=0, max_blank_tries=0)
    assert any((anyway.example(i)["image"] == 0).all() for i in range(40))


def test_volumes_without_any_texture_stop_the_run(write, noise, open_plain) -> None:
    image = np.zeros((8, 32, 32), np.uint8)
    image[0, 0] = noise(32)
    entries = open_plain(f"{write('a', image)}?kind=image")
    crops = Crops(entries, (4, 8, 8), seed=0)
    with pytest.raises(InputError, match=r"none of 517 windows .*/a\); check the addresses"):
        for index in range(100):
            crops.example(index)
    # Who wants them as they come gets them.
    assert (
        len(Crops(entries, (4, 8, 8), seed=0, max_blank_tries=0).stack(range(600))["image"]) == 600
    )


def test_texture_found_once_is_enough(write, noise, open_plain) -> None:
    image = noise(4, 8, 400)
    image[..., 16:] = 0
    crops = Crops(open_plain(f"{write('a', image)}?kind=image"), (4, 8, 8), seed=0)
    blank = (crops.stack(range(150))["image"] == 0).all((1, 2, 3))
    assert 60 < blank.sum() < 150


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([7, 0, 2**40, 7], np.uint64), [1, 0, 2, 1]),
        (np.array([7, 3, 3, 9], np.uint32), [2, 1, 1, 3]),
        (np.array([2**64 - 1, 5, 0, 5], np.uint64), [-1, 1, 0, 1]),
        (np.array([2**64 - 1] * 4, np.uint64), [-1] * 4),
        (np.array([-1, 0, 4, 2], np.int64), [-1, 0, 2, 1]),
        (np.array([True, False, True, True]), [1, 0, 1, 1]),
        (np.array([True, True, True, True]), [1, 1, 1, 1]),
        (np.zeros(4, np.uint8), [0, 0, 0, 0]),
    ],
)
def test_dense_labels_by_hand(labels: np.ndarray, expected: list[int]) -> None:
    found = dense_ids(labels.reshape(1, 2, 2))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize("dtype", ["uint64", "int32", "uint8"])
def test_dense_labels_equal_sorting_all_voxels(dtype) -> None:
    rng = np.random.default_rng(0)
    for run in (1, 7):
        labels = rng.integers(0, 40, (3, 5, 6)).astype(dtype).repeat(run, axis=2)
        np.testing.assert_array_equal(dense_ids(labels), _ranks(labels))


def test_bool_labels(write, noise, open_plain) -> None:
    image = noise(8, 16, 16)
    example = Crops(
        open_plain(f"{write('a', image)}|{write('l', image > 99)}"), (4, 8, 8), seed=0
    ).example(0)
    np.testing.assert_array_equal(example["labels"], example["image"] > 99)


def test_probabilities_decide_which_volume(labelled) -> None:
    crops = Crops(labelled, (4, 8, 8), seed=0, probabilities=(0.1, 0.9))
    share = np.mean([crops.example(i)["volume"] for i in range(200)])
    assert 0.84 < share < 0.96
    with pytest.raises(InputError, match="sum to 1, not 0.8"):
        Crops(labelled, (4, 8, 8), seed=0, probabilities=(0.4, 0.4))


class _Flaky(Volume):
    """Fails the first reads."""

    tries = 0
    failures = 0

    def begin_read(self, box: Box) -> Callable[[], np.ndarray]:
        """Reads, from the moment it works."""
        _Flaky.tries += 1
        if _Flaky.tries > _Flaky.failures:
            return super().begin_read(box)

        def fail() -> np.ndarray:
            raise OSError(
                f"{self.name} cannot be read at {box}: UNAVAILABLE: bucket\nand a long one"
            )

        return fail


@pytest.mark.parametrize("failures", [2, 3, 100])
def test_reads_are_tried_again_and_the_volume_named(
    write, noise, open_plain, monkeypatch, failures
) -> None:
    monkeypatch.setattr(source, "_RETRY_SECONDS", (0, 0, 0))
    monkeypatch.setattr(_Flaky, "tries", 0)
    monkeypatch.setattr(_Flaky, "failures", failures)
    (entry,) = open_plain(write("a", noise(8, 16, 16)))
    fields = {f.name: getattr(entry.image, f.name) for f in dataclasses.fields(Volume)}
    crops = Crops([dataclasses.replace(entry, image=_Flaky(**fields))], (4, 8, 8), seed=0)
    if failures < 100:
        expected = Crops([entry], (4, 8, 8), seed=0).example(5)
        np.testing.assert_array_equal(crops.example(5)["image"], expected["image"])
        return
    with pytest.raises(InputError, match=r"/a cannot be read at \[.*: UNAVAILABLE: bucket$"):
        crops.example(5)
    assert _Flaky.tries == 4


def test_background_and_ignored_ids_of_an_address(write, noise, open_plain) -> None:
    image = noise(8, 16, 16)
    (entry,) = open_plain(
        f"{write('a', image)}|{write('l', image // 32)}?background=1,2&ignore=0,7"
    )
    example = Crops([entry], (8, 16, 16), seed=0, keep_ids=True).example(0)
    stored = image // 32
    # 3, 4, 5, 6 are the objects that are left.
    expected = np.select([np.isin(stored, (0, 7)), stored <= 2], [-1, 0], stored.astype(int) - 2)
    np.testing.assert_array_equal(example["labels"], expected)
    classes = np.select([np.isin(stored, (0, 7)), stored <= 2], [-1, 0], stored.astype(int))
    np.testing.assert_array_equal(example["classes"], classes)
    assert example["classes"].dtype == np.int32


def test_the_largest_id_is_background_where_it_is_named(write, noise, open_plain) -> None:
    labels = np.full((8, 16, 16), np.iinfo(np.uint64).max, np.uint64)
    labels[:, :4] = 3
    address = f"{write('a', noise(8, 16, 16))}|{write('l', labels)}"
    unknown = Crops(open_plain(address), (8, 16, 16), seed=0).example(0)["labels"]
    assert np.unique(unknown).tolist() == [-1, 1]
    named = open_plain(f"{address}?background={2**64 - 1}")
    example = Crops(named, (8, 16, 16), seed=0, keep_ids=True).example(0)
    assert np.unique(example["labels"]).tolist() == [0, 1]
    assert np.unique(example["classes"]).tolist() == [0, 3]


def test_ids_that_a_target_names_must_fit_a_device(write, noise, open_plain) -> None:
    labels = np.full((8, 16, 16), 2**40, np.uint64)
    entries = open_plain(f"{write('a', noise(8, 16, 16))}|{write('l', labels)}")
    assert (Crops(entries, (8, 16, 16), seed=0).example(0)["labels"] == 1).all()
    with pytest.raises(InputError, match=r"have the id 1099511627776; .* below 2\^31"):
        Crops(entries, (8, 16, 16), seed=0, keep_ids=True).example(0)


def test_windows_without_objects_are_drawn_again(write, noise, open_plain) -> None:
    labels = np.zeros((8, 16, 64), np.uint64)
    labels[:, :, 40:44] = 5
    entries = open_plain(f"{write('a', noise(8, 16, 64))}|{write('l', labels)}")

    def share(**options) -> float:
        crops = Crops(entries, (4, 8, 8), seed=0, **options)
        return np.mean([crops.example(i)["labels"].any() for i in range(100)])

    assert share() < 0.4
    assert share(min_labelled=1, reject_probability=0.0) == share()
    assert share(min_labelled=1, reject_probability=1.0, max_blank_tries=50) == 1.0
    assert share() < share(min_labelled=1, reject_probability=0.8) < 1.0
