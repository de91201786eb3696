"""A Dask cluster of processes of our own, on loopback only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

QUIET = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
"""Without the second a scheduler listens on all addresses for its HTTP pages, dashboard or not."""
ROOT = Path(__file__).resolve().parents[3]


@dataclass(slots=True)
class Cluster:
    """A scheduler and its workers.

    Attributes:
        address: of the scheduler.
        tls: options that all of them take.
    """

    folder: Path
    tls: Sequence[str] = ()
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, workers: int) -> None:
        """Scheduler and workers; back when the scheduler listens."""
        told = self.folder / "scheduler.json"
        protocol = ("--protocol", "tls") if self.tls else ()
        self.scheduler = self._run("scheduler", "--port", "0", "--scheduler-file", str(told), *protocol)
        until = time.monotonic() + 60
        while not told.exists() or not told.read_text():
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.05)
        self.address = json.loads(told.read_text())["address"]
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> None:
        local = ("--local-directory", str(self.folder), "--nthreads", "1", "--no-nanny")
        self.workers.append(self._run("worker", self.address, *local))

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        """One process that we have started, without a warning."""
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process is not None:
                self.kill(process)

    def _run(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, *arguments, "--host", "127.0.0.1", *QUIET, *self.tls]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


@contextmanager
def cluster(folder: Path, *, workers: int = 2, tls: Sequence[str] = ()) -> Iterator[Cluster]:
    """So many workers of one thread each; gone afterwards."""
    it = Cluster(folder, tls)
    try:
        it.start(workers)
        yield it
    finally:
        it.stop()


def certificate(folder: Path) -> dict[str, str]:
    """A certificate that is its own authority, for all ends."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=numaplace test",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"ca": str(cert), "cert": str(cert), "key": str(key)}
