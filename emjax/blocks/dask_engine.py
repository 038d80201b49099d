"""The engine that works on blocks in other processes or on other machines, by dask.distributed.

The client (this process) hands out blocks and marks them done. Workers read and write the volumes themselves: no voxels
travel through the scheduler, and client and workers need a file system that all of them see. When a worker is lost, the
blocks that it was working on go to other workers.
"""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import queue
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import cloudpickle
import distributed
from absl import logging
from etils import epath

from emjax.blocks import dask_task
from emjax.blocks.dask_clusters import Connection, give_back, quiet, take
from emjax.blocks.engines import EngineLost, Outcome, Work, describe
from emjax.geometry.grid import Block
from emjax.runs.disk import is_disk_full

# Blocks handed out beyond those that can run at once: they keep workers busy, and let a cluster grow that scales with
# demand. The most that a scheduler holds is limited, since a volume may have a million blocks.
_QUEUED, _MOST_QUEUED = 32, 4096
# Seconds between two queries for the number of workers.
_COUNT_S = 5.0
_TOKEN = "running-"


class DaskWorkers:
    """An engine of worker processes."""

    def __init__(self, work: Work, cluster: str, num_workers: int, folder: epath.Path) -> None:
        """Stores the settings; entering the context starts the workers or connects to them.

        Args:
            work: work on one block; picklable, so it holds only addresses and settings.
            cluster: 'local', or the address of a scheduler.
            num_workers: processes of a local cluster; of a scheduler, all workers are used.
            folder: a folder that client and workers see; a file in it (the token) exists as long as the run goes on.
        """
        self._work = cloudpickle.dumps(work)
        self._address, self._count = cluster, num_workers
        remote = "://" in os.fspath(folder)
        self._folder = folder if remote else epath.Path(os.path.abspath(folder))
        self._token = self._folder / f"{_TOKEN}{uuid.uuid4().hex[:12]}"
        self._client: Any = None
        self._connection: Connection | None = None
        self._running: dict[distributed.Future, int] = {}
        self._ended: queue.SimpleQueue[distributed.Future] = queue.SimpleQueue()
        self._tries = 0
        self._threads, self._counted = 0, -_COUNT_S
        self._stopped = False
        self._idle: set[distributed.Future] = set()
        self._quiet = quiet()

    def __enter__(self) -> DaskWorkers:
        """Starts the workers or connects to them.

        Raises:
            InputError: if the scheduler does not answer.
            EngineLost: if the disk is full.
        """
        self._quiet.__enter__()
        try:
            self._write_token()
            self._connection = take(self._address, self._count)
            self._client = self._connection.client
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
        """Gives the workers back; after an error they may be lost or busy, so that these are left."""
        self.stop()
        if self._connection is not None and error is None:
            give_back(self._connection, self._address, self._count)
        elif self._connection is not None:
            self._connection.close()
        self._quiet.__exit__(None, None, None)

    def capacity(self) -> int:
        """Returns how many blocks may be handed out: twice the threads of all present workers, plus `_QUEUED`."""
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
        """Hands out a block to the scheduler."""
        self._tries += 1
        task = dask_task.Task(
            self._work, block, os.fspath(self._token), os.getcwd(), dask_task.versions()
        )
        with self._watched():
            future = self._client.submit(
                # As bytes, which a worker without emjax can still receive and then fail with an ImportError; a worker
                # that cannot unpickle the task itself dies silently.
                pickle.loads,
                pickle.dumps(dask_task.Call(task)),
                # Keys of one group: the scheduler then holds back tasks that workers cannot begin yet.
                key=(self._token.name, block.index, self._tries),
                pure=False,
            )
        self._running[future] = block.index
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[tuple[int, Outcome]]:
        """Returns the number and outcome of each block that ended.

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
        outcomes = self._collect([future for future in ended if future in self._running])
        if self._stopped and not outcomes:
            outcomes = self._give_up_waiting()
        return outcomes

    def stop(self) -> None:
        """Deletes the token, so that workers begin no further blocks."""
        if not self._stopped:
            self._stopped = True
            self._token.unlink(missing_ok=True)

    def _collect(self, ended: list[distributed.Future]) -> list[tuple[int, Outcome]]:
        """Returns the number and outcome of each ended block; forgets it here."""
        finished, lost = [], []
        for future in ended:
            if future.status == "finished":
                finished.append(future)
            elif future.status in ("pending", "lost"):
                # The worker died before its outcome was fetched; another worker repeats the block.
                future.add_done_callback(self._ended.put)
            else:
                lost.append(future)
        with self._watched():
            # In one call: each outcome alone would cost a round trip to a worker.
            outcomes = self._client.gather(finished)
        taken = [(self._running.pop(f), o) for f, o in zip(finished, outcomes, strict=True)]
        if not self._stopped:
            taken = [(index, self._check_seen(outcome)) for index, outcome in taken]
        return taken + [(self._running.pop(future), self._judge(future)) for future in lost]

    def _check_seen(self, outcome: Outcome) -> Outcome:
        """Returns the outcome, or a refusal if the worker did not find the token although it exists."""
        if not outcome.not_begun:
            return outcome
        return Outcome(
            error=f"worker {outcome.place} does not see {self._token}: --workdir and volumes must be on a file system "
            "that this machine and all workers see",
            wrong_input=True,
        )

    def _judge(self, future: distributed.Future) -> Outcome:
        """Returns the outcome of a block whose worker returned none."""
        if future.status != "error":
            raise EngineLost(f"the dask scheduler {self._address} is gone: start it again")
        error: Any = future.exception()
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
        """Gives up, once stopped, the blocks that no worker holds: there may be no worker left to report on them."""
        with self._watched():
            held = {key for keys in self._client.processing().values() for key in keys}
        idle = {future for future in self._running if future.key not in held}
        # Only blocks found idle twice: a block that has just ended is held by no worker, but its outcome is on the way.
        given_up, self._idle = idle & self._idle, idle
        return [(self._running.pop(future), Outcome(not_begun=True)) for future in given_up]

    def _write_token(self) -> None:
        """Writes this run's token, and deletes those that killed runs left in the folder."""
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

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Turns the errors of a scheduler that is gone into `EngineLost`."""
        try:
            yield
        except (OSError, RuntimeError, concurrent.futures.CancelledError) as error:
            raise EngineLost(
                f"the dask scheduler {self._address} is gone ({describe(error)}): start it again"
            ) from error
