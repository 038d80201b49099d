"""The one reader of weights: any file or folder with arrays, told apart by what it holds and not by its name."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from emjax.errors import InputError
from emjax.weights import npz, safetensors_file, torch_file
from emjax.weights.arrays import Arrays

EXPORTED_FILE = "model.safetensors"
_KNOWN = "safetensors, a torch checkpoint (.pt, .pth, .ckpt) or .npz"
_ADVICE = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (Keras?); save its arrays by numpy.savez",
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; fetch it by 'git lfs pull'",
}


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
    """Opens a file of weights; its arrays are read one by one, when they are asked for.

    Nothing that a file says is executed, and no size that it declares is believed before it is compared with the
    file's own.

    Args:
        path: a local file of safetensors, of torch (of 2018 and later, a state dict alone or nested in dicts) or
            `.npz`; or a folder with a `model.safetensors`.

    Returns:
        name -> array; float16 and bfloat16 come as float32. Names in nested dicts are joined by '.'.

    Raises:
        InputError: if there is no such file, it is none of these, is cut off, or holds more than arrays.
    """
    text = os.fspath(path)
    if "://" in text:
        raise InputError(f"weights are read from local files alone; copy {text} here first")
    file = Path(text)
    if file.is_dir():
        if not (file / EXPORTED_FILE).is_file():
            raise InputError(f"{text} is a folder without {EXPORTED_FILE}; give a file of weights")
        file = file / EXPORTED_FILE
    if not file.is_file():
        raise InputError(f"no such file of weights: {text}")
    return _reader(file)(file)


def _reader(file: Path) -> Callable[[Path], Arrays]:
    """Returns the reader of a file; raises InputError where there is none."""
    with file.open("rb") as opened:
        start = opened.read(64)
    for magic, advice in _ADVICE.items():
        if start.startswith(magic):
            raise InputError(f"{file} holds no weights that can be read: it is {advice}")
    if start.startswith(torch_file.LEGACY_MAGIC):
        return torch_file.read_legacy
    if zipfile.is_zipfile(file):
        return torch_file.read_zip if torch_file.is_torch(file) else npz.read_npz
    # A header's length in eight bytes, then the header, which is JSON.
    if start[8:9] == b"{":
        return safetensors_file.read_safetensors
    if start[:1] == b"\x80":
        raise InputError(
            f"{file} is a pickle, which could run anything once opened; load it where it was made, and save its "
            "arrays by safetensors or numpy.savez"
        )
    raise InputError(f"{file} holds no weights that can be read; give {_KNOWN}")
