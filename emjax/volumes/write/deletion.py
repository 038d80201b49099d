"""Decides what may be deleted of an output that is a folder, and deletes it: only files that emjax writes there.

A format lists the files that it writes as patterns, in the order in which they are deleted: voxels first, metadata
last. So an output that is half deleted still says whose it is, and the same command can go on. Anything else in the
folder, and every link, is named and refused before the first file goes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.address import local_path
from emjax.volumes.attributes import first_sentence, folder_url

# TensorStore writes a file under this name beside it, and leaves it there when it is killed.
_LOCK = ".__lock"
# Of a network drive, that answers each deletion after a while.
_THREADS = 16
_SHOWN = 3


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether a path is on a file system of this machine, and no URL."""
    return "://" not in os.fspath(path)


def real_folder(path: str | os.PathLike[str]) -> Path:
    """Returns the real path of a local folder, all links followed."""
    return Path(os.path.realpath(local_path(os.fspath(path).rstrip("/") or "/")))


def first_file(path: str | os.PathLike[str]) -> str:
    """Returns the name of a file in a folder, as a path in it; '' if it holds none but what a killed writer left."""
    return next((name for name, _ in _walk(path, "") if not name.endswith(_LOCK)), "")


def list_owned(
    path: str | os.PathLike[str], patterns: Sequence[re.Pattern[str]], inside: Sequence[str] = ("",)
) -> list[list[str]]:
    """Lists the files of an output that may be deleted.

    Args:
        path: folder of the output, or a URL.
        patterns: of the files that the format writes, as paths in the folder with '/'; in the order of deletion.
        inside: what is looked at, all else stays: paths in the folder of files, or of folders (`name/`).

    Returns:
        For each pattern, the files.

    Raises:
        InputError: if anything else lies there, or the folder cannot be read; names it.
    """
    groups: list[list[str]] = [[] for _ in patterns]
    others = []
    for name, is_link in (item for place in inside for item in _walk(path, place)):
        plain = name.removesuffix(_LOCK)
        group = next((i for i, p in enumerate(patterns) if p.fullmatch(plain)), None)
        if group is None or is_link:
            others.append(f"the link {name}" if is_link else name)
            if len(others) > _SHOWN:
                break
        else:
            groups[group].append(name)
    if others:
        more = " and more" if len(others) > _SHOWN else ""
        raise InputError(
            f"{path} holds what emjax did not write there and will not delete: {', '.join(others[:_SHOWN])}{more}; "
            "move it away, or give another output"
        )
    return groups


def delete_groups(path: str | os.PathLike[str], groups: Sequence[Sequence[str]]) -> None:
    """Deletes files, each group after the one before is gone, and the folders that they leave empty.

    Args:
        path: folder of the output, or a URL; the folder itself stays.
        groups: as `list_owned` returned them.

    Raises:
        InputError: if a file cannot be deleted.
    """
    try:
        for names in groups:
            if is_local(path):
                _unlink(real_folder(path), names)
            else:
                store = ts.KvStore.open(folder_url(path)).result()
                for future in [store.write(name, None) for name in names]:
                    future.result()
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"cannot delete {path}: {first_sentence(error)}") from error


def _unlink(root: Path, names: Sequence[str]) -> None:
    def remove(name: str) -> None:
        (root / name).unlink(missing_ok=True)

    if len(names) < _THREADS:
        for name in names:
            remove(name)
    else:
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(remove, names))
    parents = {parent for name in names for parent in Path(name).parents if parent.name}
    for folder in sorted(parents, key=lambda p: len(p.parts), reverse=True):
        with contextlib.suppress(OSError):
            (root / folder).rmdir()


def _walk(path: str | os.PathLike[str], inside: str) -> Iterator[tuple[str, bool]]:
    """Yields each file below a place in a folder, as a path in the folder, and whether it is a link."""
    if not is_local(path):
        try:
            keys = ts.KvStore.open(folder_url(path)).result().list(_key_range(inside)).result()
            yield from ((key.decode(errors="replace"), False) for key in keys)
        except (ValueError, OSError, RuntimeError) as error:
            raise InputError(f"cannot read {path}: {first_sentence(error)}") from error
        return
    root = real_folder(path)
    start = root / inside
    if inside and (start.is_symlink() or start.is_file()):
        yield inside, start.is_symlink()
        return

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise InputError(f"cannot read {error.filename} ({error.strerror})") from error

    for folder, folders, files in os.walk(start, onerror=refuse):
        below = Path(folder).relative_to(root).as_posix().removeprefix(".")
        prefix = f"{below}/" if below else ""
        # Links to folders are listed as folders, and not followed.
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from ((prefix + name, True) for name in links)
        for name in files:
            yield prefix + name, os.path.islink(os.path.join(folder, name))


def _key_range(inside: str) -> ts.KvStore.KeyRange:
    """Returns the range of keys of a file, of a folder (`name/`), or of everything ('')."""
    if not inside:
        return ts.KvStore.KeyRange()
    # '0' follows '/'.
    end = f"{inside[:-1]}0" if inside.endswith("/") else f"{inside}\0"
    return ts.KvStore.KeyRange(inside, end)
