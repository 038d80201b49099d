import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.contacts import BINS, UNIT
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.region_graph import edge_statistics, merge_statistics


def _fields(statistics):
    fields = vars(statistics) | {}
    return {name: None if value is None else value.tolist() for name, value in fields.items()}


def _slow(fragments, prediction):
    """Pair -> (contact, affinities), by looking at every voxel."""
    contacts, values = {}, {}
    offsets = prediction.offsets
    for place in np.ndindex(fragments.shape):
        for channel, offset in enumerate(offsets):
            other = tuple(np.add(place, offset))
            if min(other) < 0:
                continue
            pair = tuple(sorted((int(fragments[place]), int(fragments[other]))))
            if pair[0] == pair[1] or pair[0] == 0:
                continue
            contacts[pair] = contacts.get(pair, 0) + (offset in NEAREST)
            values.setdefault(pair, []).append(float(prediction.array[channel][place]))
    return contacts, values


@pytest.fixture
def fragments(bricks):
    """Some 300 fragments, and background."""
    small = np.random.default_rng(0).integers(0, 300, (8, 12, 10), np.uint64)
    return small.repeat(2, 1).repeat(3, 2)


def test_one_row_by_hand():
    # Fragments 1 1 2 0 3 along x, and affinities at 2 (joins 1 and 2) and 4 (joins background).
    fragments = np.array([1, 1, 2, 0, 3], np.uint64).reshape(1, 1, 5)
    array = np.zeros((2, 1, 1, 5), np.float32)
    array[0, 0, 0] = [0.9, 0.9, 0.25, 0.9, 0.9]
    array[1, 0, 0] = [0.9, 0.9, 0.75, 0.9, 0.5]  # offset -2: 2 with 1, and 3 with 2
    prediction = Prediction(
        np.concatenate([np.zeros_like(array), array]),
        ("affinity",) * 4,
        ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -2)),
    )
    statistics = edge_statistics(fragments, prediction.affinities(), histogram=True)
    assert statistics.pairs.tolist() == [[1, 2], [2, 3]]
    assert statistics.contact.tolist() == [1, 0]
    assert statistics.count.tolist() == [2, 1]
    assert statistics.mean.tolist() == [0.5, 0.5]
    assert (statistics.maximum / UNIT).tolist() == [0.75, 0.5]
    assert statistics.histogram.tolist() == [[0, 64, 1], [0, 192, 1], [1, 128, 1]]
    touching = statistics.touching()
    assert touching.pairs.tolist() == [[1, 2]]
    assert touching.histogram.tolist() == [[0, 64, 1], [0, 192, 1]]


def test_equals_a_look_at_every_voxel(fragments, noisy):
    prediction = noisy(1)
    statistics = edge_statistics(fragments, prediction.affinities(), histogram=True)
    contacts, values = _slow(fragments, prediction)
    pairs = [tuple(pair) for pair in statistics.pairs.tolist()]
    assert pairs == sorted(values)
    assert len(pairs) > 2048  # more than the tables hold at first
    assert statistics.contact.tolist() == [contacts[pair] for pair in pairs]
    assert statistics.count.tolist() == [len(values[pair]) for pair in pairs]
    np.testing.assert_allclose(statistics.mean, [np.mean(values[p]) for p in pairs], atol=1e-7)
    np.testing.assert_allclose(
        statistics.maximum / UNIT, [max(values[p]) for p in pairs], atol=1e-7
    )
    bins = [(e, int(v * BINS)) for e, pair in enumerate(pairs) for v in values[pair]]
    rows, amounts = np.unique(bins, axis=0, return_counts=True)
    assert statistics.histogram.tolist() == np.column_stack([rows, amounts]).tolist()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blocks_add_up_to_the_whole(fragments, noisy, axis):
    affinities = noisy(2).affinities()
    whole = edge_statistics(fragments, affinities, histogram=True)
    everything, cut = slice(0, None), fragments.shape[axis] // 2 + 1
    halves = []
    for part in (slice(0, cut), slice(cut, None)):
        own = tuple(part if i == axis else everything for i in range(3))
        halves.append(edge_statistics(fragments, affinities, own=own, histogram=True))
    assert len(halves[0]) < len(whole) and len(halves[1]) < len(whole)
    assert _fields(merge_statistics(halves)) == _fields(whole)
    assert _fields(merge_statistics(halves[::-1])) == _fields(whole)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blocks_add_up_to_the_whole_where_single_affinities_count_less(fragments, noisy, axis):
    prediction = noisy(2)
    whole = edge_statistics(fragments, prediction.affinities().nearest(), steady=True)
    cut, parts = fragments.shape[axis] // 2 + 1, []
    for own in (slice(0, cut), slice(cut, fragments.shape[axis])):
        # Each block reads two voxels more: a partner lies one voxel before, and one more is looked at around both.
        read = slice(max(own.start - 2, 0), min(own.stop + 1, fragments.shape[axis]))
        inner = slice(own.start - read.start, own.stop - read.start)
        box = tuple(read if i == axis else slice(None) for i in range(3))
        part = Prediction(prediction.array[:3][(slice(None), *box)], ("affinity",) * 3, NEAREST)
        where = tuple(inner if i == axis else slice(None) for i in range(3))
        parts.append(edge_statistics(fragments[box], part.affinities(), own=where, steady=True))
    assert _fields(merge_statistics(parts)) == _fields(whole)
    plain = edge_statistics(fragments, prediction.affinities().nearest())
    assert (whole.maximum <= plain.maximum).all() and (whole.maximum < plain.maximum).any()
    assert whole.total.tolist() == plain.total.tolist()


