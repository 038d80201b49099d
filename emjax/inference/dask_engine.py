"""Blocks in other processes and on other machines, by dask.distributed.

The client (this process) hands out blocks and marks them done. Workers read and write the volumes themselves, so that
no voxels travel through the scheduler, and client and workers need a file system that all of them see. A worker that is
lost costs the blocks that it was working on, which go to others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging as standard
import os
import queue
import shutil
import socket
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import cloudpickle
import dask
import distributed
from absl import logging
from distributed.comm import connect
from etils import epath

from emjax.errors import InputError
from emjax.geometry.grid import Block
from emjax.inference import dask_task
from emjax.inference.engines import EngineLost, Outcome, Work, describe, is_disk_full

LOCAL = "local"
_CONNECT_S = 10
# Blocks handed out beyond those that can run: they keep workers busy, and let a cluster grow that grows by need. A
# volume may have a million blocks, which no scheduler should hold.
_QUEUED, _MOST_QUEUED = 32, 4096
# How often the number of workers is asked for.
_COUNT_S = 5.0
_TOKEN = "running-"
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


class DaskWorkers:
    """An engine of worker processes."""

    def __init__(self, work: Work, cluster: str, num_workers: int, folder: epath.Path) -> None:
        """Says what to do; entering it starts the workers, or connects to them.

        Args:
            work: picklable, holding addresses and settings alone.
            cluster: 'local', or the address of a scheduler.
            num_workers: processes of a local cluster; a scheduler's workers are all used.
            folder: that client and workers both see; a file in it says that the run goes on.
        """
        self._work = cloudpickle.dumps(work)
        self._address, self._count = cluster, num_workers
        remote = "://" in os.fspath(folder)
        self._folder = folder if remote else epath.Path(os.path.abspath(folder))
        self._token = self._folder / f"{_TOKEN}{uuid.uuid4().hex[:12]}"
        self._client: Any = None
        self._cluster: Any = None
        self._scratch = ""
        self._running: dict[distributed.Future, int] = {}
        self._ended: queue.SimpleQueue[distributed.Future] = queue.SimpleQueue()
        self._tries = 0
        self._threads, self._counted = 0, -_COUNT_S
        self._stopped = False
        self._idle: set[distributed.Future] = set()
        self._quiet = _quiet()

    def __enter__(self) -> DaskWorkers:
        """Starts or connects.

        Raises:
            InputError: if the scheduler does not answer.
            EngineLost: if the disk is full.
        """
        self._quiet.__enter__()
        try:
            self._write_token()
            self._client = self._start() if self._address == LOCAL else self._connect()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the workers, and ends those of a local cluster."""
        self.stop()
        if self._client is not None:
            self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._quiet.__exit__(None, None, None)

    def capacity(self) -> int:
        """Returns twice the threads of all workers there are now, and a few more."""
        now = time.monotonic()
        if now - self._counted >= _COUNT_S:
            with self._watched():
                threads = sum(self._client.nthreads().values())
            if threads != self._threads or self._counted < 0:
                logging.info("%s has workers for %d blocks at a time", self._address, threads)
                if not threads:
                    logging.warning("waiting for workers of %s", self._address)
            self._threads, self._counted = threads, now
        return min(_MOST_QUEUED, _QUEUED + 2 * self._threads)

    def submit(self, block: Block) -> None:
        """Hands out a block."""
        self._tries += 1
        task = dask_task.Task(
            self._work, block, os.fspath(self._token), os.getcwd(), dask_task.versions()
        )
        with self._watched():
            future = self._client.submit(
                dask_task.run,
                task,
                # One group of tasks: the scheduler then keeps back what workers cannot begin yet.
                key=(self._token.name, block.index, self._tries),
                pure=False,
            )
        self._running[future] = block.index
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the blocks that ended.

        Raises:
            EngineLost: if the scheduler is gone.
        """
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        outcomes = [
            (self._running.pop(future), self._judge(future))
            for future in ended
            if future in self._running
        ]
        if self._stopped and not outcomes:
            outcomes = self._give_up_waiting()
        return outcomes

    def stop(self) -> None:
        """Takes the token away: a worker that would begin a block now leaves it out."""
        if not self._stopped:
            self._stopped = True
            self._token.unlink(missing_ok=True)

    def _judge(self, future: distributed.Future) -> Outcome:
        """Returns how a block went."""
        if future.status == "finished":
            with self._watched():
                outcome = future.result()
            if outcome.not_begun and not self._stopped:
                return Outcome(
                    error=f"worker {outcome.place} does not see {self._token}: --workdir and volumes must be on a file "
                    "system that this machine and all workers see",
                    wrong_input=True,
                )
            return outcome
        if future.status != "error":
            raise EngineLost(f"the dask scheduler {self._address} is gone: start it again")
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            return Outcome(
                error="the worker process was lost: killed, or out of memory",
                place=error.last_worker.address,
            )
        if isinstance(error, ImportError):
            return Outcome(
                error=f"a worker of {self._address} cannot import emjax ({error}): workers need the same environment",
                wrong_input=True,
            )
        return Outcome(error=describe(error))

    def _give_up_waiting(self) -> list[tuple[int, Outcome]]:
        """Once stopped, leaves the blocks that no worker has: there may be none to say that they were not begun."""
        with self._watched():
            held = {key for keys in self._client.processing().values() for key in keys}
        idle = {future for future in self._running if future.key not in held}
        # Twice: what has just ended is held by none either, and its outcome on the way.
        given_up, self._idle = idle & self._idle, idle
        return [(self._running.pop(future), Outcome(not_begun=True)) for future in given_up]

    def _write_token(self) -> None:
        """Says that this run goes on, and that one which was killed here does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            if old.name.startswith(_TOKEN):
                old.unlink(missing_ok=True)
        try:
            self._token.write_text(f"{socket.gethostname()} {os.getpid()}")
        except OSError as error:
            if is_disk_full(error):
                raise EngineLost(f"no room on the disk for {self._token}: make room") from error
            raise

    def _start(self) -> distributed.Client:
        """Starts worker processes on this machine."""
        self._scratch = tempfile.mkdtemp(prefix="emjax-dask-")
        with dask.config.set(_SETTINGS):
            self._cluster = distributed.LocalCluster(
                n_workers=self._count,
                threads_per_worker=1,
                processes=True,
                # With a share of it as its limit, a worker whose caches fill that would be paused for ever.
                memory_limit=0,
                # No dashboard; what is left of its server takes any port of this machine.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                local_directory=self._scratch,
                silence_logs=standard.CRITICAL,
            )
            client = distributed.Client(self._cluster, set_as_default=False)
            # Ctrl-C and the SIGTERM of a batch system reach all processes of a group: the client says what they mean.
            client.register_plugin(dask_task.IgnoreSignals())
        return client

    def _connect(self) -> distributed.Client:
        try:
            # In a thread: a notebook's has a loop of its own that runs.
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, _probe(self._address)).result()
            with warnings.catch_warnings():
                # What a difference of versions means is said by `dask_task`, in one line.
                warnings.simplefilter("ignore")
                return distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        # Of any kind: another server that listens there answers with bytes that mean something else to dask.
        except Exception as error:
            raise InputError(
                f"cluster={self._address}: no dask scheduler answers there within {_CONNECT_S} s; start one with "
                "'dask scheduler' and its workers with 'dask worker ADDRESS', or use cluster=local"
            ) from error

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Tells a scheduler that is gone from other errors."""
        try:
            yield
        except (OSError, TimeoutError, distributed.CommClosedError, RuntimeError) as error:
            raise EngineLost(
                f"the dask scheduler {self._address} is gone ({describe(error)}): start it again"
            ) from error


async def _probe(address: str) -> None:
    """Connects once: a client that cannot takes long to go."""
    secrets = distributed.Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_S, **secrets)
    comm.abort()


@contextmanager
def _quiet() -> Iterator[None]:
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
