"""The exact versions fit what is required, for each version of Python."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
_spec = importlib.util.spec_from_file_location("constraints", ROOT / "launch" / "constraints.py")
constraints = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(constraints)


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_each_requirement_has_one_exact_version_that_it_allows(python: str) -> None:
    pins = {}
    for line in LINES:
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        (exact,) = pin.specifier
        assert exact.operator == "==", line
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            assert canonicalize_name(pin.name) not in pins, line
            pins[canonicalize_name(pin.name)] = exact.version
    for line in constraints.requirements():
        wanted = Requirement(line)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, line
    # What they need in turn is there as well, jaxlib in the version of jax.
    assert pins["jaxlib"] == pins["jax"] and {"typing-extensions", "distributed"} <= set(pins)


def test_versions_that_differ_carry_their_python() -> None:
    found = {"3.11": {"a": "1", "b": "1", "c": "1"}, "3.12": {"a": "1", "b": "2"}}
    assert constraints.merge(found) == [
        "a==1",
        "b==1; python_version == '3.11'",
        "b==2; python_version == '3.12'",
        "c==1; python_version == '3.11'",
    ]
