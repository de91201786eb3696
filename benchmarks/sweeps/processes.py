"""The engine of one machine: worker processes, each with a pipe to us.

Not `concurrent.futures`: there a worker that is killed breaks the pool for every item; here it costs one item one
more try. The pipes carry pickled values between us and processes that we have started, and nobody else.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, Literal

from benchmarks.sweeps.engine import MOST_DEATHS, NOBODY, Ended, Engine, Item, Value, Watch, Work, told_failure

TELL_EVERY_S = 0.5
"""At most so often a worker tells how far it is."""
_GRACE_S = 2.0
"""A worker that is told to end and does not is killed after so long."""

Kind = Literal["far", "value", "failed", "died"]


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, and the number of the item that it works on; -1 where it is idle."""

    process: ForkServerProcess
    pipe: Connection
    number: int = -1

    @property
    def name(self) -> str:
        return f"process {self.process.pid}"

    @property
    def end(self) -> str:
        """How the process ended."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"with status {code}"
        return f"by {signal.Signals(-code).name}"


class Processes(Engine):
    """So many processes at once.

    Args:
        workers: how many.
        afresh: each item gets a process of its own, so that its peak memory is its own. Starting one takes
            some hundredths of a second.
        preload: modules that are imported once, for all workers.
    """

    def __init__(self, workers: int, *, afresh: bool = False, preload: Sequence[str] = ()) -> None:
        self.workers, self._afresh = workers, afresh
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload([*preload])
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def __exit__(self, *_: object) -> None:
        _end([*self._idle, *self._busy])
        self._idle, self._busy = [], []

    def run(self, work: Work[Item, Value], items: Sequence[Item], watch: Watch = NOBODY) -> Iterator[Ended]:
        """Each item once, as they end."""
        waiting, deaths = deque(range(len(items))), Counter[int]()
        try:
            while waiting or self._busy:
                while waiting and len(self._busy) < self.workers:
                    number = waiting.popleft()
                    worker = self._give(number, work, items[number])
                    watch.tell(number, worker.name, "")
                for worker in self._with_news():
                    number, (kind, said) = worker.number, self._heard(worker)
                    deaths[number] += kind == "died"
                    if kind == "far":
                        watch.tell(number, worker.name, said)
                    elif kind == "died" and deaths[number] < MOST_DEATHS:
                        waiting.appendleft(number)
                    elif kind == "died":
                        yield Ended(number, None, f"its process died {MOST_DEATHS} times, at last {worker.end}")
                    else:
                        yield Ended(number, said) if kind == "value" else Ended(number, None, said)
        finally:
            _end(self._busy)
            self._busy = []

    def _give(self, number: int, work: Any, item: Any) -> _Worker:
        """Hand an item to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._started()
        worker.number = number
        self._busy.append(worker)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died idle: we shall hear of it
            worker.pipe.send((work, item))
        return worker

    def _with_news(self) -> list[_Worker]:
        by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._busy}
        return [by_pipe[pipe] for pipe in wait([*by_pipe])]

    def _heard(self, worker: _Worker) -> tuple[Kind, Any]:
        """What a worker has to say; it is idle or gone then, unless it only tells how far it is."""
        kind: Kind
        try:
            kind, said = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            kind, said = "died", None
        if kind == "far":
            return kind, said
        self._busy.remove(worker)
        if kind == "died" or self._afresh:
            _end([worker])
        else:
            worker.number = -1
            self._idle.append(worker)
        return kind, said

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with _interrupts_later():  # half of a start leaves a child that complains on its way out
            process.start()
        theirs.close()
        return _Worker(process, ours)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; only the main thread hears of it at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _end(workers: Sequence[_Worker]) -> None:
    """Let idle ones go, stop those that work, and wait for them all."""
    for worker in workers:
        worker.pipe.close()
        if worker.number >= 0:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_GRACE_S)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()


def _serve(pipe: Connection) -> None:
    """The life of a worker: items come and values go, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches our whole group; who started us decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            work, item = pipe.recv()
            try:
                said = ("value", work(item, _teller(pipe)))
            except Exception as error:
                said = ("failed", told_failure(error))
            pipe.send(said)


def _end_with_parent() -> None:
    if (parent := mp.parent_process()) is not None:
        parent.join()
    os._exit(1)


def _teller(pipe: Connection) -> Any:
    """Sends what it is told, but not too often."""
    last = 0.0

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            pipe.send(("far", text))

    return tell
