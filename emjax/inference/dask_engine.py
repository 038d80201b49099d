"""Blocks in other processes and on other machines, by dask.distributed.

The client (this process) hands out blocks and marks them done; workers read and write the volumes themselves, so that
no voxels travel through the scheduler. A worker that is lost costs the blocks that it was working on, which go to
others.
"""

from __future__ import annotations

import functools
import logging as standard
import os
import queue
import shutil
import socket
import tempfile
import time
import uuid
from typing import Any

import cloudpickle
import dask
import distributed
from absl import logging
from etils import epath

from emjax.errors import InputError
from emjax.geometry.grid import Block
from emjax.inference.engines import Outcome, Work, describe, try_block

LOCAL = "local"
_CONNECT_S = 10.0
# Blocks handed out beyond those that can run: enough to keep workers busy and to let adaptive clusters grow.
_QUEUED = 32
_MOST_QUEUED = 4096
# How often the number of workers is asked for.
_COUNT_S = 5.0
# Lines of dask are for its developers: a lost worker is told by us.
_QUIET = {"distributed": standard.CRITICAL, "tornado": standard.CRITICAL}


class DaskWorkers:
    """An engine of worker processes."""

    def __init__(self, work: Work, cluster: str, num_workers: int, folder: epath.Path) -> None:
        """Says what to do; `with` starts or connects to the workers.

        Args:
            work: picklable, holding addresses and settings alone.
            cluster: 'local', or the address of a scheduler.
            num_workers: processes of a local cluster; a scheduler's workers are all used.
            folder: that client and workers must both see; a file in it says that the run goes on.
        """
        self._work = cloudpickle.dumps(work)
        self._address, self._count = cluster, num_workers
        remote = "://" in os.fspath(folder)
        place = folder if remote else epath.Path(os.path.abspath(folder))
        self._token = place / f"running-{uuid.uuid4().hex[:12]}"
        self._futures: dict[distributed.Future, int] = {}
        self._ended: queue.SimpleQueue[distributed.Future] = queue.SimpleQueue()
        self._cluster: Any = None
        self._scratch = ""
        self._levels: dict[str, int] = {}
        self._threads, self._counted = 0, -_COUNT_S
        self._stopped = False

    def __enter__(self) -> DaskWorkers:
        """Starts or connects.

        Raises:
            InputError: if the scheduler does not answer, or a worker cannot do this work.
        """
        for name, level in _QUIET.items():
            self._levels[name] = standard.getLogger(name).level
            standard.getLogger(name).setLevel(level)
        try:
            self._token.parent.mkdir(parents=True, exist_ok=True)
            self._token.write_text(socket.gethostname())
            self._client = self._start() if self._address == LOCAL else self._connect()
            self._check_workers()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leaves the workers, and ends those of a local cluster."""
        self.stop()
        client, self._client = getattr(self, "_client", None), None
        if client is not None:
            client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        for name, level in self._levels.items():
            standard.getLogger(name).setLevel(level)

    def capacity(self) -> int:
        """Returns twice the threads of all workers there are now, and a few more."""
        now = time.monotonic()
        if now - self._counted >= _COUNT_S:
            threads = sum(self._client.nthreads().values())
            if threads == 0 and self._threads:
                logging.warning("all workers of %s are gone; waiting for others", self._address)
            self._threads, self._counted = threads, now
        return min(_MOST_QUEUED, _QUEUED + 2 * self._threads)

    def submit(self, block: Block) -> None:
        """Hands out a block."""
        future = self._client.submit(
            _run_block,
            self._work,
            block,
            os.fspath(self._token),
            os.getcwd(),
            key=f"emjax-{block.index}-{uuid.uuid4().hex[:8]}",
            pure=False,
        )
        self._futures[future] = block.index
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the blocks that ended."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        return [(self._futures.pop(future), self._outcome(future)) for future in ended]

    def stop(self) -> None:
        """Takes the token away: a worker that would begin a block now leaves it out."""
        if not self._stopped:
            self._stopped = True
            self._token.unlink(missing_ok=True)

    def _outcome(self, future: distributed.Future) -> Outcome:
        if future.status == "finished":
            outcome = future.result()
        elif future.status == "error":
            error = future.exception()
            outcome = Outcome(error=describe(error))
        else:
            outcome = Outcome(error=f"the scheduler {self._address} lost the block")
        return outcome

    def _start(self) -> distributed.Client:
        """Starts worker processes here."""
        self._scratch = tempfile.mkdtemp(prefix="emjax-dask-")
        # A lost worker counts as one try of its blocks; a scheduler of its own would try others silently.
        settings = {"distributed.scheduler.allowed-failures": 0}
        with dask.config.set(settings):
            self._cluster = distributed.LocalCluster(
                n_workers=self._count,
                threads_per_worker=1,
                processes=True,
                # The default share pauses a worker for ever whose caches fill it.
                memory_limit=0,
                dashboard_address=None,
                local_directory=self._scratch,
                silence_logs=standard.CRITICAL,
            )
            return distributed.Client(self._cluster, set_as_default=False)

    def _connect(self) -> distributed.Client:
        try:
            return distributed.Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"cluster={self._address}: no dask scheduler answers there within {_CONNECT_S:.0f} s "
                f"({describe(error)}); start one with 'dask scheduler', or use cluster=local"
            ) from error

    def _check_workers(self) -> None:
        pass


def _run_block(work: bytes, block: Block, token: str, folder: str) -> Outcome:
    """Works on a block on a worker."""
    if not epath.Path(token).exists():
        return Outcome(not_begun=True)
    return try_block(_load(work), block)


@functools.lru_cache(maxsize=4)
def _load(work: bytes) -> Work:
    """Unpickles the work once in a process, so that what it keeps open stays open."""
    return cloudpickle.loads(work)
