"""SWC: what is read, what is written, what is refused, what is mended."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import check_swc, depth_first, read_neurons, read_swc, write_swc
from emjax.skeletons.unit import VOXELS, Unit

NM = Unit("nm", 1.0)
FILE = """# a comment
3 0 4 5.5 6 0.5 1
1 2 1 2 3 1.0 -1  # soma

10 0 0 0 0 0 -1
"""


def test_points_in_any_order_and_several_trees(tmp_path):
    (tmp_path / "n1.swc").write_text(FILE)
    skeleton = read_swc(tmp_path / "n1.swc")
    assert skeleton.positions.tolist() == [[6, 5.5, 4], [3, 2, 1], [0, 0, 0]]
    assert skeleton.parents.tolist() == [1, -1, -1] and skeleton.edges.tolist() == [[0, 1]]
    assert skeleton.radii.tolist() == [0.5, 1, 0] and skeleton.name == "n1"
    assert skeleton.types.tolist() == [0, 2, 0]
    assert skeleton.edge_lengths[0] == pytest.approx(np.sqrt(3**2 + 3.5**2 + 3**2))


def test_written_twice_is_the_same_file(tmp_path):
    rng = np.random.default_rng(0)
    parents = np.asarray([3, 0, 0, -1, -1, 4])
    types = np.asarray([3, 3, 2, 1, 0, 0])
    skeleton = Skeleton(rng.random((6, 3)) * 1e3 - 500, parents, rng.random(6), "a", types)
    write_swc(tmp_path / "a.swc", skeleton, VOXELS, ["made"])
    again = read_swc(tmp_path / "a.swc")
    write_swc(tmp_path / "b.swc", again, VOXELS, ["made"])
    text = (tmp_path / "a.swc").read_text()
    assert text == (tmp_path / "b.swc").read_text()
    assert text.startswith("# made\n# unit: voxel; 0 is the centre of the first voxel\n")
    # Whole branches, parents first.
    order = depth_first(parents)
    assert order.tolist() == [3, 0, 1, 2, 4, 5]
    np.testing.assert_allclose(again.positions, skeleton.positions[order], atol=5e-7)
    assert again.types.tolist() == types[order].tolist()
    assert check_swc(tmp_path / "a.swc").problems[0].text == "another root, after that in line 4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 0 1 2 3 1 -1\n2 0 1 2 three 1 1\n", "line 2: '2 0 1 2 three 1 1' is no point"),
        ("1 0 1 2 3\n", "line 1"),
        ("1 0 1 2 3 1 nan\n", "line 1"),
        ("# nothing\n", "holds no point"),
        ("1 0 1 2 3 1 -1\n1 0 1 2 4 1 -1\n", "line 2: two points have one number, 1: .* line 1"),
        ("\n4 0 1 2 3 1 9\n", "line 2: the parent 9 of point 4 is not in the file; the job swc"),
        ("1 0 1 2 3 1 2\n2 0 1 2 3 1 1\n", "line 1: point 1 is in a ring"),
        ("1 0 1 2 3 1 1\n", "line 1: point 1 is its own parent"),
        ("1 0 1 2 nan 1 -1\n", "line 1: a coordinate or radius is not finite"),
        ("4 0 1 2 3 1 9\n5 0 1 2 3 1 9\n", r"\(and 1 more such lines\)"),
    ],
)
def test_what_is_no_skeleton_is_refused_with_the_line(tmp_path, text, words):
    (tmp_path / "a.swc").write_text(text)
    with pytest.raises(InputError, match=words) as refusal:
        read_swc(tmp_path / "a.swc")
    assert "\n" not in str(refusal.value)


def test_what_can_be_mended_is_mended_and_said(tmp_path):
    lines = [
        "2 3 1 0 0 0 1",  # later parent, no radius
        "1 1 0 0 0 3 -1",
        "3 3 2 0 0 5 77",  # no such parent
        "5 3 9 9 9 1 4",  # ring 5 -> 4 -> 5
        "4 3 9 9 8 1 5",
        "6 3 9 9 7 1 4",  # below the ring
        "1 1 0 0 0 3 -1",  # the same again
    ]
    (tmp_path / "a.swc").write_text("\n".join(lines))
    with pytest.raises(InputError, match="line 3: .* 2 more such lines.; the job swc mends"):
        read_swc(tmp_path / "a.swc")
    checked = check_swc(tmp_path / "a.swc", repair=True)
    said = {(p.line, p.kind): p.mended for p in checked.problems}
    assert said[1, "late parents"] == "sorted"
    assert said[1, "no radius"].startswith("radius 2, as is usual")
    assert said[3, "a missing parent"] == "made a root"
    assert said[4, "a ring"].startswith("made a root")
    assert said[7, "a number twice"].startswith("left out")
    tree = checked.skeleton
    # Roots 1, 3 and 5 first, then 2 and 4, then 6.
    assert tree.positions[:, 2].tolist() == [0, 2, 9, 1, 9, 9]
    assert tree.parents.tolist() == [-1, -1, -1, 0, 2, 4] and tree.radii[3] == 2
    write_swc(tmp_path / "b.swc", tree, NM)
    assert {p.kind for p in check_swc(tmp_path / "b.swc").problems} == {"several roots"}


def test_two_different_points_of_one_number_cannot_be_mended(tmp_path):
    (tmp_path / "a.swc").write_text("1 0 1 2 3 1 -1\n1 0 5 2 3 1 -1\n")
    with pytest.raises(InputError, match="each needs its own$"):
        check_swc(tmp_path / "a.swc", repair=True)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot read skeleton .*b.swc: No such file"):
        read_swc(tmp_path / "b.swc")
    (tmp_path / "c.swc").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is no text"):
        read_swc(tmp_path / "c.swc")


def test_neurons_are_trees_of_a_file_or_files_of_a_folder(tmp_path):
    (tmp_path / "a.swc").write_text(FILE)
    (tmp_path / "b.swc").write_text(FILE)
    assert len(read_neurons(str(tmp_path / "a.swc"), NM, None)) == 2
    for many in (tmp_path, tmp_path / "*.swc"):
        assert [neuron.name for neuron in read_neurons(str(many), NM, None)] == ["a", "b"]
    with pytest.raises(InputError, match="no file .*c.swc; give an SWC file"):
        read_neurons(str(tmp_path / "c.swc"), NM, None)
