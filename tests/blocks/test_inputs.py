"""A run whose input was replaced is told so, and nothing of the old input counts as done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emjax.blocks.inputs import INPUTS_FILE, Inputs
from emjax.errors import InputError


@pytest.fixture
def addresses(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "a.h5").write_bytes(b"one")
    return {"input": f"{tmp_path}/a.h5:raw", "image": ""}


def test_the_same_input_goes_on(addresses: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    inputs = Inputs.of(addresses, False)
    assert list(inputs.prints) == ["input"] and not inputs.incomplete
    # A new run, and one of a version that did not write it down.
    assert not inputs.check_same(run, overwrite=False)
    inputs.remember(run)
    assert not Inputs.of(addresses, False).check_same(run, overwrite=False)


def test_a_replaced_input_is_refused_and_named(addresses: dict[str, str], tmp_path: Path) -> None:
    Inputs.of(addresses, False).remember(tmp_path / "run")
    (tmp_path / "a.h5").write_bytes(b"another")
    inputs = Inputs.of(addresses, False)
    words = r"input=.*a.h5:raw was changed since the run in .*/run began \(.*a.h5 has 7 bytes, it had 3\).*=true"
    with pytest.raises(InputError, match=words) as error:
        inputs.check_same(tmp_path / "run", overwrite=False)
    assert "\n" not in str(error.value)
    assert inputs.check_same(tmp_path / "run", overwrite=True)
    inputs.remember(tmp_path / "run")
    assert not inputs.check_same(tmp_path / "run", overwrite=False)


def test_another_address_is_another_configuration(
    addresses: dict[str, str], tmp_path: Path
) -> None:
    Inputs.of(addresses, False).remember(tmp_path / "run")
    (tmp_path / "b.h5").write_bytes(b"another")
    addresses["input"] = f"{tmp_path}/b.h5"
    assert not Inputs.of(addresses, False).check_same(tmp_path / "run", overwrite=False)


def test_a_checkpoint_is_known_by_its_weights(addresses: dict[str, str], tmp_path: Path) -> None:
    inputs = Inputs.of(addresses, False)
    weights = ["runs/a", {"path": "runs/a/8/ema", "digest": "x"}]
    inputs.with_print("checkpoint", weights).remember(tmp_path / "run")
    for step, digest in ((9, "x"), (8, "y")):
        other = ["runs/a", {"path": f"runs/a/{step}/ema", "digest": digest}]
        with pytest.raises(InputError, match="checkpoint=runs/a was changed .*runs/a/8/ema"):
            inputs.with_print("checkpoint", other).check_same(tmp_path / "run", overwrite=False)


@pytest.mark.parametrize("text", ["", "[]", '{"input": 3}'])
def test_a_damaged_record_is_none(addresses: dict[str, str], tmp_path: Path, text: str) -> None:
    (tmp_path / INPUTS_FILE).write_text(text)
    assert not Inputs.of(addresses, False).check_same(tmp_path, overwrite=False)
    Inputs.of(addresses, False).remember(tmp_path)
    assert json.loads((tmp_path / INPUTS_FILE).read_text())["input"]
