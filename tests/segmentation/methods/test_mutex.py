import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.contacts import UNIT
from emjax.segmentation.evidence import Graph
from emjax.segmentation.method import STITCHES
from emjax.segmentation.methods.mutex import METHOD, MutexSettings, mutex_watershed
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.region_graph import EdgeStatistics

LONG = (*NEAREST, (0, 0, -2), (0, -5, 0), (0, 0, -5), (-2, 0, 0))


def _row(near, far):
    """Affinities of one row to the voxel before, and to the one two before."""
    array = np.zeros((4, 1, 1, len(near)), np.float32)
    array[2, 0, 0], array[3, 0, 0] = near, far
    return Prediction(array, ("affinity",) * 4, (*NEAREST, (0, 0, -2))).affinities()


def test_a_sure_constraint_beats_a_weaker_join():
    # Voxels 0 and 2 are kept apart by 1 - 0.1 = 0.9; of the joins 1-0 (0.8) and 2-1 (0.7) the
    # stronger one comes first, and the other one is forbidden.
    assert mutex_watershed(_row([0, 0.8, 0.7], [1, 1, 0.1])).ravel().tolist() == [1, 1, 0]
    # With a constraint of 0.6 both joins come before it.
    assert mutex_watershed(_row([0, 0.8, 0.7], [1, 1, 0.4])).ravel().tolist() == [1, 1, 1]


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 4, 4)])
def test_round_trip_of_labels(perfect, bricks, voi, strides):
    found = mutex_watershed(perfect(bricks, LONG).affinities(), strides=strides)
    assert voi(bricks, found) == pytest.approx(0, abs=1e-12)
    assert found.dtype == np.uint64


def test_nothing_is_one_object_and_zero_is_none(bricks, perfect):
    whole = perfect(np.ones_like(bricks), LONG).affinities()
    assert (mutex_watershed(whole) == 1).all()
    none = perfect(np.zeros_like(bricks), LONG).affinities()
    assert not mutex_watershed(none).any()


def test_the_threshold_cuts_and_the_mask_is_background(noisy):
    affinities = noisy(8).affinities()
    mask = np.ones(affinities[0].shape, bool)
    mask[:, :5] = False
    free = mutex_watershed(affinities)
    masked = mutex_watershed(affinities, mask=mask)
    assert free[~mask].any() and not masked[~mask].any()
    strict = mutex_watershed(affinities, threshold=0.8)
    assert (strict == 0).sum() > (free == 0).sum()
    assert mutex_watershed(affinities).tobytes() == free.tobytes()


def test_without_long_range_affinities_it_cannot_work(noisy):
    with pytest.raises(InputError, match="has only -1,0,0 0,-1,0 0,0,-1; train with"):
        mutex_watershed(noisy(1, NEAREST).affinities())


def test_a_part_uses_the_long_range_affinities_of_the_whole(noisy):
    # Beyond the part there is no affinity at all, so that nothing there can change it.
    prediction = noisy(3)
    array = prediction.array.copy()
    inner = (slice(3, 8), slice(5, 24), slice(6, 30))
    outside = np.ones(array.shape[1:], bool)
    outside[inner] = False
    whole = mutex_watershed(prediction.affinities(), strides=(2, 4, 4), mask=~outside)[inner]
    part = Prediction(array[(slice(None), *inner)], prediction.names, prediction.offsets)

    def found(start):
        return mutex_watershed(part.affinities(), strides=(2, 4, 4), start=start)

    assert found((3, 5, 6)).tolist() == whole.tolist() == found((5, 1, 2)).tolist()
    assert found((0, 0, 0)).tolist() != whole.tolist()


def test_objects_of_cells_are_joined_by_overlap_and_kept_apart_by_affinities():
    ids = np.array([1, 2, 3, 4], np.uint64)

    def table(pairs, means):
        count = np.full(len(pairs), 10, np.int64)
        total = (np.array(means) * 10 * UNIT).astype(np.int64)
        return EdgeStatistics(np.array(pairs, np.uint64), count, total, count, count * 0)

    def objects(shares, affinities):
        tables = {
            STITCHES: table([[1, 3], [1, 4]], shares),
            "far": table([[1, 2], [3, 4]], affinities),
        }
        sizes = np.full(4, 10, np.int64)
        return METHOD.partition(Graph(ids, sizes, tables), MutexSettings(), None).tolist()

    # 3 and 4 of one cell both overlap with 1 of the other: a low affinity keeps 4 apart, a high one does not.
    assert objects([0.9, 0.8], [0.1, 0.15]) == [1, 2, 1, 4]
    assert objects([0.9, 0.8], [0.1, 0.9]) == [1, 2, 1, 1]
    assert METHOD.partition(Graph(ids, ids, {}), MutexSettings(), None).tolist() == [1, 2, 3, 4]
