from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from emjax.pictures.figures import SIMILARITY, curves, image_grid
from emjax.pictures.render import render, save_png


def _colours(picture: np.ndarray) -> set[tuple[int, int, int]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_render_by_hand():
    figure = Figure(figsize=(2, 1), dpi=50, facecolor=(1.0, 0.0, 0.0))
    picture = render(figure)
    assert picture.shape == (50, 100, 3) and picture.dtype == np.uint8
    assert _colours(picture) == {(255, 0, 0)}


def test_grey_values_are_drawn_as_they_are():
    """Not stretched: a dim section must look dim beside a bright one."""
    dim, bright = np.full((8, 8), 51 / 255), np.full((8, 8), 1.0)
    colours = _colours(image_grid([[dim, bright]], ("a", "b")))
    assert (51, 51, 51) in colours and (255, 255, 255) in colours


def test_other_values_are_stretched_and_coloured():
    section = np.linspace(-7, 3, 64).reshape(8, 8)
    picture = image_grid([[section]], ("x",))
    assert any(max(colour) - min(colour) > 60 for colour in _colours(picture))
    # So is the map of similarity, whatever its range.
    picture = image_grid([[np.linspace(0, 1, 64).reshape(8, 8)]], (SIMILARITY,))
    assert any(max(colour) - min(colour) > 60 for colour in _colours(picture))


def test_what_is_not_known_is_orange():
    """It must not look like a value: black would be background."""
    section = np.full((8, 8), 51 / 255)
    section[:4] = np.nan
    assert {(255, 127, 14), (51, 51, 51)} <= _colours(image_grid([[section]], ("a",)))
    nothing, stretched = np.full((8, 8), np.nan), np.where(np.isnan(section), np.nan, 7.0)
    for panel in (nothing, stretched):
        assert (255, 127, 14) in _colours(image_grid([[panel]], ("a",)))


def test_panels_of_their_own_colours_empty_ones_and_names_of_rows():
    red = np.zeros((8, 8, 3))
    red[..., 0] = 1
    plain = image_grid([[red, None]], ("a", "b"))
    named = image_grid([[red, None]], ("a", "b"), names=("gradient",))
    assert (255, 0, 0) in _colours(plain) and (255, 0, 0) in _colours(named)
    # The name has room of its own at the left; nothing lies in the empty place.
    assert named.shape[1] == plain.shape[1] + 30 and (named[40:, :28] < 100).any()
    assert (plain[40:, plain.shape[1] // 2 + 20 :] == 255).all()


def test_marks_lie_where_they_are_put():
    section = np.zeros((20, 20))
    picture = image_grid([[section]], ("x",), {(0, 0): [(15.0, 4.0, "#ff0000")]}, inches=3)
    plain = image_grid([[section]], ("x",), inches=3)
    assert picture.shape == plain.shape
    rows, columns = np.nonzero(np.any(picture != plain, axis=-1))
    height, width = picture.shape[:2]
    assert rows.mean() / height > 0.6 and columns.mean() / width < 0.4


def test_rows_and_columns_make_the_size():
    section = np.zeros((4, 4))
    one = image_grid([[section]], ("a",), inches=1)
    more = image_grid([[section] * 3] * 2, ("a", "b", "c"), inches=1)
    assert one.shape == (130, 100, 3) and more.shape == (230, 300, 3)


def test_a_constant_section_is_drawn():
    assert image_grid([[np.full((4, 4), 9.0)]], ("a",)).dtype == np.uint8


def test_curves():
    panels = {
        "losses": {"reconstruction": ([1, 2, 3], [3.0, 2.0, 1.0]), "cross": ([1], [1.0])},
        "rank": {"trained": ([], [])},
    }
    levels = {"rank": {"untrained": 2.0, "chance": 1.0, "raw pixels": 1.5}}
    picture = curves(panels, levels)
    assert picture.dtype == np.uint8 and picture.shape == (320, 840, 3)
    assert not np.array_equal(picture, curves(panels))


def test_png_round_trip(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    save_png(tmp_path / "a.png", picture)
    read = np.rint(imread(tmp_path / "a.png")[..., :3] * 255).astype(np.uint8)
    np.testing.assert_array_equal(read, picture)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_png(tmp_path / "missing" / "a.png", np.zeros((2, 2, 3), np.uint8))


def _axes(monkeypatch, panels, levels=None) -> list:
    """The axes of a figure of curves, before it is drawn."""
    figures = []
    monkeypatch.setattr("emjax.pictures.figures.render", lambda f: figures.append(f) or render(f))
    curves(panels, levels)
    return figures[0].axes


def test_losses_of_two_orders_of_magnitude_have_a_logarithmic_axis(monkeypatch):
    steps = [1, 2, 3]
    near, far, below = [1.0, 2.0, 99.0], [1.0, 2.0, 101.0], [-1.0, 2.0, 101.0]
    panels = {name: {"a": (steps, v)} for name, v in zip("nfb", (near, far, below), strict=True)}
    axes = _axes(monkeypatch, panels)
    assert [axis.get_yscale() for axis in axes] == ["linear", "log", "linear"]
    assert all(float(tick).is_integer() for axis in axes for tick in axis.get_xticks())


def test_a_legend_never_lies_over_a_line(monkeypatch):
    (axis,) = _axes(monkeypatch, {"a": {"b": ([1], [1.0])}}, {"a": {"c": 2.0, "d": 3.0, "e": 1.5}})
    legend = axis.get_legend().get_window_extent()
    assert legend.y1 <= axis.bbox.y0


def test_a_grid_with_a_scale_bar(monkeypatch):
    section = np.zeros((50, 50))
    plain = image_grid([[section]], ("a",))
    drawn = image_grid([[section]], ("a",), pixel_nm=8.0)
    # 50 voxels of 8 nm are 400 nm, of which the bar may take 35 %: 100 nm, a quarter of the panel.
    rows = np.flatnonzero((drawn != plain).any(axis=(1, 2)))
    bar = ((drawn == 255).all(axis=2) & (plain == 0).all(axis=2))[rows].sum(axis=1).max()
    assert bar == pytest.approx(plain.shape[1] / 4, rel=0.03) and rows[0] > plain.shape[0] / 2
