"""The one command of emjax; all logic is in libraries that notebooks can import too.

    python -m emjax.main --config FILE[:PRESET] [--config.FIELD=VALUE ...] [--workdir DIR]

`python -m emjax` and, once it is installed, `emjax` are the same; emjax.command_line has a shorter form besides.

Exit status: 0 done; 2 wrong input, explained in one line; 75 interrupted, by a signal after saving or by a disk that is
full or fails: the same command continues the run.
"""

# ruff: noqa: E402  (signals are handled before the imports that take seconds)
from __future__ import annotations

from emjax import signals

if __name__ == "__main__":
    signals.end_on_signals()

import contextlib
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from absl import flags

from emjax import command_line
from emjax.announcement import announce, remembered
from emjax.errors import InputError
from emjax.huge_pages import restart_with_huge_pages
from emjax.jobs import default_workdir, find_job, run_job
from emjax.logs import hide_refused_tracebacks, set_up_logging
from emjax.runs.default_folder import find_folder
from emjax.runs.disk import is_disk_full, refusal
from emjax.runs.exit_status import INPUT_ERROR, PREEMPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one job.

    Args:
        arguments: the command without the program's name; those of the process when None.

    Returns:
        The exit status.
    """
    # Libraries that read absl flags (grain) need them to be parsed, though this command does not use them.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    set_up_logging()
    try:
        if arguments is None:
            command_line.end_quietly_when_unread(sys.argv[1:])
        config, command = command_line.parse(sys.argv[1:] if arguments is None else arguments)
        if command.print_config:
            print(command_line.as_arguments(config))
            return 0
        set_up_logging(command.log_level)
        began = 0.0
        if arguments is None:
            # Of several processes one speaks.
            if not command.process_id:
                place = command.workdir if command.names_workdir else find_folder(config)
                began = announce(config, place)
            # Before any import that takes seconds.
            restart_with_huge_pages("emjax.main", "emjax")
            hide_refused_tracebacks()
        job = find_job(config.job)
        # With several processes, JAX's own service handles the signal, so that all stop at the same step.
        alone = _join_others(config.job, job, command)
        with signals.raises_on_sigterm() if alone else contextlib.nullcontext():
            workdir = command.workdir if command.names_workdir else default_workdir(job, config)
            with remembered(config, workdir, began if alone else 0.0):
                return run_job(job, config, workdir)
    except signals.StoppedError:
        print(signals.stopped_line(signal.SIGTERM), file=sys.stderr)
        return PREEMPTED
    except KeyboardInterrupt:
        if arguments is not None:
            raise
        # The second Ctrl-C, for somebody who does not want to wait for what was begun.
        signals.end_process(signal.SIGINT)
        raise
    except Exception as error:
        # A place that cannot be written is the user's mistake, unless it was the disk that was full.
        if isinstance(error, InputError) and not is_disk_full(error):
            print(f"emjax: {' '.join(str(error).split())}", file=sys.stderr)
            return INPUT_ERROR
        refused = refusal(error)
        if refused is None:
            raise
        print(f"emjax: {refused.line}", file=sys.stderr, flush=True)
        if arguments is None:
            # The process may be ended here. Threads that still want to write, and the interpreter's exit, would each
            # report the full disk again, with a traceback.
            os._exit(refused.status)
        return refused.status


def _join_others(name: str, job: ModuleType, command: Namespace) -> bool:
    """Connects a job that uses devices to the other processes of its run; returns whether the process is alone."""
    if not getattr(job, "ON_DEVICES", False):
        if command.coordinator or (command.num_processes or 1) > 1:
            raise InputError(
                f"job '{name}' uses no accelerators and runs as one process: leave out --coordinator, --num_processes "
                "and --process_id; --config.cluster gives it worker processes, where it works on blocks"
            )
        return True
    # Imported only here, as importing jax takes seconds.
    from emjax.parallel import runtime

    runtime.initialize(command.coordinator, command.num_processes, command.process_id)
    return runtime.is_alone()


def run() -> NoReturn:
    """Runs the command of the process, and ends the process with its exit status."""
    status = main()
    # Only the interpreter's exit is left.
    signals.ignore_signals()
    sys.exit(status)


if __name__ == "__main__":
    run()
