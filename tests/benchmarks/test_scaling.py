"""What a compiled step sends is read right, and the prediction is the stated formula."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# In the forms that XLA writes: a loop with known rounds and one whose condition tells, a conditional, an asynchronous
# operation, a reduce-scatter as TPUs have it, and all ways to say who takes part.
KNOWN = 'backend_config={"known_trip_count":{"n":"3"}}'
PROGRAM = """HloModule jit_step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (input: f32[1024]) -> f32[128] {
  %input = f32[1024]{0:T(1024)} parameter(0)
  %all-reduce.9 = f32[1024]{0:T(1024)} all-reduce(%input), channel_id=9, replica_groups={{0,1,2,3,4,5,6,7}}
  ROOT %slice = f32[128]{0:T(128)} dynamic-slice(%all-reduce.9), dynamic_slice_sizes={128}
}

%body.known (p: (s32[], bf16[8,64])) -> (s32[], bf16[8,64]) {
  %p = (s32[], bf16[8,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %gather = bf16[64,64]{1,0:T(8,128)(2,1)} all-gather(%x), channel_id=1, replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %t = (s32[], bf16[8,64]{1,0}) tuple(%i, %x)
}

%condition.known (p: (s32[], bf16[8,64])) -> pred[] {
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%body.counted (p: (s32[], f32[16])) -> (s32[], f32[16]) {
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %two = s32[]{:T(128)} constant(2)
  %next = s32[]{:T(128)} add(%i, %two), control-predecessors={%i}
  %one = s32[]{:T(128)} constant(1)
  %more = s32[]{:T(128)} add(%one, %next)
  %permute = f32[16]{0} collective-permute(%x), channel_id=2, source_target_pairs={{0,1},{1,0}}
  ROOT %t = (s32[], f32[16]{0}) tuple(%more, /*index=1*/%permute)
}

%condition.counted (p: (s32[], f32[16])) -> pred[] {
  %n = s32[]{:T(128)} constant(13)
  %j = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[] compare(%j, %n), direction=LT
}

%branch.0 (p: f32[4]) -> f32[4] {
  ROOT %exchange = f32[4]{0} all-to-all(%p), channel_id=3, replica_groups=mesh['a'=2,'b'=4] {'b'}, dimensions={0}
}

%branch.1 (p: f32[4]) -> f32[4] {
  ROOT %p = f32[4]{0} parameter(0)
}

ENTRY %main (x: f32[100]) -> f32[100] {
  %x = f32[100]{0} parameter(0)
  %start = (f32[100], f32[400], u32[], u32[]) all-gather-start(%x), channel_id=4, replica_groups=[2,4]<=[4,2]T(1,0)
  %done = f32[400]{0} all-gather-done(%start)
  %both = (f32[10]{0}, f32[]) all-reduce-start(%x, %y), channel_id=5, replica_groups={{0,1},{2,3}}, to_apply=%add
  %scatter = f32[25]{0} reduce-scatter(%x), channel_id=6, replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  %while.1 = (s32[], bf16[8,64]{1,0}) while(%t), condition=%condition.known, body=%body.known, KNOWN
  %first = s32[]{:T(128)} constant(2)
  %copied = s32[]{:T(128)} copy(%first)
  %u = (s32[], f32[16]{0}) tuple(%copied, %z)
  %while.2 = (s32[], f32[16]{0}) while(%u), condition=%condition.counted, body=%body.counted
  %fused = f32[128]{0} fusion(%w), kind=kCustom, calls=%all-reduce-scatter.1
  %either = f32[4]{0} conditional(%i, %x, %x), branch_computations={%branch.0, %branch.1}
  ROOT %out = f32[100]{0} copy(%x)
}
""".replace("KNOWN", KNOWN)


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("collectives", "compiled", "loops", "scaling"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import collectives
    import scaling

    return collectives, scaling


def test_bytes_on_the_wire(modules):
    wire_bytes = modules[0].wire_bytes
    assert wire_bytes("all-reduce", 800, 8) == 2 * 7 / 8 * 800
    assert wire_bytes("all-gather", 800, 8) == 700
    assert wire_bytes("reduce-scatter", 800, 4) == 600
    assert wire_bytes("all-to-all", 800, 2) == 400
    assert wire_bytes("collective-permute", 800, 2) == 800
    assert all(wire_bytes(kind, 800, 1) == 0 for kind in modules[0].KINDS)


def test_a_program_by_hand(modules):
    found, unknown = modules[0].read_collectives(PROGRAM, 8)
    assert not unknown
    told = {(one.kind, one.size_bytes, one.group, one.times) for one in found}
    assert told == {
        ("all-gather", 64 * 64 * 2, tuple(range(8)), 3),
        # From 2 by 3 to 13: at 2, 5, 8 and 11.
        ("collective-permute", 64, (0, 1), 4),
        ("all-to-all", 16, (0, 1, 2, 3), 1),
        ("all-gather", 1600, (0, 2, 4, 6), 1),
        ("all-reduce", 44, (0, 1), 1),
        ("reduce-scatter", 400, (0, 1, 2, 3), 1),
        ("reduce-scatter", 4096, tuple(range(8)), 1),
    }
    sums = modules[0].by_group(found)
    assert sums["all-gather", 8] == (3, 3 * 7 / 8 * 8192)
    assert sums["collective-permute", 2] == (4, 4 * 64)
    assert sums["reduce-scatter", 4] == (1, 300)


@pytest.mark.parametrize(
    "known, other",
    [
        ("%n = s32[]{:T(128)} constant(13)", "%n = s32[] get-tuple-element(%p), index=1"),
        ("%first = s32[]{:T(128)} constant(2)", "%first = s32[] parameter(1)"),
        ("%more = s32[]{:T(128)} add(%one, %next)", "%more = s32[]{:T(128)} multiply(%one, %next)"),
    ],
)
def test_a_loop_of_unknown_rounds_is_told(modules, known, other):
    assert known in PROGRAM
    text = PROGRAM.replace(known, other)
    found, unknown = modules[0].read_collectives(text, 8)
    assert unknown == ["body.counted"]
    assert [one.times for one in found if one.kind == "collective-permute"] == [1]


@pytest.mark.parametrize(
    "groups, members",
    [
        ("{}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("{{0,3},{1,2}}", (0, 3)),
        ("[2,4]<=[8]", (0, 1, 2, 3)),
        ("[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("mesh['a'=2,'b'=4] {'a','b'}", (0, 1, 2, 3, 4, 5, 6, 7)),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", (0, 1, 2, 3)),
        ("mesh['a'=8] {'a':(2)4}", (0, 1, 2, 3)),
        ("mesh['a'=8] {'a':(1)2}", (0, 4)),
    ],
)
def test_groups(modules, groups, members):
    line = f"all-gather(%x), replica_groups={groups}, channel_id=1"
    assert modules[0]._group(line, 8) == members


def test_forms_that_are_not_known_are_refused(modules):
    text = PROGRAM.replace("replica_groups=[1,8]<=[8]", "replica_groups=new_form")
    with pytest.raises(ValueError, match="not known"):
        modules[0].read_collectives(text, 8)


def test_a_program_of_this_compiler(modules):
    """A scan of four products whose weights are split: gathered in each round; the gradient is summed over rows."""
    kinds = (AxisType.Auto,) * 2
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(2, 4), ("data", "fsdp"), axis_types=kinds)
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    split = NamedSharding(mesh, PartitionSpec(None, None, "fsdp"))

    def loss(weights, x):
        return jnp.sum(jax.lax.scan(lambda x, w: (jnp.sin(x @ w), None), x, weights)[0])

    weights = jax.ShapeDtypeStruct((4, 32, 32), jnp.float32, sharding=split)
    x = jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=rows)
    text = jax.jit(jax.grad(loss), out_shardings=split).lower(weights, x).compile().as_text()
    found, unknown = modules[0].read_collectives(text, 8)
    assert not unknown
    gathers = [one for one in found if one.kind == "all-gather"]
    # Once or twice a round, forward and backward, of a layer or once of all four: 4 to 8 layers in all.
    assert {one.group for one in gathers} == {(0, 1, 2, 3)}
    layers = sum(one.times * one.size_bytes for one in gathers) / (32 * 32 * 4)
    assert layers in (4, 8)
    # Every device ends with its part of the gradient of each layer, a sum over all eight.
    sums = [one for one in found if one.kind in ("all-reduce", "reduce-scatter")]
    assert np.prod([len(one.group) for one in sums]) == 8
    assert {one.times for one in sums} == {4}


def test_rates(modules):
    fabrics = modules[1].FABRICS
    # A closed ring sends both ways, a line one way.
    assert fabrics["v5e"].rate(range(8), 64) == 50e9
    assert fabrics["v5e"].rate(range(8), 256) == 100e9
    assert fabrics["v5p"].rate(range(8), 64) == 200e9
    # Within a node, across nodes with one member in each, with two, and with whole nodes.
    rate = fabrics["H100"].rate
    assert rate(range(8), 64) == 450e9
    assert rate(range(0, 64, 8), 64) == 50e9
    assert rate([0, 4, 8, 12], 64) == 100e9
    assert rate(range(64), 64) == 400e9


def test_prediction(modules):
    collectives, scaling = modules
    sent = [collectives.Collective("all-gather", 800_000_000, tuple(range(8)), times=2)]
    # 2 x 700 MB at 50 GB/s are 28 ms; 19.7 TFLOP at half of 197 TFLOP/s are 200 ms.
    one = scaling.predict(19.7e12, sent, scaling.FABRICS["v5e"], 8, 0.5)
    assert one.send_s == pytest.approx(0.028)
    assert one.compute_s == pytest.approx(0.2)
    assert one.no_overlap == pytest.approx(0.2 / 0.228)
    assert one.full_overlap == 1.0
    slow = scaling.Prediction(compute_s=1.0, send_s=4.0)
    assert (slow.no_overlap, slow.full_overlap) == (0.2, 0.25)


def test_a_missing_compiler_is_told_in_one_line(modules, monkeypatch):
    import compiled

    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(SystemExit) as raised:
        compiled._devices("v5e:2x2")
    assert "pip install 'libtpu==" in str(raised.value) and "\n" not in str(raised.value)
