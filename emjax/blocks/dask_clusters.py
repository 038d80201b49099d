"""Worker processes of this machine, and schedulers that somebody else started."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging as standard
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dask
import distributed
from distributed.comm import connect

from emjax.blocks.dask_task import IgnoreSignals
from emjax.errors import InputError

_CONNECT_S = 10
# Loggers of dask; each has a level of its own.
_TALKERS = ("distributed", "tornado", "asyncio")
_SETTINGS = {
    # A worker that is lost is one try of its blocks, and we count those.
    "distributed.scheduler.allowed-failures": 0,
    # Blocks wait at the scheduler, so that a lost worker has only those that it was working on.
    "distributed.scheduler.worker-saturation": 1.0,
    # C++ that holds Python's lock for long makes a worker look dead.
    "distributed.scheduler.worker-ttl": None,
}


def start_local(num_workers: int, scratch: str) -> distributed.LocalCluster:
    """Starts worker processes on this machine, of one thread each.

    Args:
        num_workers: processes.
        scratch: folder for what dask writes.
    """
    with dask.config.set(_SETTINGS):
        return distributed.LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            # With a share of it as its limit, a worker whose caches fill that would be paused for ever.
            memory_limit=0,
            # No dashboard; what is left of its server takes any port of this machine.
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            local_directory=scratch,
            silence_logs=standard.CRITICAL,
        )


def connect_to_local(cluster: distributed.LocalCluster) -> distributed.Client:
    """Returns a client of worker processes that this one started."""
    client = distributed.Client(cluster, set_as_default=False)
    # Ctrl-C and the SIGTERM of a batch system reach all processes of a group: the client says what they mean.
    client.register_plugin(IgnoreSignals())
    return client


def connect_to(address: str) -> distributed.Client:
    """Returns a client of a scheduler.

    Args:
        address: of the scheduler, `tcp://host:port`.

    Raises:
        InputError: if no scheduler answers.
    """
    try:
        # In a thread: a notebook's has a loop of its own that runs.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _probe(address)).result()
        with warnings.catch_warnings():
            # What a difference of versions means is said by `dask_task`, in one line.
            warnings.simplefilter("ignore")
            return distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    # Of any kind: another server that listens there answers with bytes that mean something else to dask.
    except Exception as error:
        raise InputError(
            f"cluster={address}: no dask scheduler answers there within {_CONNECT_S} s; start one with "
            "'dask scheduler' and its workers with 'dask worker ADDRESS', or use cluster=local"
        ) from error


async def _probe(address: str) -> None:
    """Connects once: a client that cannot takes long to go."""
    secrets = distributed.Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_S, **secrets)
    comm.abort()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what dask logs for its developers; a lost worker is told by us."""
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
