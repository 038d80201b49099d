"""The pickle of a torch checkpoint, read without torch and without running anything that it names.

A pickle is a program for a small machine with a stack: it names callables and calls them. Python's own machine calls
whatever it finds under a name. The one here knows how to put plain values together, and the few names that tensors
need, which it notes and never looks up. Every other name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from emjax.errors import InputError, shortened

# torch's names of storages -> what their bytes are.
STORAGES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_DICT = "collections.OrderedDict"
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"
_SIZE = "torch.Size"
_CALLABLES = (_DICT, *_TENSORS, _PARAMETER, _SIZE)

# A state dict has hundreds of arrays, some levels deep. Dicts that hold each other twice, forty deep, have 2^40.
_MOST_PARTS = 1_000_000
_DEEPEST = 32


class Storage(NamedTuple):
    """A run of numbers in the file, that tensors are views of."""

    key: str
    dtype: np.dtype
    count: int


class Tensor(NamedTuple):
    """A view of a storage, in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Name(NamedTuple):
    """A callable or a kind of storage, by its name alone."""

    name: str


class _Mark(NamedTuple):
    """Where the parts of a list, a tuple or a dict begin on the stack."""


def end_of_pickle(data: Any, start: int, source: str) -> int:
    """Returns where the pickle that begins at `start` ends, without running it.

    Args:
        data: a memory map of a file, or `io.BytesIO`.
        start: where it begins.
        source: the file, for messages.

    Raises:
        InputError: if it does not end.
    """
    data.seek(start)
    try:
        for _ in pickletools.genops(data):
            pass
    except (ValueError, IndexError) as error:
        raise damaged(source, error) from error
    return data.tell()


def unpickle(data: bytes, source: str) -> Any:
    """Returns what a pickle holds: plain values, and `Tensor` for tensors.

    Args:
        data: one whole pickle.
        source: the file, for messages.

    Raises:
        InputError: if it names a callable that tensors do not need, or is damaged.
    """
    try:
        return _Machine(source).run(data)
    except InputError:
        raise
    # What a wrong order of steps raises: an empty stack, a list where a dict should be, no such memo.
    except (ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        raise damaged(source, error) from error


def named_tensors(value: Any, source: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors in nested dicts, lists and tuples, their keys joined by '.'.

    Numbers and texts between them are passed over.

    Raises:
        InputError: if two have the same name, or the nesting never ends.
    """
    names = set()
    visited = 0
    pending = [("", value, 0)]
    while pending:
        name, item, depth = pending.pop()
        visited += 1
        if depth > _DEEPEST or visited > _MOST_PARTS:
            raise InputError(f"{source} nests its arrays without end; save a state dict alone")
        if isinstance(item, Tensor):
            if name in names:
                raise InputError(f"{source} has two arrays called '{name}'")
            names.add(name)
            yield name, item
            continue
        if isinstance(item, dict):
            parts = list(item.items())
        elif isinstance(item, list) or type(item) is tuple:
            parts = list(enumerate(item))
        else:
            continue
        prefix = f"{name}." if name else ""
        # The last is taken first.
        pending += [(f"{prefix}{key}", part, depth + 1) for key, part in reversed(parts)]


def damaged(source: str, error: object) -> InputError:
    """Returns the error that says that a file is not whole."""
    reason = shortened((str(error).splitlines() or [""])[0])
    return InputError(
        f"{source} is no whole checkpoint of torch ({reason}); it may be cut off: copy it again"
    )


class _Machine:
    """Runs the steps of one pickle on plain values."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for step, argument, _ in pickletools.genops(data):
            if step.name == "STOP":
                break
            self._do(step, argument)
        (value,) = self._stack
        return value

    def _do(self, step: pickletools.OpcodeInfo, argument: Any) -> None:
        stack, name = self._stack, step.name
        if name in ("PROTO", "FRAME"):
            return
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_Mark())
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _SHORT_TUPLES:
            count = _SHORT_TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name == "LIST":
            stack.append(self._above_mark())
        elif name == "DICT":
            parts = self._above_mark()
            stack.append(dict(zip(parts[::2], parts[1::2], strict=True)))
        elif name in ("APPEND", "APPENDS"):
            parts = [stack.pop()] if name == "APPEND" else self._above_mark()
            _of_kind(stack[-1], list).extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            parts = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._above_mark()
            _of_kind(stack[-1], dict).update(zip(parts[::2], parts[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(self._named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._named(module, attribute))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_call(_of_kind(called, _Name).name, _of_kind(arguments, tuple)))
        elif name == "BUILD":
            # Attributes of what lies below, such as the versions of modules: nothing of a tensor.
            stack.pop()
        elif name == "INST":
            raise self._refused(argument.replace(" ", "."))
        elif step.arg is not None and not step.stack_before and name not in _NAMES_ELSEWHERE:
            # Numbers and texts, whose value is the argument.
            stack.append(argument)
        else:
            raise self._refused(f"the opcode {name}")

    def _above_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while not isinstance(self._stack[at], _Mark):
            at -= 1
            if at < 0:
                raise ValueError("no mark on the stack")
        parts = self._stack[at + 1 :]
        del self._stack[at:]
        return parts

    def _named(self, module: str, attribute: str) -> _Name:
        name = f"{module}.{attribute}"
        if name in _CALLABLES:
            return _Name(name)
        if module in ("torch", "torch.storage") and attribute in STORAGES:
            return _Name(attribute)
        raise self._refused(name)

    def _refused(self, name: str) -> InputError:
        return InputError(
            f"{self._source} is refused: its pickle wants to use {name[:100]}, and weights need nothing of the kind; "
            "if you trust it, load it where it was made and save its state dict alone (safetensors.torch.save_file)"
        )

    def _storage(self, given: Any) -> Storage:
        """Returns the storage of `('storage', kind, key, device, count)`, and in older files a view of it or None."""
        what, kind, key, _, count, *view = given
        if what != "storage" or any(view):
            raise InputError(
                f"{self._source} keeps its arrays in a way that torch gave up in 2018; load it with torch and save it "
                "again"
            )
        return Storage(str(key), STORAGES[_of_kind(kind, _Name).name], _whole(count))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
# Of objects that another program would know.
_NAMES_ELSEWHERE = ("EXT1", "EXT2", "EXT4", "PERSID")
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Returns what one of the known callables would have made."""
    if name == _DICT:
        return dict(*arguments)
    if name == _SIZE:
        return tuple(*arguments)
    if name == _PARAMETER:
        return _of_kind(arguments[0], Tensor)
    if name not in _TENSORS:
        raise ValueError(f"{name} is called")
    # Whether there is a gradient, and its hooks, follow.
    storage, offset, size, stride = arguments[:4]
    sizes, strides = tuple(map(_whole, size)), tuple(map(_whole, stride))
    if len(sizes) != len(strides):
        raise ValueError(f"a tensor of shape {sizes} with strides {strides}")
    return Tensor(_of_kind(storage, Storage), _whole(offset), sizes, strides)


def _of_kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} should be")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no size")
    return value
