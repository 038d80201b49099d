"""Parts by name: emjax's own, those of installed packages, and names that nobody has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emjax.errors import InputError
from emjax.registry import Registry


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package beside emjax that offers two parts, one of them under a name of emjax's, and one that is not there."""
    (tmp_path / "beside_emjax.py").write_text("PART = 'from outside'\n")
    info = tmp_path / "beside_emjax-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beside_emjax\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[emjax.toys]\nextra = beside_emjax:PART\npi = beside_emjax:PART\nlost = beside_emjax:NOTHING\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def _toys() -> Registry:
    return Registry("toy", "emjax.toys", {"pi": "math:pi", "e": "math:e", "json": "json"})


def test_a_part_is_imported_by_its_place():
    import json
    import math

    toys = _toys()
    assert toys.find("pi") == toys["pi"] == math.pi
    assert toys["json"] is json
    assert list(toys) == ["pi", "e", "json"] and len(toys) == 3


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys\nfrom emjax.registry import Registry\n"
        "toys = Registry('toy', 'emjax.toys', {'a': 'wave:open'})\n"
        "assert 'a' in toys and list(toys) == ['a'] and 'wave' not in sys.modules\n"
        "toys.find('a')\nassert 'wave' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(
        InputError, match=r"^unknown toy 'jsn'; did you mean 'json'\? known: e, json, pi"
    ):
        _toys().find("jsn")
    with pytest.raises(InputError, match=r"^model\.name='jsn' is unknown; did you mean 'json'"):
        _toys().find("jsn", "model.name=")
    with pytest.raises(KeyError):
        _toys()["jsn"]


def test_installed_packages_add_parts_and_replace_none(outside):
    import math

    toys = _toys()
    assert toys.find("extra") == "from outside"
    assert toys.find("pi") == math.pi
    assert list(toys) == ["pi", "e", "json", "extra", "lost"]
    assert toys.place("extra") == "beside_emjax:PART"


def test_a_part_from_outside_that_cannot_be_imported_is_the_users_to_mend(outside):
    with pytest.raises(
        InputError, match=r"toy 'lost' cannot be imported from beside_emjax:NOTHING .*emjax\.toys"
    ):
        _toys().find("lost")
