"""What the comments in config files say of their fields: the one source of the help on the command line."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from pathlib import Path

from ml_collections import ConfigDict

from emjax.config import Config


def comment_on(config: ConfigDict, name: str) -> str:
    """Returns what the code says of a field where it gives the field its first value, '' if it says nothing.

    Args:
        config: the configuration.
        name: dotted name of a field, or of a group of fields.
    """
    *groups, last = name.split(".")
    for group in groups:
        config = config[group]
    place = config.places.get(last) if isinstance(config, Config) else None
    if place is None or not Path(place[0]).is_file():
        return ""
    return _comments_of_file(place[0]).get(place[1], "")


@functools.cache
def _comments_of_file(file: str) -> dict[int, str]:
    return read_comments(Path(file).read_text())


def read_comments(source: str) -> dict[int, str]:
    """Returns what is said of each assignment.

    Args:
        source: Python code.

    Returns:
        Line, each of an assignment's -> the comment in the lines of the assignment, or else the lines of comment
        directly above it. Assignments without either are left out.
    """
    beside, above = _comments_by_line(source)
    found: dict[int, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        text = " ".join(beside[line] for line in lines if line in beside)
        if not text:
            first = node.lineno
            while first - 1 in above:
                first -= 1
            text = " ".join(above[line] for line in range(first, node.lineno))
        if text:
            found.update(dict.fromkeys(lines, text))
    return found


def _comments_by_line(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Returns line -> comment, of those beside code or within a statement, and of those with a line of their own."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            own_line = not token.line[: token.start[1]].strip()
            (alone if own_line else beside)[token.start[0]] = token.string.lstrip("# ").rstrip()
    return beside, alone
