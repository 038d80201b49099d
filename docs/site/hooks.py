"""What mkdocs is told besides mkdocs.yml: pages from outside of docs/, pages that are generated, and their links.

Pages are written so that their links lead somewhere on a host of repositories. On the site, links to pages become links
of the site; links to code lead to `repo_url` of mkdocs.yml, where a copy of the repository sets it, and are plain text
where none is set.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from job_pages import job_page  # noqa: E402  (this folder is no package)

ROOT = Path(__file__).resolve().parents[2]
# Pages of the repository outside of docs/ -> where they are on the site.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "launch/README.md": "launch.md",
}
JOBS = "jobs"  # folder of the pages of jobs on the site, and their place in the navigation
# A block of code that is a file: its name becomes the block's title.
_NAMED_BLOCK = re.compile(r"^(```\w+) ([\w./-]+)$", re.MULTILINE)
_LINK = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s]+)\)")
# Code, in which nothing is a link.
_CODE = re.compile(r"^(```|~~~).*?^\1\s*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts a page for each job into the navigation."""
    pages = [f"{JOBS}/{file.stem}.md" for file in _configs()]
    config.nav = _fill(config.nav, pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in docs/."""
    for file in _configs():
        text = job_page(file.stem, file)
        files.append(File.generated(config, f"{JOBS}/{file.stem}.md", content=text))
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes the links of a page those of the site."""
    here = page.file.src_uri
    source = next((s for s, p in OUTSIDE.items() if p == here), f"docs/{here}")

    def moved(found: re.Match[str]) -> str:
        text, target = found.groups()
        name, hash_, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not name:
            return found.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        site = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if path.startswith("configs/"):
            site = f"{JOBS}/{posixpath.basename(path).removesuffix('.py')}.md"
        if site is not None and files.get_file_from_path(site):
            relative = posixpath.relpath(site, posixpath.dirname(here) or ".")
            return f"{text}({relative}{hash_}{anchor})"
        if config.repo_url:
            return f"{text}({config.repo_url.rstrip('/')}/blob/main/{path}{hash_}{anchor})"
        return text[1:-1]

    parts = _split_code(markdown)
    linked = "".join(part if code else _LINK.sub(moved, part) for part, code in parts)
    return _NAMED_BLOCK.sub(r'\1 title="\2"', linked)


def _split_code(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yields the parts of a page, and whether each is code."""
    end = 0
    for found in _CODE.finditer(markdown):
        # The text of a link may be code: what belongs to one link stays in one part.
        if markdown[: found.start()].endswith("[") and markdown[found.end() :].startswith("]("):
            continue
        yield markdown[end : found.start()], False
        yield found.group(), True
        end = found.end()
    yield markdown[end:], False


def _configs() -> list[Path]:
    return sorted(f for f in (ROOT / "configs").glob("*.py") if not f.name.startswith("_"))


def _fill(nav: Any, pages: list[str]) -> Any:
    """Returns the navigation with the pages of jobs in place of the word for them."""
    if isinstance(nav, dict):
        return {name: _fill(value, pages) for name, value in nav.items()}
    if isinstance(nav, list):
        return [_fill(item, pages) for item in nav]
    return pages if nav == JOBS else nav
