"""Compiles loops with numba and caches them on disk, so that no outdated copy is ever run.

numba checks only the date of the file that contains a function: after a change of a function in another file, its
callers would keep the old copy. Here the name of the cache folder depends on the text of all files whose functions may
be called.
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
# The members of numba's settings are made at run time, so no type checker knows them.
_SETTINGS: Any = numba.config
# A module whose functions are called from other packages.
_SHARED = _ROOT / "hash_table.py"


def compiled(function: Callable, signature: str | None = None, **options: Any) -> Any:
    """Decorator that compiles a function of numbers and arrays: no fast-math, no global lock, cached on disk.

    If neither the user's cache nor the folder of the file can be written, each process compiles the function anew,
    which only makes the start slower.

    Args:
        function: may call compiled functions of its own package (`emjax.segmentation`), and of `emjax.hash_table`.
        signature: types as numba writes them, such as 'float64(int64)': compiled when it is defined, and for them only.
            For small functions that are called with constants, for each of which numba would compile a copy.
        **options: further options of `numba.njit`.
    """
    before = _SETTINGS.CACHE_DIR
    if signature:
        options["signature_or_function"] = signature
    # numba reads this setting when it decorates, and falls back to the file's folder if the cache cannot be written.
    _SETTINGS.CACHE_DIR = _cache_folder(_package(Path(function.__code__.co_filename)))
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache function" not in str(error):
            raise
        return numba.njit(nogil=True, **options)(function)
    finally:
        _SETTINGS.CACHE_DIR = before


def is_kept(function: Any) -> bool:
    """Whether a compiled function is kept on disk, so that its first call waits for no compiler.

    Args:
        function: what `compiled` returned.
    """
    folder = function.stats.cache_path
    # As numba names its files.
    name = function.py_func.__qualname__.replace("<", "").replace(">", "")
    return folder is not None and any(Path(folder).glob(f"*.{name}-*.nbi"))


def _package(path: Path) -> Path:
    """Returns the folder below `emjax` that a file is in, such as `emjax/segmentation`; else the folder of the file."""
    if not path.is_relative_to(_ROOT) or path.parent == _ROOT:
        return path.parent
    return _ROOT / path.relative_to(_ROOT).parts[0]


@functools.cache
def _cache_folder(package: Path) -> str:
    """Returns the cache folder for the compiled functions of a package."""
    digest = hashlib.sha256(str(package).encode())
    files = package.glob("*.py") if package == _ROOT else package.rglob("*.py")
    for path in (*sorted(files), _SHARED):
        digest.update(path.name.encode() + path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = _SETTINGS.CACHE_DIR or os.path.join(home, "emjax", "numba")
    return os.path.join(base, digest.hexdigest()[:16])
