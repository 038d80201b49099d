"""Makes copies of a process quick: what a job imports and loads at its first run, the process has before it is copied.

Loading numba and its compiled loops takes some ten times as long as a job on a tiny volume. Nothing here starts
a thread, which a copy would not have.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any


def save_loaded(file: Path) -> None:
    """Writes down which modules a run imported, and for which types it compiled or loaded each loop of numba."""
    loops = [
        (module, name, list(value.nopython_signatures))
        for module, members in _ours()
        for name, value in members.items()
        if getattr(value, "nopython_signatures", ()) and value.__module__ == module
    ]
    file.write_bytes(pickle.dumps((sorted(sys.modules), pickle.dumps(loops))))


def load(file: Path) -> None:
    """Imports and loads what `save_loaded` wrote down."""
    names, loops = pickle.loads(file.read_bytes())
    for name in names:
        if name not in sys.modules and not name.startswith("_"):
            try:
                importlib.import_module(name)
            except ImportError:
                # Made at run time, or a part that this machine lacks.
                continue
    if "numba" not in sys.modules:
        return
    for module, name, signatures in pickle.loads(loops):
        for signature in signatures:
            getattr(sys.modules[module], name).compile(signature.args)


def _ours() -> list[tuple[str, dict[str, Any]]]:
    return [(name, vars(m)) for name, m in list(sys.modules.items()) if name.startswith("emjax")]
