"""The engine of many machines: a Dask cluster that is there already.

Dask pickles what it sends and runs what it gets: whoever reaches a scheduler or a worker runs code there. So only on
networks that are trusted, with TLS; `numaplace` itself starts no cluster. What we hand over is the name of a function
of ours and its item. Dask does an item anew when its worker dies; the scheduler's `allowed-failures` says how often.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from benchmarks.sweeps.engine import (
    NOBODY,
    Ended,
    Engine,
    EngineLostError,
    Item,
    Value,
    Watch,
    Work,
    told_failure,
)
from probe.errors import BadInputError

if TYPE_CHECKING:
    from distributed import Client

TELL_EVERY_S = 2.0
"""At most so often a worker tells how far it is: the scheduler passes it on."""
CONNECT_S = 10.0
LOST_AFTER_S = 30.0
"""A scheduler that does not come back in this time is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM format; the cluster's ends prove themselves to each other by them."""

    ca: str
    cert: str
    key: str


class OnDask(Engine):
    """The workers of a cluster.

    Args:
        address: of the scheduler, tcp://HOST:PORT or tls://HOST:PORT.
        tls: needed for tls://.
    """

    def __init__(self, address: str, tls: Tls | None = None) -> None:
        self.address, self._tls = address, tls
        self._client: Client | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            BadInputError: Dask is not installed, or the address is none.
            EngineLostError: nobody answers there.
        """
        try:
            import dask
            from distributed import Client
        except ImportError as error:
            raise BadInputError("--cluster needs Dask.", advice="Maybe pip install 'numaplace[bench]'.") from error
        if self.address.startswith("tls://") and self._tls is None:
            raise BadInputError(f"{self.address}: needs --tls-ca, --tls-cert and --tls-key.")
        dask.config.set({"distributed.comm.timeouts.connect": f"{LOST_AFTER_S}s"})
        try:
            self._client = Client(self.address, security=self._security(), timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineLostError(
                f"{self.address}: no Dask scheduler answers: {error}.",
                advice="Maybe start one: dask scheduler --host 127.0.0.1 --port 8786 --dashboard-address 127.0.0.1:0",
            ) from error
        self.workers = self._workers()
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError, TimeoutError):
                self._client.close(timeout=2)
            self._client = None

    def run(self, work: Work[Item, Value], items: Sequence[Item], watch: Watch = NOBODY) -> Iterator[Ended]:
        """Each item once, as they end."""
        from distributed import as_completed

        client, name = self._connected(), f"numaplace-{uuid.uuid4().hex}"
        client.subscribe_topic(name, lambda event: watch.tell(*event[1]))
        futures = {
            client.submit(_work_there, work, item, name, number, key=f"{name}-{number}", pure=False): number
            for number, item in enumerate(items)
        }
        try:
            for future in as_completed([*futures], loop=client.loop):
                yield self._ended(future, futures[future])
                future.release()
        finally:
            with contextlib.suppress(Exception):  # whoever is gone needs no goodbye
                client.unsubscribe_topic(name)
                client.cancel([*futures])

    def _ended(self, future: Any, number: int) -> Ended:
        from distributed import CancelledError

        try:
            return Ended(number, future.result())  # waits where it was lost with its worker, and is done anew
        except CancelledError as error:
            raise EngineLostError(f"{self.address}: the Dask scheduler is gone.") from error
        except Exception as error:
            return Ended(number, None, _told(error))

    def _security(self) -> Any:
        from distributed.security import Security

        if self._tls is None:
            return None
        files = {"tls_client_cert": self._tls.cert, "tls_client_key": self._tls.key}
        return Security(tls_ca_file=self._tls.ca, require_encryption=True, **files)

    def _connected(self) -> Client:
        if self._client is None:
            raise EngineLostError(f"{self.address}: not connected.")
        return self._client

    def _workers(self) -> int:
        there = self._connected().scheduler_info(n_workers=-1)["workers"]
        return len(there)


def _work_there(work: Work[Item, Value], item: Item, topic: str, number: int) -> Value:
    """On the worker."""
    from distributed import get_worker

    worker, last = get_worker(), 0.0

    def tell(text: str) -> None:
        nonlocal last
        if not text or time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            worker.log_event(topic, (number, worker.address, text))

    tell("")
    return work(item, tell)


def _told(error: Exception) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker died again and again"
    return told_failure(error)
