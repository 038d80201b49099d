"""Pages of the reference, made from the files in configs/ when the site is built: what a job does, and its fields."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from emjax.command_help import show
from emjax.command_line import load_config
from emjax.config import flatten, plain
from emjax.config_comments import comment_on

# A page of docs/ that a docstring names, which on the site is a link.
_NAMED_PAGE = re.compile(r"`?\bdocs/(\w+)\.md\b`?")


def job_page(job: str, file: Path) -> str:
    """Returns the page of a job, in Markdown.

    Args:
        job: name of the job.
        file: its config file.
    """
    config = load_config(str(file))
    written = runpy.run_path(str(file))
    fields = {name: value for name, value in flatten(plain(config)).items() if name != "job"}
    groups = sorted({name.rpartition(".")[0] for name in fields}, key=lambda g: (g != "", g))
    lines = [f"# {job}", "", _link_pages(inspect.cleandoc(written["__doc__"])), "", "## Fields", ""]
    lines += [
        f"Set as `--config.FIELD=VALUE`, or `--FIELD=VALUE` behind `emjax {job}`. Values are those of "
        f"`configs/{job}.py` without a preset.",
        "",
    ]
    for group in groups:
        lines += _table(config, group, fields)
    return "\n".join([*lines, *_presets(file, written.get("PRESETS", {}), fields)])


def _table(config: ConfigDict, group: str, fields: Mapping[str, object]) -> list[str]:
    """Returns the table of a group of fields, '' for those that belong to none."""
    about = comment_on(config, group) if group else ""
    lines = [f"### {group}", "", f"{_cell(about)}\n" if about else ""] if group else []
    lines += ["| field | value | |", "|---|---|---|"]
    for name in sorted(n for n in fields if n.rpartition(".")[0] == group):
        value = show(fields[name])
        shown = f"`{value}`".replace("|", "\\|") if value else ""
        lines.append(f"| `{name}` | {shown} | {_cell(comment_on(config, name))} |")
    return [*lines, ""]


def _presets(file: Path, presets: Iterable[str], fields: Mapping[str, object]) -> list[str]:
    """Returns what each preset sets otherwise."""
    lines: list[str] = []
    for preset in sorted(name for name in presets if name):
        made = flatten(plain(load_config(f"{file}:{preset}")))
        changed = [
            f"`{name}={show(value)}`"
            for name, value in sorted(made.items())
            if name != "job" and (name not in fields or fields[name] != value)
        ]
        listed = ", ".join(changed) if changed else "nothing: these are the values above"
        lines += [f"- **{preset}** sets {listed}"]
    return ["## Presets", "", *lines, ""] if lines else []


def _cell(comment: str) -> str:
    """Returns a comment as the cell of a table: addresses and patterns in it are no Markdown."""
    parts = comment.split("`")
    # What stands between backticks is code already.
    parts[::2] = [re.sub(r"([*_<>\[\]])", r"\\\1", part) for part in parts[::2]]
    return _link_pages("`".join(parts).replace("|", "\\|"))


def _link_pages(text: str) -> str:
    return _NAMED_PAGE.sub(r"[docs/\1.md](../\1.md)", text)
