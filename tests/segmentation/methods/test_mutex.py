import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.methods.mutex import mutex_watershed
from emjax.segmentation.prediction import NEAREST, Prediction

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
