"""How SIGTERM and Ctrl-C end the command where none of its work listens to them.

Work on blocks (`emjax.blocks.stopping`) and the training loop (`emjax.train.interrupt`) have handlers of their own, as
they have something to finish. Everywhere else, during imports, while a program is compiled or a file is read, nothing
is lost by ending at once: what is on disk is as after a power cut, from which the same command goes on.

An exception that a handler raises cannot do this: the main thread may be inside of JAX's compiler, which delays it
until the program is compiled, or ends with a segmentation fault when the exception passes through its C++ code. So the
handler only makes a note, and a thread ends the process; Python writes each signal to a pipe that the thread reads,
whatever the main thread is doing. Imports nothing but the standard library, so that the command can begin with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TypeAlias

from emjax.runs.exit_status import PREEMPTED

Handler: TypeAlias = Callable[[int, FrameType | None], Any]
NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
_HAS_MASKS = hasattr(signal, "pthread_sigmask")
# Longest that the process waits for what it must finish, since those who send SIGTERM kill it half a minute later.
_FINISH_S = 20.0

# Functions that wait for what is being written in the background.
_unfinished: list[Callable[[], object]] = []
# Signals that `_note` has seen.
_noted: set[int] = set()
# Ends of the pipe that wakes the thread, for reading and for writing; -1 where no thread was started.
_readable = _wake = -1
# Held by the thread while it reads what woke it and decides whose it is.
_deciding = threading.Lock()


class StoppedError(BaseException):
    """SIGTERM came while nothing had to be finished; a BaseException, so that no `except Exception` catches it."""


def end_on_signals() -> None:
    """Makes SIGTERM and Ctrl-C end this process with one line and the exit status PREEMPTED.

    For the command itself, before any import that takes time. A signal that the process was started to ignore (`nohup`,
    a background job of a shell) stays ignored. A handler that is installed later takes the place of this one for as
    long as it is there; JAX's own, in processes that it has joined, does so as well.
    """
    global _readable, _wake
    if not _HAS_MASKS:
        # Windows: neither masks nor pipes that can be waited for. The handler itself ends the process, once the main
        # thread is back in Python.
        signal.signal(signal.SIGINT, lambda number, frame: end_process(number))
        return
    _readable, _wake = os.pipe()
    os.set_blocking(_wake, False)
    signal.set_wakeup_fd(_wake, warn_on_full_buffer=False)
    # The thread keeps the mask: signals reach the main thread, where a restart can hold them back.
    with held_back():
        threading.Thread(target=_watch, daemon=True, name="signals").start()
    for number in NAMES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)
    # `held_back` may have begun in the program that this one has replaced.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NAMES)


def install(handlers: Mapping[int, Handler]) -> dict[int, Any]:
    """Installs handlers of work that has something to finish.

    Args:
        handlers: number of a signal -> its handler.

    Returns:
        The handlers that were there, for `restore`; empty in a thread that is not the main one, since Python lets only
        that one install handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def restore(old: Mapping[int, Any]) -> None:
    """Installs the handlers again that were there before `install`.

    First the thread that ends the process is waited for: it may not have read yet that a signal came, and would take
    one that the work has dealt with for one that nobody listens to.
    """
    while _readable >= 0 and old:
        with _deciding:
            if not select.select([_readable], [], [], 0)[0]:
                break
        time.sleep(0.001)
    for number, handler in old.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Delays signals to this thread until the context ends; threads and processes started in it never receive them."""
    if not _HAS_MASKS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NAMES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def finished_first(wait: Callable[[], object]) -> Iterator[None]:
    """Before a signal ends the process within this context, what is being written is finished, for up to 20 s.

    Args:
        wait: returns once all is written; called in another thread, while the main thread may be anywhere.
    """
    _unfinished.append(wait)
    try:
        yield
    finally:
        _unfinished.remove(wait)


def ignore_signals() -> None:
    """Ignores SIGTERM and Ctrl-C from now on: the exit status is decided, and a launcher must still get it."""
    for number in NAMES:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def raises_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM into an exception where the process is not the command's own, such as a notebook's.

    Nothing is done if Python code handles the signal already. Do not use it in processes that JAX has joined: JAX's own
    service handles SIGTERM there, which Python cannot see.

    Raises:
        StoppedError: on SIGTERM.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stopped_line(number: int) -> str:
    """Returns the line that says that the process was asked to stop, without an end of line.

    Args:
        number: number of the signal.
    """
    return f"emjax: stopped by {NAMES[signal.Signals(number)]}; the same command goes on"


def end_process(number: int) -> None:
    """Says that a signal has ended the process, and ends it without running anything else.

    Threads that still work, and libraries that take themselves apart while a program is compiled, would crash.
    """
    # On a terminal, a progress bar or '^C' may stand on the line.
    start = "\n" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{start}{stopped_line(number)}\n".encode())
    os._exit(PREEMPTED)


def _note(number: int, frame: FrameType | None) -> None:
    _noted.add(number)
    # Once more, as the thread may have read Python's own byte while another handler seemed to be responsible.
    with contextlib.suppress(OSError):
        os.write(_wake, bytes([number]))


def _watch() -> None:
    """Ends the process on the first signal that no handler of its work takes."""
    while True:
        select.select([_readable], [], [])
        with _deciding:
            # The handler runs only once the main thread is back in Python; the table of handlers can be read before.
            unheard = [
                number
                for number in os.read(_readable, 64)
                if number in _noted or (number in NAMES and signal.getsignal(number) is _note)
            ]
        if unheard:
            finishing = threading.Thread(target=_finish, daemon=True)
            finishing.start()
            finishing.join(_FINISH_S)
            end_process(unheard[0])


def _finish() -> None:
    for wait in list(_unfinished):
        # What cannot be written is not there after the end; the next start finds that out.
        with contextlib.suppress(Exception):
            wait()
    # What was printed to a file or pipe is still in Python's buffer.
    with contextlib.suppress(Exception):
        sys.stdout.flush()
