"""The numbers of a part, written as they come."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Numbers:
    """Appends numbers to a file, each complete before the next is measured, so that a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, name: str, value: Any, unit: str = "") -> None:
        """Appends one.

        Args:
            name: what was measured.
            value: a number, or text.
            unit: of the number.
        """
        with self._path.open("a") as file:
            file.write(json.dumps({"name": name, "value": value, "unit": unit}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(name, value, unit, flush=True)
