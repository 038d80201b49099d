"""Stores made of a function that reads."""

from __future__ import annotations

import copyreg

import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.read.opened import chunked


class _OfACodec(Exception):
    """As the errors of some libraries are: cannot be made again from its text alone."""

    def __init__(self, function: str, status: int) -> None:
        super().__init__(f"{function} returned {status}")


def _read(part: tuple[slice, ...]) -> np.ndarray:
    try:
        raise _OfACodec("inflate", -3)
    except _OfACodec as error:
        raise InputError(f"section {part[0].start} is damaged: {error}") from error


def test_what_lasts_comes_through_whole(monkeypatch) -> None:
    support = pytest.importorskip("tblib.pickling_support")
    # What dask does to all errors there are when it is imported: they are pickled with their causes.
    for kind in (InputError, _OfACodec):
        monkeypatch.setitem(copyreg.dispatch_table, kind, support.pickle_exception)
    store = chunked(_read, (2, 3, 4), np.dtype("uint8"), (1, 3, 4), ts.Context())
    with pytest.raises(InputError, match="^section 1 is damaged: inflate returned -3$"):
        store[1:].read().result()
