"""Checks that at least one chunk of an array exists: an array without any looks like a volume of zeros.

Writers leave out chunks that hold only the fill value, so some chunks may rightly be absent. If all are absent, they
have other names than the metadata say, were never copied, or were never written.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import ATTRIBUTE, on_disk
from emjax.volumes.format import Request
from emjax.volumes.read.folder_metadata import PATIENCE, shown
from emjax.volumes.read.missing import FILL

# Most names of a folder that are looked at; with more, it is assumed that there are chunks: half a second.
_MOST_NAMES = 200_000
_NUMBER = re.compile(r"-?\d+")


class Chunks(NamedTuple):
    """The files that hold the chunks of an array.

    Attributes:
        base: URL of the array's folder, with a slash at its end.
        grid: number of chunk files along each axis.
        name: grid index -> path of the chunk file inside the folder; the names of one array differ only in their
            numbers.
        pattern: regular expression for all names, where numbers are not decimal; '': derived from a name.
    """

    base: str
    grid: tuple[int, ...]
    name: Callable[[tuple[int, ...]], str]
    pattern: str = ""

    @property
    def first(self) -> str:
        """File name of the first chunk."""
        return self.name((0,) * len(self.grid))

    def any_there(self) -> bool:
        """Whether some chunk exists: on a disk the whole folder is searched, on a server a few names are asked for."""
        if 0 in self.grid:
            return True
        if on_disk(self.base):
            return self._any_file()
        return self._any_answer()

    def _any_file(self) -> bool:
        # Most arrays are whole: try a few names first, and search the folder last.
        if any(os.path.exists(os.path.join(self._folder, self.name(i))) for i in self._probes()):
            return True
        pattern = self.pattern or r"-?\d+".join(map(re.escape, _NUMBER.split(self.first)))
        left = itertools.count(_MOST_NAMES, -1)
        return _matches(self._folder, pattern.split("/"), left)

    def _any_answer(self) -> bool:
        store = ts.KvStore.open(self.base).result(timeout=PATIENCE)
        probes = self._probes()
        for group in ([next(probes)], list(probes)):
            # The file may be large; one byte proves that it exists.
            reads = [store.read(self.name(index), byte_range=slice(0, 1)) for index in group]
            try:
                if any(read.result(timeout=PATIENCE).state == "value" for read in reads):
                    return True
            except (ValueError, OSError, RuntimeError, TimeoutError):
                # Not every server returns parts of files; if something else is wrong, reading reports it.
                return True
        return False

    @property
    def _folder(self) -> str:
        return shown(self.base)

    def _probes(self) -> Iterator[tuple[int, ...]]:
        """Yields grid indices to try: the middle, then corners and middles of edges, each once."""
        places = [sorted({n // 2, 0, n - 1}, key=lambda i, n=n: abs(i - n // 2)) for n in self.grid]
        yield from itertools.islice(itertools.product(*places), 3**4)


def refuse_if_none(chunks: Chunks, request: Request, attributes: Mapping[str, Any]) -> None:
    """Refuses an array that has no chunk at all, unless the address says that absent chunks are filled.

    Volumes that emjax wrote are never refused: a segmentation in which nothing was found has no chunks.

    Args:
        chunks: of the array.
        request: the request for the array.
        attributes: the attribute `emjax` of the volume.

    Raises:
        InputError: if no chunk exists; names the first that was looked for.
    """
    if request.missing == FILL or ATTRIBUTE in attributes or chunks.any_there():
        return
    looked = "none of its chunks is there" if on_disk(chunks.base) else "no chunk of it was found"
    raise InputError(
        f"{shown(chunks.base)} has metadata, but {looked}, such as {shown(chunks.base)}/{chunks.first}: copy them, or "
        "add ?missing=fill to take all voxels as the fill value"
    )


def _matches(folder: str, parts: list[str], left: Iterator[int]) -> bool:
    """Whether a folder, subfolders included, has a file whose name consists of these parts."""
    try:
        entries = os.scandir(folder)
    except OSError:
        return False
    with entries:
        for entry in entries:
            if next(left) < 0:
                return True
            if not _compiled(parts[0]).fullmatch(entry.name):
                continue
            if len(parts) == 1 or (entry.is_dir() and _matches(entry.path, parts[1:], left)):
                return True
    return False


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
