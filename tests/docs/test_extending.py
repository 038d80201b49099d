"""The examples of docs/extending.md: read from the page, and found as parts of an installed package."""

from __future__ import annotations

import tomllib

from emjax.registry import Registry

from ..extending import read_blocks, write_package

PAGE = """
# A page

```python toy_part.py
PART = 'toy'
```

Text between, and a block without a name:

```python
PART = 'nobody runs this'
```

```toml pyproject.toml
[project.entry-points."emjax.toys"]
toy = "toy_part:PART"
```

```toml pyproject.toml
[project.entry-points."emjax.others"]
other = "toy_part:PART"
```
"""


def test_named_blocks_are_read_and_unnamed_ones_left(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    blocks = read_blocks(page)
    assert blocks["toy_part.py"] == "PART = 'toy'\n"
    assert list(blocks) == ["toy_part.py", "pyproject.toml"]


def test_pip_installs_all_modules_of_the_page():
    blocks = read_blocks()
    about = tomllib.loads(blocks.pop("pyproject.toml"))
    # A config is named by its path, and imported by nobody.
    modules = {name.removesuffix(".py") for name in blocks} - {"copy_config"}
    assert set(about["tool"]["setuptools"]["py-modules"]) == modules
    assert about["project"].keys() >= {"name", "version"}


def test_a_page_becomes_a_package_with_entry_points(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.syspath_prepend(str(write_package(tmp_path, page)))
    assert Registry("toy", "emjax.toys", {}).find("toy") == "toy"
    assert list(Registry("other", "emjax.others", {})) == ["other"]
