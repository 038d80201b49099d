"""The processes of a run: how they join and agree."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from emjax.errors import InputError
from emjax.parallel.compiled_programs import use_compilation_cache
from emjax.parallel.environment import expects_others, local_device_ids
from emjax.runs.exit_status import INPUT_ERROR

# Seconds to wait for other processes, since the machines of a cluster start within minutes of each other.
MEETING_TIMEOUT_S = 300


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout_s: float = MEETING_TIMEOUT_S,
) -> None:
    """Joins the processes of a run; must be called before the first use of a device.

    If flags are given, they are used; on a TPU slice or under a launcher (Slurm, Open MPI) JAX
    finds the other processes by itself; anywhere else the run has one process.

    Args:
        coordinator: HOST:PORT of process 0.
        num_processes: number of processes of the run; 1 forces a run of one process.
        process_id: number of this process.
        timeout_s: seconds to wait for the others. After that the process ends with a message and
            the exit status INPUT_ERROR, where JAX would abort it.

    Raises:
        InputError: if the flags are incomplete, or the processes cannot be found.
    """
    use_compilation_cache()
    if num_processes == 1 or jax.distributed.is_initialized():
        return
    given = (coordinator, num_processes, process_id)
    if any(flag is not None for flag in given):
        if coordinator is None or num_processes is None or process_id is None:
            raise InputError(
                "a run of several processes needs --coordinator, --num_processes and --process_id"
            )
        if not 0 <= process_id < num_processes:
            raise InputError(f"--process_id={process_id} must be in 0 to {num_processes - 1}")
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}", coordinator):
            raise InputError(
                f"--coordinator={coordinator}: must be HOST:PORT of process 0, as in node1:8476"
            )
        who = f"process {process_id} of {num_processes}"
        advice = (
            f"is {coordinator} the machine of process 0, is its port open, and were all "
            f"{num_processes} processes started?"
        )
        failure = f"{who} cannot use --coordinator={coordinator}"
        if process_id == 0:
            _check_port(int(coordinator.rpartition(":")[2]), failure)
        arguments: dict[str, Any] = dict(
            coordinator_address=coordinator,
            num_processes=num_processes,
            process_id=process_id,
            cluster_detection_method="deactivate",
        )
    else:
        reason = expects_others(os.environ)
        if not reason:
            return
        who = f"this process, one of several by {reason},"
        advice = (
            "were all of them started? If not, give --num_processes=1 (on one host of a TPU slice, as docs/cluster.md "
            "says); else say where they are with --coordinator, --num_processes and --process_id"
        )
        # An error, since going on alone would start one run on each machine, all in the same folder.
        failure = (
            f"this machine looks like one of a cluster by {reason}, but the others were not found; "
            "give --coordinator, --num_processes and --process_id, or --num_processes=1"
        )
        arguments = {}
    with _gives_up(f"{who} did not meet the others within {timeout_s:g} s: {advice}", timeout_s):
        try:
            jax.distributed.initialize(
                local_device_ids=local_device_ids(os.environ),
                # Longer than `timeout_s`, since JAX would abort the process with a trace.
                initialization_timeout=int(timeout_s) + 60,
                **arguments,
            )
        # JAX's own errors, and those of parsing unexpected variables of a launcher.
        except (ValueError, RuntimeError, LookupError, OSError) as error:
            raise InputError(f"{failure} ({error})") from error
    logging.info("process %d of %d", jax.process_index(), jax.process_count())


def _check_port(port: int, failure: str) -> None:
    """Raises InputError if the port is in use, since JAX would then mostly end with a segmentation fault."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=both).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"{failure}: {error}; give a free port") from error


@contextlib.contextmanager
def _gives_up(message: str, seconds: float) -> Iterator[None]:
    """Ends the process with a message if the context lasts longer than `seconds`."""

    def give_up() -> None:
        # The only way to end it: the main thread waits within JAX, where it cannot receive an exception.
        os.write(2, f"emjax: {message}\n".encode())
        os._exit(INPUT_ERROR)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_alone() -> bool:
    """Whether this process has joined no others; can be called before any device is used."""
    return not jax.distributed.is_initialized()


def is_main() -> bool:
    """Whether this is process 0, which writes logs and text files."""
    return jax.process_index() == 0


def agree(value: int) -> int:
    """Returns process 0's value on all processes; every process must call it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait_for_all(name: str) -> None:
    """Waits until every process has called it.

    Args:
        name: name of the place in the code; the same on all processes, different at each place.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
