"""`numaplace`: the commands, found by name and imported only when they are called.

`numaplace --help` and `numaplace probe` must not pay for the solver, the arrays or the ledger
(`make bench` measures it), so this module imports click and nothing of ours but the errors.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from probe.errors import NumaplaceError

BUILT_IN: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "probe": (
            "scheduler.cli.probe:probe",
            "What a host has: nodes, CPUs, memory, guests; as table, picture, JSON.",
        ),
        "plan": ("scheduler.cli.plan:plan", "Choose a home for every guest of a fleet file, and say why."),
        "apply": (
            "scheduler.cli.apply:apply",
            "Create the guests of a plan where it says; resumes after a crash.",
        ),
        "status": ("scheduler.cli.status:status", "Compare the books with what really runs."),
        "explain": ("scheduler.cli.explain:explain", "Why a guest of a plan has its place, or none; what would help."),
        "capacity": ("scheduler.cli.capacity:capacity", "How many more guests of each flavour fit; what is stranded."),
        "rebalance": (
            "scheduler.cli.rebalance:rebalance",
            "What to move, in which order, so that things get better.",
        ),
        "repair": ("scheduler.cli.repair:repair", "Bring guests that drifted back to their nodes while they run."),
        "destroy": (
            "scheduler.cli.destroy:destroy",
            "Destroy guests of ours and give back what they were promised.",
        ),
        "adopt": ("scheduler.cli.adopt:adopt", "Take guests that are there into the books, unchanged."),
        "release": ("scheduler.cli.release:release", "Let guests of ours go; they run on."),
        "cordon": ("scheduler.cli.cordon:cordon", "Close a host or a node for new guests."),
        "uncordon": ("scheduler.cli.cordon:uncordon", "Open it again."),
        "advise": ("scheduler.cli.advise:advise", "One guest, no files: where it should go, ready to paste."),
        "xml": ("scheduler.cli.xml:xml", "A domain XML in, the same with its placement out."),
        "policies": ("scheduler.cli.policies:policies", "The policies that plan can use."),
        "doctor": (
            "scheduler.cli.doctor:doctor",
            "What is installed, reachable or missing, and what mends it.",
        ),
        "schema": ("scheduler.cli.schema:schema", "The JSON Schema of fleet and hosts files."),
        "completion": (
            "scheduler.cli.completion:completion",
            "Print what makes your shell complete our commands.",
        ),
        "sim": (
            "scheduler.cli.sim:sim",
            "The embedded hypervisor: make a host of it, look at it, disturb it.",
        ),
    }
)

EXIT_STATUSES = """\b
Exit status:
  0 done                        5 conflict after retries
  1 anything else               6 host or ledger unreachable
  2 usage or bad input          7 a creation failed definitely
  3 some guest has no place     8 outcome unknown: status --reconcile
  4 drifted, not where planned
Where several hold, the first of 8 6 7 4 5 3."""


SIGPIPE_STATUS = 141
"""As the shell tells it of a program that the signal ended: whoever read our output has gone."""


class ReaderGoneError(Exception):
    """Nobody reads our standard output any more."""


class LazyCommands(click.Group):
    """A group whose commands are imported when they are called; others come from entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*BUILT_IN, *_plugged_in()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = BUILT_IN[cmd_name][0] if cmd_name in BUILT_IN else _plugged_in().get(cmd_name)
        return None if target is None else _load(target)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises `ReaderGoneError`: of a broken pipe click would make status 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the summaries that stand here, without importing them."""
        rows = [(name, summary) for name, (_, summary) in BUILT_IN.items()]
        rows += [(name, _load(target).get_short_help_str(80)) for name, target in _plugged_in().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near:
                raise click.UsageError(f"{error.message} Maybe {near[0]!r}?", ctx) from error
            raise


def _plugged_in() -> dict[str, str]:
    """Commands of other packages, from the entry-point group `numaplace.commands`."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="numaplace.commands")}


def _load(target: str) -> click.Command:
    module, _, name = target.partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    return command


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)
@click.version_option(package_name="numaplace", prog_name="numaplace")
def cli() -> None:
    """Place virtual machine guests on NUMA nodes: threads and memory together, on Xen and KVM.

    Begin with `numaplace probe`, then `numaplace advise 4:8GiB`.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack the pictures' characters
    try:
        status = cli.main(args=None if argv is None else list(argv), prog_name="numaplace", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = 130
    except NumaplaceError as error:
        click.echo(f"numaplace: {error}", err=True)
        status = error.exit_status
    except ReaderGoneError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be flushed
        status = SIGPIPE_STATUS
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        with contextlib.suppress(OSError):
            click.echo(f"numaplace: output: {error.strerror or error}", err=True)
        sys.stderr.close()  # what is left in standard output cannot be written either
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
