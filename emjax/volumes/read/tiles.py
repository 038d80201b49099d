"""Reads sections cut into tiles, described by the tile JSON of PyTorch Connectomics.

    {"dtype": "uint8", "depth": 2, "height": 5000, "width": 7000, "tile_size": 4096, "tile_ratio": 1, "tile_st": [0, 0],
     "image": ["em/0000/{row}_{column}.png", "em/0001/{row}_{column}.png"]}

`image` lists the tiles of each section. `tile_st` is the row and column of the first tile. `tile_ratio` scales each
decoded tile; `tile_size` (one number, or y and x), `height` and `width` are sizes after scaling. Integers of 32 or 64
bits are ids: never interpolated, and tiles of three colours are ids as VAST writes them, 65536 red + 256 green + blue.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage

from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.volumes.format import Format, Request
from emjax.volumes.read.image_files import grey, read_image
from emjax.volumes.read.missing import ERROR, FILL, refuse_or_say
from emjax.volumes.read.opened import Opened, chunked

_DTYPES = ("uint8", "uint16", "uint32", "uint64", "int32", "int64", "float32")
# The paths of all are held in memory, some 200 bytes each.
_MOST_TILES = 5_000_000
# Types that hold ids, not grey values: their tiles are never interpolated.
_IDS = ("uint32", "uint64", "int32", "int64")


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """Reads tiles: each tile is one chunk.

    Attributes:
        patterns: path of the tiles of each section, with `{row}` and `{column}`.
        size: (y, x) pixels of a section.
        tile: (y, x) pixels of a tile after scaling.
        start: (row, column) of the first tile.
        ratio: factor by which tiles are scaled.
        dtype: of the voxels.
        fill: whether an absent tile is 0.
    """

    patterns: tuple[str, ...]
    size: tuple[int, ...]
    tile: tuple[int, ...]
    start: tuple[int, ...]
    ratio: float
    dtype: str
    fill: bool

    @property
    def shape(self) -> Size:
        """Size of the volume, (z, y, x) voxels."""
        return (len(self.patterns), *self.size)

    @property
    def rows_and_columns(self) -> tuple[int, ...]:
        """Number of tiles of a section along y and x."""
        return tuple(-(-n // t) for n, t in zip(self.size, self.tile, strict=True))

    def path(self, z: int, row: int, column: int) -> str:
        """Returns the path of a tile; row and column count from 0."""
        first_row, first_column = self.start
        named = self.patterns[z].replace("{row}", str(row + first_row))
        return named.replace("{column}", str(column + first_column))

    def paths(self) -> list[str]:
        """Returns the paths of all tiles."""
        rows, columns = self.rows_and_columns
        depth = len(self.patterns)
        return [self.path(*t) for t in np.ndindex(depth, rows, columns)]

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        # A chunk is a tile, and TensorStore requests one chunk at a time.
        row, column = (s.start // t for s, t in zip(part[1:], self.tile, strict=True))
        size = tuple(s.stop - s.start for s in part[1:])
        path = self.path(part[0].start, row, column)
        if self.fill and not os.path.exists(path):
            return np.zeros((1, *size), self.dtype)
        tile = self._scaled(_pixels(path, self.dtype))
        if any(t < n for t, n in zip(tile.shape, size, strict=True)):
            raise InputError(
                f"{path} is {tile.shape} pixels, but {size} are needed of a volume of {self.shape} with tiles of "
                f"{self.tile}; correct tile_size, height or width in the JSON"
            )
        return tile[None, : size[0], : size[1]]

    def _scaled(self, tile: np.ndarray) -> np.ndarray:
        if self.ratio == 1:
            return tile
        order = 0 if self.dtype in _IDS else 1
        return np.asarray(scipy.ndimage.zoom(tile, self.ratio, order=order))


def open_tiles(request: Request) -> Opened:
    """Opens a volume of tiles; a decoded tile stays in the cache, so that it is not decoded again.

    Tiles with relative paths are looked for beside the JSON.

    Raises:
        InputError: if the file is no tile JSON or contradicts itself, or tiles are absent.
    """
    path, missing = request.path, request.missing or ERROR
    tiles = _parse(path, _read_json(path), missing == FILL)
    absent, total = _absent(tiles)
    refuse_or_say(str(path), absent, total, missing, "tiles")
    store = chunked(tiles, tiles.shape, np.dtype(tiles.dtype), (1, *tiles.tile), request.context)
    return Opened(store, None, slow=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(about, dict) or not isinstance(about.get("image"), list):
        raise InputError(
            f"{path} describes no tiles: it needs image (a list of patterns such as 0000/{{row}}_{{column}}.png), "
            "height, width and tile_size"
        )
    return about


def _parse(path: Path, about: dict[str, Any], fill: bool) -> _Tiles:
    patterns = [os.path.join(path.parent, str(p)) for p in about["image"]]
    depth = int(_number(path, about, "depth", len(patterns)))
    if not 0 < depth <= len(patterns):
        raise InputError(f"{path}: depth is {depth}, but image names {len(patterns)} sections")
    size = tuple(int(_number(path, about, name)) for name in ("height", "width"))
    tile_size = about.get("tile_size", list(size) if "{row}" not in patterns[0] else None)
    tile = tile_size if isinstance(tile_size, list) else [tile_size] * 2
    start = about.get("tile_st", [0, 0])
    if not _whole(tile, 1) or not _whole(start, 0):
        raise InputError(
            f"{path}: tile_size={tile_size} and tile_st={start} must be whole numbers, y and x"
        )
    tile = tuple(map(min, tile, size))
    named = "{row}" in patterns[0] and "{column}" in patterns[0]
    if not named and tile != size:
        raise InputError(
            f"{path}: sections of {size} have tiles of {tile}, but {about['image'][0]} does not name them by "
            "{row} and {column}"
        )
    dtype = about.get("dtype", "uint8")
    if dtype not in _DTYPES:
        raise InputError(f"{path}: dtype={dtype} is none of {', '.join(_DTYPES)}")
    ratio = _number(path, about, "tile_ratio", 1)
    tiles = _Tiles(tuple(patterns[:depth]), size, tile, tuple(start), ratio, dtype, fill)
    count = math.prod((depth, *tiles.rows_and_columns))
    if count > _MOST_TILES:
        raise InputError(
            f"{path} describes {count} tiles, more than {_MOST_TILES} that can be looked for; correct height, width or "
            "tile_size, or take larger tiles"
        )
    return tiles


def _number(path: Path, about: dict[str, Any], name: str, default: float | None = None) -> float:
    value = about.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InputError(f"{path}: {name}={value} must be a number above 0")
    return value


def _whole(values: object, least: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(isinstance(v, int) and v >= least for v in values)
    )


def _absent(tiles: _Tiles) -> tuple[list[str], int]:
    """Returns the absent tiles, and how many there should be; lists folders instead of testing each file."""
    paths = tiles.paths()
    folders: dict[str, set[str]] = {}
    absent = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in folders[folder]:
            absent.append(path)
    return absent, len(paths)


def _pixels(path: str, dtype: str) -> np.ndarray:
    """Reads a tile, with its values in the type of the volume.

    Raises:
        InputError: if the tile cannot be read, or its values do not fit the type.
    """
    image = read_image(path)
    if dtype in _IDS and image.ndim == 3 and image.shape[2] in (3, 4):
        red, green, blue = np.moveaxis(image[..., :3].astype(dtype), 2, 0)
        return red * 65536 + green * 256 + blue
    image = grey(path, image)
    if not np.can_cast(image.dtype, dtype):
        raise InputError(
            f"{path} is {image.dtype}, which does not fit the {dtype} of the JSON; correct its dtype"
        )
    return image.astype(dtype, copy=False)


FORMAT = Format(
    title="tiles, described by a JSON",
    given="a .json of tiles",
    examples=("em.json",),
    reads="whole tiles",
    voxel_nm="nothing: give `voxel_nm`",
    open=open_tiles,
    suffixes=(".json",),
    missing="error",
    absent="a tile without a file",
    slow=True,
)
