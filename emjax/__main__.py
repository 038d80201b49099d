"""`python -m emjax` and the command `emjax`: the same as `python -m emjax.main`."""

from __future__ import annotations

from typing import NoReturn

from emjax import signals


def run() -> NoReturn:
    """Runs the command of the process; signals are handled before the imports that take seconds."""
    signals.end_on_signals()
    from emjax import main

    main.run()


if __name__ == "__main__":
    run()
