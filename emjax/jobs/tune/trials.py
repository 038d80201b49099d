"""The trials of a `tune` that are done, kept one by one: the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from emjax.runs.whole_file import write_whole

FILE = "trials.jsonl"


class Trials:
    """The trials of one command that are done.

    The first line of the file says of which command and volumes they are; each further line holds the settings and the
    scores of one trial. What a killed process wrote of a line is left out.
    """

    def __init__(self, folder: epath.Path, identity: str) -> None:
        """Reads the trials that were done before.

        Args:
            folder: run folder.
            identity: hash of all that decides what a trial's scores are; trials of another identity are forgotten.
        """
        self._file = folder / FILE
        self._scores: dict[str, dict[str, float]] = {}
        lines = _read(self._file)
        if not lines or lines[0].get("identity") != identity:
            write_whole(self._file, (json.dumps({"identity": identity}) + "\n").encode())
            return
        for line in lines[1:]:
            self._scores[_key(line["settings"])] = line["scores"]

    def __len__(self) -> int:
        """Number of trials that are done."""
        return len(self._scores)

    def scores(self, settings: Mapping[str, Any]) -> dict[str, float] | None:
        """Returns the scores of a trial, None if it is not done."""
        return self._scores.get(_key(settings))

    def add(self, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Keeps a trial, and returns once it is written.

        Args:
            settings: settings that were tried.
            scores: name -> score.
        """
        known = {name: float(value) for name, value in scores.items()}
        self._scores[_key(settings)] = known
        text = "".join(
            json.dumps(line) + "\n"
            for line in [*_read(self._file), {"settings": dict(settings), "scores": known}]
        )
        write_whole(self._file, text.encode())

    def clear(self) -> None:
        """Deletes the file; call it once the results are written."""
        self._file.unlink(missing_ok=True)


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def _read(file: epath.Path) -> list[dict[str, Any]]:
    """Returns the lines of the file; those that are not whole are left out."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and ("identity" in line or {"settings", "scores"} <= line.keys()):
            lines.append(line)
    return lines
