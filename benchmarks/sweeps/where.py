"""Which engine is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.sweeps.engine import Engine, Serial
from benchmarks.sweeps.on_dask import OnDask, Tls
from benchmarks.sweeps.processes import Processes
from probe.errors import BadInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What people say of the engine.

    Attributes:
        workers: processes of this machine; 0 for this very process.
        cluster: the address of a Dask scheduler, which is used instead; "" for none.
        tls_ca, tls_cert, tls_key: paths of PEM files; "" for none.
    """

    workers: int = 0
    cluster: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        """Raises `BadInputError`: of the TLS files some are missing, or there is no cluster that they are for."""
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not (self.cluster and all(files)):
            raise BadInputError("TLS: expected --cluster and all of --tls-ca, --tls-cert and --tls-key.")

    def to_text(self) -> str:
        """As `of_text` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Where:
        """For a process of our own."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return self.cluster or (f"{self.workers} processes" if self.workers else "one process")


def engine_of(where: Where, *, afresh: bool = False, preload: Sequence[str] = ()) -> Engine:
    """The engine, not entered yet; `afresh` and `preload` as `Processes` takes them."""
    if where.cluster:
        tls = Tls(ca=where.tls_ca, cert=where.tls_cert, key=where.tls_key) if where.tls_ca else None
        return OnDask(where.cluster, tls)
    return Processes(where.workers, afresh=afresh, preload=preload) if where.workers else Serial()
