"""The pages of jobs that the site is built with: what they say comes from the config files."""

from __future__ import annotations

import importlib.util
import re

import pytest

from emjax.command_line import load_config
from emjax.config import flatten, plain

from .pages import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


job_page = _load("job_pages").job_page


def _rows(page: str) -> dict[str, tuple[str, str]]:
    fields = page.split("## Fields")[1]
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) ?\| (.*) \|$", fields, re.MULTILINE)
    return {name: (value, comment) for name, value, comment in rows}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_field_has_a_row_with_what_the_config_file_says(file):
    rows = _rows(job_page(file.stem, file))
    assert rows.keys() == flatten(plain(load_config(str(file)))).keys() - {"job"}
    assert [name for name, (_, comment) in rows.items() if not comment.strip()] == []


def test_values_comments_and_presets_are_those_of_the_file(tmp_path):
    file = tmp_path / "toy.py"
    file.write_text(
        '"""Plays.\n\nSee docs/view.md.\n"""\n'
        "from emjax.config import Config\n"
        "def get_config(preset=''):\n"
        "    c = Config()\n"
        "    c.job = 'toy'\n"
        "    c.volumes = 'a|b'  # image|labels, as in <a>\n"
        "    c.data = Config()\n"
        "    c.data.sizes = (1, 2)  # z and y\n"
        "    if preset: c.data.sizes = (3, 4)\n"
        "    return c.lock()\n"
        "PRESETS = {'': 0, 'large': 0}\n"
    )
    page = job_page("toy", file)
    assert page.startswith("# toy\n\nPlays.\n\nSee [docs/view.md](../view.md).")
    assert _rows(page) == {
        "volumes": ("`a\\|b`", "image\\|labels, as in \\<a\\>"),
        "data.sizes": ("`1,2`", "z and y"),
    }
    assert "- **large** sets `data.sizes=3,4`" in page
