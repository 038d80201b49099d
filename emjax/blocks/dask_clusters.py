"""Clusters of dask: worker processes that emjax starts on this machine, and schedulers that the user started."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging as standard
import resource
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import distributed
from distributed.comm import connect

from emjax.errors import InputError
from emjax.signals import finished_first, held_back

LOCAL = "local"

_CONNECT_S = 10
# Files and sockets that this process opens for each worker, and for all else: about ten and forty were counted.
_FILES_OF_A_WORKER, _FILES = 12, 64
# Prefixes of dask's loggers, each of which has its own level.
_TALKERS = ("distributed", "tornado", "asyncio")
_SETTINGS = {
    # A lost worker counts as one failed try of its blocks, and emjax counts the tries.
    "distributed.scheduler.allowed-failures": 0,
    # Blocks wait at the scheduler, so that a lost worker loses only the blocks that it was working on.
    "distributed.scheduler.worker-saturation": 1.0,
    # C++ code that holds Python's lock for long would make a worker look dead.
    "distributed.scheduler.worker-ttl": None,
}


def allow_files(num_workers: int) -> None:
    """Lets this process open the files and sockets that worker processes need.

    Args:
        num_workers: processes of a local cluster.

    Raises:
        InputError: if the system does not allow so many; says how many are needed.
    """
    needed = _FILES + _FILES_OF_A_WORKER * num_workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1) or soft >= needed:
        return
    if hard not in (resource.RLIM_INFINITY, -1) and hard < needed:
        raise InputError(
            f"{num_workers} workers need {needed} open files, and this process may have {hard}: raise the limit by "
            f"'ulimit -n {needed}', or give fewer --config.num_workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Connection:
    """A client with its cluster.

    Attributes:
        client: client of the cluster.
    """

    def __init__(self, address: str, num_workers: int) -> None:
        """Starts the workers, or connects to them.

        Args:
            address: 'local', or the address of a scheduler.
            num_workers: processes of a local cluster, with one thread each; of a scheduler, all workers are used.

        Raises:
            InputError: if no scheduler answers, or this process may not open so many files.
        """
        self._cluster: Any = None
        self._scratch = ""
        if address != LOCAL:
            self.client = _connect_to(address)
            return
        allow_files(num_workers)
        # A folder for what dask writes.
        self._scratch = tempfile.mkdtemp(prefix="emjax-dask-")
        self._cluster = _start_local(num_workers, self._scratch)
        self.client = distributed.Client(self._cluster, set_as_default=False)

    def close(self) -> None:
        """Disconnects from the workers, and ends those of a local cluster."""
        self.client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)
        self.delete_scratch()

    def delete_scratch(self) -> None:
        """Deletes what dask has written on this machine."""
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


# The connections of the job that runs, by address and number of workers; None outside of `kept`.
_kept: dict[tuple[str, int], Connection] | None = None


@contextmanager
def kept(address: str) -> Iterator[None]:
    """Keeps connections until the context ends: workers are started once for all passes of a job.

    Args:
        address: as for `Connection`; a scheduler is connected to at once, before the job has written anything.

    Raises:
        InputError: if no scheduler answers.
    """
    global _kept
    before, mine = _kept, {}
    _kept = mine

    def delete_scratch() -> None:
        for connection in mine.values():
            connection.delete_scratch()

    try:
        with quiet(), finished_first(delete_scratch):
            if address != LOCAL:
                give_back(take(address, 1), address, 1)
            yield
    finally:
        _kept = before
        with quiet():
            for connection in mine.values():
                connection.close()


def take(address: str, num_workers: int) -> Connection:
    """Returns the connection that is kept, or a new one.

    Args:
        address: as for `Connection`.
        num_workers: as for `Connection`.

    Raises:
        InputError: if no scheduler answers.
    """
    key = address, num_workers if address == LOCAL else 0
    if _kept is not None and key in _kept:
        return _kept.pop(key)
    return Connection(address, num_workers)


def give_back(connection: Connection, address: str, num_workers: int) -> None:
    """Keeps a connection that works for the next pass, or closes it where none are kept."""
    if _kept is None:
        connection.close()
    else:
        _kept[address, num_workers if address == LOCAL else 0] = connection


def _start_local(num_workers: int, scratch: str) -> distributed.LocalCluster:
    # Ctrl-C and a batch system's SIGTERM reach all processes of a group; only the client shall act on them.
    with dask.config.set(_SETTINGS), held_back():
        return distributed.LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            # No limit: a worker whose caches fill its share of the memory would be paused for ever.
            memory_limit=0,
            # No dashboard; the server that dask starts nevertheless takes any free port of this machine.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            local_directory=scratch,
            silence_logs=standard.CRITICAL,
        )


def _connect_to(address: str) -> distributed.Client:
    """Returns a client of a scheduler; raises InputError if none answers."""
    answer: concurrent.futures.Future[None] = concurrent.futures.Future()

    def probe() -> None:
        try:
            answer.set_result(asyncio.run(_probe(address)))
        # Any exception: the bytes of another kind of server at this address make dask fail in unforeseeable ways.
        except Exception as error:  # noqa: BLE001
            answer.set_exception(error)

    # In a thread of its own: in a notebook, this thread already runs an event loop. It is not waited for, as dask waits
    # without end for a server that accepts and says nothing.
    threading.Thread(target=probe, daemon=True).start()
    try:
        answer.result(_CONNECT_S)
        with warnings.catch_warnings():
            # `dask_task` reports differing versions in one line.
            warnings.simplefilter("ignore")
            return distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except Exception as error:
        raise InputError(
            f"cluster={address}: no dask scheduler answers there within {_CONNECT_S} s; start one with "
            "'dask scheduler' and its workers with 'dask worker ADDRESS', or use cluster=local"
        ) from error


async def _probe(address: str) -> None:
    """Asks a scheduler for its name, since a client that cannot connect takes long to give up."""
    secrets = distributed.Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_S, **secrets)
    try:
        await comm.write({"op": "identity", "reply": True})
        await comm.read()
    finally:
        comm.abort()


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what dask logs for its developers; emjax itself reports a lost worker."""
    names = [name for name in standard.root.manager.loggerDict if name.startswith(_TALKERS)]
    loggers = [standard.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(standard.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
