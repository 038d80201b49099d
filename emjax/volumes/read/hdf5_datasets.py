"""Finds the datasets of an HDF5 file by name, through links of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py

from emjax.errors import InputError

# Names taken, in this order, where a file holds several volumes and none was named; CREMI's first.
_USUAL = ("volumes/raw", "raw", "main", "exported_data")
# Most objects that are visited in a file, since a link may lead back to a parent group.
_MOST_OBJECTS = 10_000
_MOST_NAMED = 20


def find_dataset(path: Path, file: h5py.File, name: str) -> tuple[str, h5py.Dataset]:
    """Finds the named dataset, else the only volume of the file, or the usual one of several.

    Args:
        path: of the file, for messages.
        file: the open file.
        name: of the dataset, maybe a soft, external or second hard link; '' if none was named.

    Returns:
        The dataset, and its name in this file, which may be that of a link to another file.

    Raises:
        InputError: if there is none, or a link leads nowhere; lists the datasets that there are.
    """
    if name:
        return name, _named(path, file, name)
    found = dict(_walk(file))
    volumes = {name: data for name, data in found.items() if _may_be_volume(data)}
    # One dataset may have several names.
    if len({data.id for data in volumes.values()}) == 1:
        return next(iter(volumes.items()))
    for usual in _USUAL:
        if usual in volumes:
            return usual, volumes[usual]
    raise InputError(f"{path}: name a dataset, as in {path.name}:NAME; it holds: {_listed(found)}")


def _named(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    try:
        item = file[name]
    except KeyError as error:
        broken = _broken_link(path, file, name)
        if broken:
            raise InputError(f"{path}:{name} is a link to {broken}, which is not there") from error
        raise InputError(
            f"{path} has no dataset '{name}'; it holds: {_listed(dict(_walk(file)))}"
        ) from error
    if not isinstance(item, h5py.Dataset):
        below = _walk(item) if isinstance(item, h5py.Group) else ()
        inside = _listed({f"{name}/{path}": data for path, data in below})
        raise InputError(f"{path}:{name} is a group, no dataset; it holds: {inside}")
    return item


def _broken_link(path: Path, file: h5py.File, name: str) -> str:
    """Returns the target of the first broken link on the path of a name; '' if there is none."""
    parts = name.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        try:
            link = file.get("/".join(parts[:count]), getlink=True)
        except (KeyError, RuntimeError):
            return ""
        if isinstance(link, h5py.ExternalLink):
            return f"{link.path} in {path.parent / link.filename}"
        if isinstance(link, h5py.SoftLink) and file.get("/".join(parts[:count])) is None:
            return link.path
    return ""


def _walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields all names of the datasets below a group with the datasets, sorted by name; visits each group once."""
    waiting: list[tuple[str, h5py.Group]] = [("", group)]
    seen = {group.id}
    count = 0
    while waiting:
        prefix, current = waiting.pop(0)
        for name in current:
            count += 1
            if count > _MOST_OBJECTS:
                return
            # None for a broken link.
            item = current.get(name)
            if isinstance(item, h5py.Dataset):
                yield f"{prefix}{name}", item
            elif isinstance(item, h5py.Group) and item.id not in seen:
                seen.add(item.id)
                waiting.append((f"{prefix}{name}/", item))


def _may_be_volume(data: h5py.Dataset) -> bool:
    """Whether a dataset has three or four axes, not counting leading axes of length 1."""
    if data.shape is None:
        return False
    axes = len(data.shape)
    for size in data.shape:
        if axes <= 3 or size != 1:
            break
        axes -= 1
    return axes in (3, 4)


def _listed(found: dict[str, h5py.Dataset]) -> str:
    named = [f"{name} {data.shape}" for name, data in list(found.items())[:_MOST_NAMED]]
    more = " ..." if len(found) > _MOST_NAMED else ""
    return ", ".join(named) + more if named else "nothing"
