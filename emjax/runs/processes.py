"""Whether another process of this machine lives."""

from __future__ import annotations

import os


def lives(pid: int) -> bool | None:
    """Whether there is a process with a number; None on Windows, where nobody can be asked.

    The signal 0, which only asks elsewhere, is a Ctrl-C there.
    """
    if os.name == "nt":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # a process of another user
    return True
