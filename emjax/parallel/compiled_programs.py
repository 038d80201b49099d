"""Where compiled programs are kept between runs, and the removal of those that a killed process left half written.

JAX writes a program to a file of its cache in place, and never again to a file that exists: one that was cut off would
be reported and compiled anew at each start. So each file is read once after it was written, by the next process that
starts, and deleted if it is not whole.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import zlib
from pathlib import Path

import jax
from absl import logging

# How the names of JAX's files end.
_PROGRAM = "-cache"
# Its time is that of the newest file that was found whole.
_CHECKED = ".checked"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PART = 1 << 20


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, so that a restart need not compile again.

    `JAX_COMPILATION_CACHE_DIR` moves the cache; an empty value turns it off.
    """
    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]  # made at run time
    if chosen or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        if chosen and "://" not in chosen:
            _look_once(Path(chosen))
        return
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(root) / "emjax" / "compiled" / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.warning("no compilation cache: %s", error)
        return
    _look_once(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))


@functools.cache
def _look_once(folder: Path) -> None:
    remove_torn(folder)


def remove_torn(folder: Path) -> list[str]:
    """Deletes compiled programs that are not whole, of those that were written since the last call; says which.

    A program that another process is writing at this moment may be deleted too: that one does not notice, and the
    program is compiled once more.

    Args:
        folder: of the cache, on this machine.

    Returns:
        Names of the files that were deleted.
    """
    marker, torn = folder / _CHECKED, []
    try:
        since = marker.stat().st_mtime_ns if marker.exists() else 0
        newest = since
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            written = entry.stat().st_mtime_ns
            if not entry.name.endswith(_PROGRAM) or written <= since:
                continue
            newest = max(newest, written)
            if not _is_whole(Path(entry.path)):
                os.unlink(entry.path)
                torn.append(entry.name)
        if newest > since:
            marker.touch()
            os.utime(marker, ns=(newest, newest))
    # Of a cache that cannot be read or written JAX itself tells.
    except OSError:
        pass
    if torn:
        logging.warning(
            "%d compiled programs in %s were cut off when a process was killed: deleted, they are compiled anew",
            *(len(torn), folder),
        )
    return torn


def _is_whole(path: Path) -> bool:
    """Whether a compressed program can be read to its end."""
    with path.open("rb") as file:
        if file.read(len(_ZSTD)) == _ZSTD:
            # JAX compresses so where it finds a package for it.
            import imagecodecs

            try:
                imagecodecs.zstd_decode(path.read_bytes())
            except imagecodecs.ZstdError:
                return False
            return True
        file.seek(0)
        decoder = zlib.decompressobj()
        try:
            while data := file.read(_PART):
                decoder.decompress(data)
        except zlib.error:
            return False
        return decoder.eof


def _machine() -> str:
    """Returns a hash of the CPU's instruction set: on a CPU with another one, programs crash or round differently."""
    # XLA's flags choose among the machine's instructions too, but are not part of JAX's cache keys.
    text = platform.machine() + os.environ.get("XLA_FLAGS", "")
    cpu_file = Path("/proc/cpuinfo")
    if cpu_file.is_file():
        lines = cpu_file.read_text(errors="replace").splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
