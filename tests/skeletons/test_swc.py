"""SWC: what is read, what is written, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.skeletons.swc import Skeleton, read_neurons, read_swc

FILE = """# a comment
3 0 4 5.5 6 0.5 1
1 2 1 2 3 1.0 -1  # soma

10 0 0 0 0 0 -1
"""


def test_points_in_any_order_and_several_trees(tmp_path):
    (tmp_path / "n1.swc").write_text(FILE)
    skeleton = read_swc(tmp_path / "n1.swc", unit_nm=1000)
    assert skeleton.positions.tolist() == [[6000, 5500, 4000], [3000, 2000, 1000], [0, 0, 0]]
    assert skeleton.parents.tolist() == [1, -1, -1] and skeleton.edges.tolist() == [[0, 1]]
    assert skeleton.radii.tolist() == [500, 1000, 0] and skeleton.name == "n1"
    assert skeleton.edge_lengths[0] == pytest.approx(np.sqrt(3**2 + 3.5**2 + 3**2) * 1000)
    first, second = skeleton.trees()
    assert len(first.edges) == 1 and second.positions.tolist() == [[0, 0, 0]]


def test_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    parents = np.asarray([-1, 0, 0, 2, -1, 4])
    skeleton = Skeleton(rng.random((6, 3)) * 1e5, parents, rng.random(6), "a")
    lines = [
        f"{i + 1} 0 {' '.join(repr(float(v) / 1000) for v in (*position[::-1], radius))} {parent + 1 or -1}"
        for i, (position, radius, parent) in enumerate(
            zip(skeleton.positions, skeleton.radii, parents.tolist(), strict=True)
        )
    ]
    (tmp_path / "a.swc").write_text("\n".join(lines))
    again = read_swc(tmp_path / "a.swc", unit_nm=1000)
    np.testing.assert_allclose(again.positions, skeleton.positions, rtol=1e-14)
    np.testing.assert_allclose(again.radii, skeleton.radii, rtol=1e-14)
    assert again.parents.tolist() == parents.tolist()


def test_leaving_out_points_leaves_out_their_edges():
    positions = np.arange(15.0).reshape(5, 3)
    skeleton = Skeleton(positions, np.asarray([-1, 0, 1, 2, 2]), np.zeros(5))
    kept = skeleton.keep(np.asarray([True, False, True, True, True]))
    assert kept.parents.tolist() == [-1, -1, 1, 1] and kept.positions[1].tolist() == [6, 7, 8]
    assert [len(tree.parents) for tree in kept.trees()] == [1, 3]
    assert skeleton.keep(np.zeros(5, bool)).trees() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 0 1 2 3 1 -1\n2 0 1 2 three 1 1\n", "line 2: '2 0 1 2 three 1 1' is no point"),
        ("1 0 1 2 3\n", "line 1"),
        ("1 0 1 2 3 1 nan\n", "line 1"),
        ("# nothing\n", "holds no point"),
        ("1 0 1 2 3 1 -1\n1 0 1 2 3 1 -1\n", "two points have one number"),
        ("4 0 1 2 3 1 9\n", "the parent of point 4 is not in the file"),
        ("1 0 1 2 3 1 2\n2 0 1 2 3 1 1\n", "ring"),
        ("1 0 1 2 nan 1 -1\n", "not finite"),
    ],
)
def test_what_is_no_skeleton_is_refused(tmp_path, text, words):
    (tmp_path / "a.swc").write_text(text)
    with pytest.raises(InputError, match=words):
        read_swc(tmp_path / "a.swc")


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot read skeleton .*b.swc: No such file"):
        read_swc(tmp_path / "b.swc")
    (tmp_path / "c.swc").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text"):
        read_swc(tmp_path / "c.swc")


def test_neurons_are_trees_of_a_file_or_files_of_a_folder(tmp_path):
    (tmp_path / "a.swc").write_text(FILE)
    (tmp_path / "b.swc").write_text(FILE)
    assert len(read_neurons(str(tmp_path / "a.swc"), 1)) == 2
    for many in (tmp_path, tmp_path / "*.swc"):
        assert [neuron.name for neuron in read_neurons(str(many), 1)] == ["a", "b"]
    with pytest.raises(InputError, match="no file .*c.swc; give an SWC file"):
        read_neurons(str(tmp_path / "c.swc"), 1)
