"""Options that say where the work is done."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


def engine_options(*, usually_all: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--workers`, `--cluster` and the TLS files, gathered as `where`; None where nothing is said.

    Args:
        usually_all: one process for each CPU where nothing is said.
    """
    options = (
        click.option(
            "--workers",
            type=click.IntRange(0, 1024),
            help="Processes of this machine; 0: in this very process."
            + (" Default: one for each CPU." if usually_all else ""),
        ),
        click.option(
            "--cluster", metavar="ADDRESS", help="Instead: the Dask scheduler at tcp://HOST:PORT or tls://HOST:PORT."
        ),
        click.option("--tls-ca", type=_PEM, help="The authority of the cluster's certificates (PEM)."),
        click.option("--tls-cert", type=_PEM, help="Our certificate (PEM)."),
        click.option("--tls-key", type=_PEM, help="Its key (PEM)."),
    )

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def gathered(*args: Any, workers: int | None, cluster: str | None, **rest: Any) -> Any:
            files = {name: str(rest.pop(name) or "") for name in ("tls_ca", "tls_cert", "tls_key")}
            where = None
            if usually_all or workers is not None or cluster or any(files.values()):
                from benchmarks.sweeps.where import Where

                count = (os.cpu_count() or 1) if workers is None else workers
                where = Where(workers=count, cluster=cluster or "", **files)
            return function(*args, where=where, **rest)

        command: Callable[..., Any] = gathered
        for option in reversed(options):
            command = option(command)
        return command

    return decorated
