import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation.boundary import affinities_of_boundary
from emjax.segmentation.prediction import NEAREST, Prediction


def _prediction(array, names=("foreground", "contour"), offsets=None):
    return Prediction(np.asarray(array), names, offsets or (None,) * len(names))


def test_every_dtype_means_the_same_numbers():
    stored = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    for array in (stored, stored.astype(np.float16) / 255, stored / np.float64(255)):
        values = _prediction(array, ("foreground",)).channel("foreground")
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.ravel(), [0, 0.2, 1], atol=1e-3)


@pytest.mark.parametrize(
    ("bad", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-0.5, "-0.5"), (255.0, "255")]
)
def test_what_is_no_probability_is_named_with_its_channel(bad, shown):
    array = np.full((2, 2, 2, 2), 0.5, np.float32)
    array[1, 0, 1, 0] = bad
    prediction = _prediction(array)
    assert prediction.channel("foreground").max() == 0.5
    with pytest.raises(InputError, match=rf"channel 1 \(contour\).* {shown};"):
        prediction.channel("contour")


def test_rounding_is_clipped():
    array = np.array([1.0004, -0.0004], np.float32).reshape(1, 1, 1, 2)
    assert _prediction(array, ("foreground",)).channel("foreground").tolist() == [[[1.0, 0.0]]]


def test_channels_that_are_not_there_or_twice_are_errors():
    prediction = _prediction(np.zeros((2, 1, 1, 1), np.uint8), ("contour", "contour"))
    with pytest.raises(InputError, match="0 channels 'foreground'.*contour, contour"):
        prediction.channel("foreground")
    with pytest.raises(InputError, match="2 channels 'contour'"):
        prediction.channel("contour")
    with pytest.raises(InputError, match="affinities -1,0,0 .* are needed.*contour, contour"):
        prediction.affinities()


@pytest.mark.parametrize(
    ("array", "names", "offsets", "message"),
    [
        (np.zeros((2, 2, 2)), ("a",), (None,), "is \\[c, z, y, x\\]"),
        (np.zeros((1, 2, 2, 2), np.uint16), ("a",), (None,), "uint16"),
        (np.zeros((2, 2, 2, 2)), ("a",), (None,), "2 channels, but 1 names"),
        (np.zeros((1, 2, 2, 2)), ("affinity",), (None,), "'affinity' has offset None"),
        (np.zeros((1, 2, 2, 2)), ("a",), ((-1, 0, 0),), "'a' has offset"),
        (np.zeros((1, 2, 2, 2)), ("affinity",), ((1, 0, 0),), "is no offset"),
        (np.zeros((2, 2, 2, 2)), ("affinity",) * 2, ((-1, 0, 0),) * 2, "given twice"),
    ],
)
def test_what_cannot_be_a_prediction_is_refused(array, names, offsets, message):
    with pytest.raises(InputError, match=message):
        Prediction(array, names, offsets)


def test_affinities_in_any_order_are_told_apart():
    offsets = ((0, 0, -1), (0, -4, 0), (-1, 0, 0), (0, -1, 0))
    array = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1) * 51
    affinities = Prediction(array, ("affinity",) * 4, offsets).affinities()
    assert affinities.nearest().offsets == NEAREST
    found = [float(affinities.nearest()[i].item()) for i in range(3)]
    np.testing.assert_allclose(found, [0.4, 0.6, 0.0], rtol=1e-6)
    assert affinities.long_range().offsets == ((0, -4, 0),)


def test_affinities_of_a_boundary_are_as_weak_as_the_worse_voxel():
    affinities = affinities_of_boundary(np.array([0.0, 0.75, 0.25], np.float32).reshape(1, 1, 3))
    assert affinities[2].ravel().tolist() == [0.0, 0.25, 0.25]


def test_sections_of_affinities_are_those_of_the_whole():
    stored = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 6)).astype(np.uint8)
    of_network = Prediction(stored, ("affinity",) * 3, NEAREST).affinities()
    of_boundary = affinities_of_boundary((stored[0] / 255).astype(np.float32))
    for affinities in (of_network, of_boundary):
        for axis in (1, 2):
            whole = affinities[axis]
            np.testing.assert_array_equal(affinities.read(axis, 2), whole[2])
            np.testing.assert_array_equal(affinities.read(axis, slice(1, 3)), whole[1:3])
