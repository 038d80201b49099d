"""Loops that numba compiles, kept on disk between runs; no stale copy of them is ever run.

numba looks only at the date of the file that a function stands in: a caller in another file would go on with the old
copy of what it calls. Here the folder of the cache is named after the text of all files that a function may call.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_ROOT = Path(__file__).parent
# Its settings are made at run time: no type checker knows them.
_SETTINGS: Any = numba.config
# Called from other packages.
_SHARED = _ROOT / "hash_table.py"


def compiled(function: Callable, **options: Any) -> Any:
    """Compiles a function of numbers and arrays, a decorator: no fast-math, no global lock, kept on disk.

    Where neither the cache of the user nor the folder of the file can be written, the function is compiled anew in each
    process: slower to start, nothing else.

    Args:
        function: may call compiled functions of its own package (`emjax.segmentation`), and of `emjax.hash_table`.
        **options: further ones of `numba.njit`.
    """
    before = _SETTINGS.CACHE_DIR
    # numba reads the setting when it decorates, and takes the folder of the file where this one cannot be written.
    _SETTINGS.CACHE_DIR = _cache_folder(_package(Path(function.__code__.co_filename)))
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return numba.njit(nogil=True, **options)(function)
    finally:
        _SETTINGS.CACHE_DIR = before


def _package(path: Path) -> Path:
    """Returns the folder below `emjax` that a file is in, such as `emjax/segmentation`; of other files their own."""
    if not path.is_relative_to(_ROOT) or path.parent == _ROOT:
        return path.parent
    return _ROOT / path.relative_to(_ROOT).parts[0]


@functools.cache
def _cache_folder(package: Path) -> str:
    """Returns the cache of the compiled functions of a package."""
    digest = hashlib.sha256(str(package).encode())
    files = package.glob("*.py") if package == _ROOT else package.rglob("*.py")
    for path in (*sorted(files), _SHARED):
        digest.update(path.name.encode() + path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = _SETTINGS.CACHE_DIR or os.path.join(home, "emjax", "numba")
    return os.path.join(base, digest.hexdigest()[:16])
