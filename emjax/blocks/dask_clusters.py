"""Clusters of dask: worker processes that emjax starts on this machine, and schedulers that the user started."""

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


def start_local(num_workers: int, scratch: str) -> distributed.LocalCluster:
    """Starts worker processes on this machine, with one thread each.

    Args:
        num_workers: number of processes.
        scratch: folder for what dask writes.
    """
    with dask.config.set(_SETTINGS):
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


def connect_to_local(cluster: distributed.LocalCluster) -> distributed.Client:
    """Returns a client of a cluster that this process started."""
    client = distributed.Client(cluster, set_as_default=False)
    # Ctrl-C and a batch system's SIGTERM reach all processes of a group; only the client shall act on them.
    client.register_plugin(IgnoreSignals())
    return client


def connect_to(address: str) -> distributed.Client:
    """Returns a client of a scheduler.

    Args:
        address: address of the scheduler, `tcp://host:port`.

    Raises:
        InputError: if no scheduler answers.
    """
    try:
        # In a thread of its own: in a notebook, this thread already runs an event loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _probe(address)).result()
        with warnings.catch_warnings():
            # `dask_task` reports differing versions in one line.
            warnings.simplefilter("ignore")
            return distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    # Any exception: the bytes of another kind of server at this address make dask fail in unforeseeable ways.
    except Exception as error:
        raise InputError(
            f"cluster={address}: no dask scheduler answers there within {_CONNECT_S} s; start one with "
            "'dask scheduler' and its workers with 'dask worker ADDRESS', or use cluster=local"
        ) from error


async def _probe(address: str) -> None:
    """Connects once, since a client that cannot connect takes long to give up."""
    secrets = distributed.Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_S, **secrets)
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