def test_a_single_affinity_that_stands_out_counts_less_in_a_steady_maximum():
    fragments = np.repeat(np.array([[[1], [2]]], np.uint64), 6, axis=2)
    values = np.zeros((3, 1, 2, 6), np.float32)

    def maximum(numbers, fragments=fragments, steady=True):
        values[1, 0, 1] = numbers
        affinities = Prediction(values, ("affinity",) * 3, NEAREST).affinities()
        return edge_statistics(fragments, affinities, steady=steady).maximum / UNIT

    assert maximum([0, 0, 1, 0, 0, 0], steady=False).tolist() == [1]
    np.testing.assert_allclose(maximum([0, 0, 1, 0, 0, 0]), [0.45], atol=1e-6)
    np.testing.assert_allclose(maximum([0, 0, 1, 0.25, 0, 0]), [0.7], atol=1e-6)
    # Two beside each other count, and so does one that does not stand out.
    assert maximum([0, 0, 1, 1, 0, 0]).tolist() == [1]
    np.testing.assert_allclose(maximum([0, 0.25, 0.5, 0.25, 0, 0]), [0.5], atol=1e-6)
    # The second pair has one face: beside it are only those of other pairs, whose mean takes the place.
    several = fragments.copy()
    several[0, 0] = 1, 1, 3, 1, 1, 1
    found = maximum([0, 0.2, 1, 0.4, 0, 0], several)
    np.testing.assert_allclose(found, [0.4, 0, 0.75], atol=1e-6)
    # Nothing is around the only face.
    several[0, 0] = several[0, 1] = 0
    several[0, :, 2] = 1, 2
    assert maximum([0, 0, 1, 0, 0, 0], several).tolist() == [1]


def test_ids_of_a_whole_volume_need_64_bits(fragments, noisy):
    affinities = noisy(3).affinities()
    far = np.where(fragments > 0, fragments + np.uint64(1 << 40), 0).astype(np.uint64)
    near, moved = edge_statistics(fragments, affinities), edge_statistics(far, affinities)
    assert moved.pairs.dtype == np.uint64
    assert (moved.pairs - np.uint64(1 << 40)).tolist() == near.pairs.tolist()
    assert moved.total.tolist() == near.total.tolist()
    # The same without any background.
    plain = edge_statistics(np.where(far == 0, far.max() + np.uint64(1), far), affinities)
    assert set(map(tuple, moved.pairs.tolist())) < set(map(tuple, plain.pairs.tolist()))


def test_without_affinities_only_contacts_are_counted(fragments):
    statistics = edge_statistics(fragments)
    assert (statistics.contact > 0).all()
    assert not statistics.count.any() and not statistics.mean.any()


def test_one_fragment_has_no_edges():
    assert len(edge_statistics(np.ones((2, 3, 4), np.uint64))) == 0
    assert len(edge_statistics(np.zeros((2, 3, 4), np.uint64), histogram=True)) == 0


def test_what_cannot_be_added_is_refused(fragments, noisy):
    affinities = noisy(1).affinities()
    parts = [edge_statistics(fragments, affinities, histogram=h) for h in (False, True)]
    with pytest.raises(InputError, match="with and without histograms"):
        merge_statistics(parts)
    with pytest.raises(InputError, match="give both of the same box"):
        edge_statistics(fragments[:4], affinities)
