"""The one command for an accelerator keeps its limits, and what was measured before them."""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    assert Path(gpu.__file__).is_relative_to(BENCHMARKS)
    return gpu


def _part(path: Path, then: str) -> list[str]:
    code = (
        "from pathlib import Path\nfrom accelerator.numbers import Numbers\n"
        f"numbers = Numbers(Path({str(path)!r}))\nnumbers.add('first', 2.0, 's')\n{then}"
    )
    return [sys.executable, "-c", code]


def test_limits_failures_and_the_end_of_time(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_LEAST_S", 0.1)
    child = tmp_path / "child"
    writes = f"import time; time.sleep(4); open({str(child)!r}, 'w')"
    commands = {
        # It starts another process, which must not outlive it, and is cut while it writes a number.
        "slow": _part(
            tmp_path / "slow.jsonl",
            "import subprocess, sys, time\n"
            f"code = {writes!r}\n"
            "subprocess.Popen([sys.executable, '-c', code])\n"
            f"open({str(tmp_path / 'slow.jsonl')!r}, 'a').write('{{\"name\": \"sec')\ntime.sleep(60)",
        ),
        "wrong": _part(tmp_path / "wrong.jsonl", "raise SystemExit('no such device')"),
        "fine": _part(tmp_path / "fine.jsonl", "numbers.add('kind', 'H', '')"),
        "late": _part(tmp_path / "late.jsonl", ""),
    }
    limits = {"slow": 3.0, "wrong": 30.0, "fine": 30.0, "late": 0.0}
    began = time.monotonic()
    found = gpu.run(commands, limits, tmp_path, time.monotonic() + 60, {"machine": "x"})
    assert [f.status for f in found.values()] == ["over its limit", "failed", "done", "not begun"]
    assert found["slow"].numbers == {"first": (2.0, "s")} and found["slow"].seconds < 6
    assert found["fine"].numbers["kind"] == ("H", "")
    assert "no such device" in found["wrong"].tail
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["machine"] == "x" and content["parts"]["wrong"]["status"] == "failed"
    assert "| slow | **over its limit** |" in (tmp_path / "gpu.md").read_text()
    assert "NUMBER slow first 2 s" in capsys.readouterr().out
    time.sleep(max(0.0, began + 5.5 - time.monotonic()))
    assert not child.exists()


def test_all_parts_have_a_limit_and_fit_two_commands_of_ten_minutes(gpu):
    from accelerator.parts import PARTS

    assert set(PARTS) == set(gpu.LIMITS)
    first = ["runs", "agreement", "kernels", "unet_train", "vit_train", "unet_infer", "vit_infer"]
    assert sum(gpu.LIMITS[name] for name in first) <= 570


def test_calls_of_kernels(gpu):
    from accelerator.programs import count_calls

    program = (
        '%a = (bf16[2]{0}) custom-call(%x), custom_call_target="__cudnn$fmhaSoftmax"\n'
        '%b = f32[2]{0} custom-call(%x), custom_call_target="__cudnn$convForward"\n'
        '%c = f32[2]{0} custom-call(%x), custom_call_target="__cudnn$convForward"\n'
        "%d = f32[2,2]{1,0} dot(%a, %b), lhs_contracting_dims={1}\n"
    )
    wanted = {"__cudnn$fmhaSoftmax": 1, "__cudnn$convForward": 2, "dot": 1}
    assert count_calls(program) == wanted


def test_where_the_time_of_a_trace_goes(gpu, tmp_path):
    from accelerator.programs import summarise

    def named(kind: str, name: str, **ids: int) -> dict:
        return {"ph": "M", "name": kind, "args": {"name": name}, **ids}

    def event(name: str, pid: int, tid: int, dur: float) -> dict:
        return {"ph": "X", "name": name, "pid": pid, "tid": tid, "dur": dur}

    events = [
        named("process_name", "/device:GPU:0", pid=1),
        named("process_name", "/host:CPU", pid=2),
        named("thread_name", "XLA Modules", pid=1, tid=1),
        named("thread_name", "Stream #7", pid=1, tid=2),
        event("jit_step", 1, 1, 100.0),  # all of it again
        event("python", 2, 1, 1000.0),  # not of the device
        event("fusion.12", 1, 2, 30.0),
        event("fusion.13", 1, 2, 30.0),
        event("cudnn_conv", 1, 2, 40.0),
    ]
    trace = tmp_path / "trace.json.gz"
    trace.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    assert summarise(trace) == [("fusion", 0.6), ("cudnn_conv", 0.4)]


def test_what_is_packed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import pack_gpu

    found = [
        line.partition("==")[0] for line in pack_gpu.needed("# x\njax>=0.10\n\nclu>=0.0.12,<0.1\n")
    ]
    # What the machine has is left out, also among what clu requires.
    assert "clu" in found and "ml-collections" in found
    assert not {"jax", "flax", "absl-py", "numpy"} & set(found)
