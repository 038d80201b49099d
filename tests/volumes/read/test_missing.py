"""What becomes of absent parts, as an address says."""

from __future__ import annotations

import pytest
from absl import logging

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.read import missing
from emjax.volumes.read.missing import ERROR, FILL, missing_key, refuse_key, refuse_or_say


def test_key() -> None:
    assert missing_key(Address.parse("a.zarr"), FILL) == "fill"
    assert missing_key(Address.parse("a.zarr?missing=error"), FILL) == "error"
    with pytest.raises(InputError, match="missing=none must be error or fill"):
        missing_key(Address.parse("a.zarr?missing=none"), FILL)
    refuse_key(Address.parse("a.tif"))
    with pytest.raises(InputError, match="nothing can be absent from it; leave out missing=fill"):
        refuse_key(Address.parse("a.tif?missing=fill"))


def test_refused_or_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    missing._say.cache_clear()
    refuse_or_say("d", [], 9, ERROR, "sections")
    for _ in range(2):
        refuse_or_say("d", ["d/s1.png"], 9, FILL, "sections")
    assert said == ["d lacks 1 of 9 sections: s1.png; they are taken as 0"]
    paths = [f"d/s{z}.png" for z in range(10)]
    with pytest.raises(
        InputError, match=r"d lacks 10 of 20 tiles: d/s0\.png, .*, d/s7\.png \.\.\.;"
    ):
        refuse_or_say("d", paths, 20, ERROR, "tiles")
