"""Pictures of ids: the same colour for an id wherever it is drawn."""

from __future__ import annotations

import numpy as np

from emjax.pictures.overlays import borders, id_colours, overlay, section_grid


def test_colours_belong_to_ids():
    ids = np.asarray([[0, 1, 2], [2**63 + 5, 1, 7]], np.uint64)
    colours = id_colours(ids)
    assert colours.shape == (2, 3, 3) and colours.dtype == np.float32
    assert colours.min() >= 0 and colours.max() <= 1
    assert (colours[0, 0] == 0).all() and (colours[0, 1] == colours[1, 1]).all()
    assert np.array_equal(id_colours(ids[1:]), colours[1:])
    assert np.array_equal(id_colours(np.asarray([7], np.int32)), colours[1, 2:])


def test_neighbouring_ids_look_different():
    colours = id_colours(np.arange(1, 200, dtype=np.uint64))
    distances = np.linalg.norm(colours[1:] - colours[:-1], axis=1)
    assert (distances > 0.1).mean() > 0.9
    assert colours.max(axis=1).min() > 0.6  # none is so dark that it looks like background


def test_borders_by_hand():
    found = borders(np.asarray([[1, 1, 2], [1, 1, 2], [3, 3, 3]]))
    assert found.astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_background_shows_the_image():
    image = np.full((4, 6), 0.5, np.float32)
    ids = np.zeros((4, 6), np.uint64)
    assert np.allclose(overlay(image, ids), 0.5)
    ids[:, 3:] = 9
    drawn = overlay(image, ids)
    assert np.allclose(drawn[:, :2], 0.5) and np.ptp(drawn[:, 4:], axis=2).min() > 0.1
    # The border between them stands out from both.
    assert np.abs(drawn[:, 2] - drawn[:, 1]).max() > 0.02
    assert np.allclose(overlay(None, ids)[:, 4:], id_colours(ids)[:, 4:])


def test_grid_of_sections():
    grey, colour = np.zeros((8, 12)), np.ones((8, 12, 3))
    picture = section_grid([[grey, colour], [grey, colour]], ["a", "b"], ["z 0", "z 5"])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture[:, : picture.shape[1] // 2].mean() < picture[:, picture.shape[1] // 2 :].mean()
