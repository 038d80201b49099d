"""Compile the loops of the synthetic tissue once, and never run a stale copy of them.

numba keeps compiled functions on disk, but looks only at the date of the file a function stands in:
a caller in another file would go on with the old copy of what it calls. Here the folder of the
cache is named after the text of all the files concerned.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numba


@functools.cache
def _cache_folder() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = numba.config.CACHE_DIR or os.path.join(home, "emjax", "numba")
    return os.path.join(base, digest.hexdigest()[:16])


def compiled(function: Callable) -> Callable:
    """Compile a function of numbers and arrays: no fast-math, no global lock, cached on disk."""
    before = numba.config.CACHE_DIR
    # numba reads the setting when it decorates, and falls back where the folder cannot be written.
    numba.config.CACHE_DIR = _cache_folder()
    try:
        return numba.njit(cache=True, nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = before
