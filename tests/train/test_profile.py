"""A trace of the steps that were named, which both viewers can read."""

from __future__ import annotations

import gzip
import json

import pytest

from emjax.errors import InputError

from .toy import run_toy, toy_config


def test_a_trace_holds_its_steps_and_no_other(tmp_path):
    run_toy(toy_config(profile_steps="5:8"), tmp_path)
    (trace,) = tmp_path.glob("profile/**/perfetto_trace.json.gz")
    assert list(tmp_path.glob("profile/**/*.xplane.pb"))
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = {event["args"].get("step_num") for event in events if event.get("name") == "train"}
    assert steps == {"5", "6", "7"}


@pytest.mark.parametrize("text", ["5", "8:5", "a:b", "5:", "-1:3", "4:4"])
def test_what_is_no_range_of_steps(text):
    from emjax.config import parse_steps

    with pytest.raises(InputError, match="profile_steps=.*100:105"):
        parse_steps(text)
