"""How commands print: tables for people, JSON and YAML for scripts, files, and the exit status."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from probe import tables
from probe.errors import BadInputError, NumaplaceError

STATUS_ORDER = (8, 6, 7, 4, 5, 3, 2, 1)
"""Where several exit statuses hold, the first of these is the one (design.md, for the first six)."""


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--output table|json|yaml`. An error that ends the command is a document too, where one was asked for."""

    @wraps(function)
    def command(*arguments: Any, output: str, **options: Any) -> Any:
        try:
            return function(*arguments, output=output, **options)
        except NumaplaceError as error:
            if output != "table":
                told = {"kind": type(error).__name__, "message": error.message, "advice": error.advice}
                emit({"schema": 1, "error": {**told, "exit_status": error.exit_status}}, output, str)
            raise

    kinds = click.Choice(["table", "json", "yaml"])
    return click.option("--output", type=kinds, default="table", help="For people (default) or for scripts.")(command)


def emit(value: Any, output: str, table: Callable[[], str]) -> None:
    """Print `value` as the chosen output; `table` is only called for people."""
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        plain = json.loads(json.dumps(value))  # YAML has no word for our enumerations
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(table())


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; what is no regular file (a pipe, a terminal) is written to.

    Raises:
        BadInputError: it cannot be written.
    """
    if str(path) == "-":
        raise BadInputError("'-': expected a file.", advice="Maybe --output json, which prints the same.")
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(file.name).chmod(0o666 & ~umask)
        Path(file.name).replace(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror or error}.") from error


def worst_status(statuses: Iterable[int]) -> int:
    """The one exit status of several: the first of `STATUS_ORDER` that occurs, else 0."""
    held = set(statuses)
    return next((status for status in STATUS_ORDER if status in held), 0)


def wants_colour() -> bool:
    """Colour only on a terminal, and not where NO_COLOR is set (no-color.org)."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def table_width() -> int | None:
    """What a table must fit: the terminal, or $COLUMNS; None, as wide as it is, for a file or a pipe."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return terminal_width() if on_terminal or os.environ.get("COLUMNS") else None


def columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for people, no wider than their terminal."""
    return tables.columns(header, rows, width=table_width())
