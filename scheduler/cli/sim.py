"""`numaplace sim`: the embedded hypervisor by hand."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.output import columns, emit, output_option

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def sim() -> None:
    """The embedded hypervisor: make a host of it, look at it, disturb it.

    It is a hypervisor of its own, with a file per host; numaplace creates guests in it as it does
    on KVM and Xen. To try things out and to test.
    """


@sim.command()
@_FILE
@click.option(
    "--from", "source", required=True, metavar="SOURCE", help="Any source of a host, e.g. sysfs: or FILE.json"
)
@click.option("--flavour", type=click.Choice(["kvm", "xen"]), default="kvm", show_default=True)
@click.option("--name", default="", help="The host's name; default: the source's.")
def create(file: Path, source: str, flavour: str, name: str) -> None:
    """Make FILE a host with the nodes, CPUs and memory of SOURCE."""
    from probe.snapshot import Hypervisor
    from probe.sources.registry import read_source
    from scheduler.sim.hypervisor import SimHypervisor

    SimHypervisor.create(file, read_source(source), Hypervisor(flavour), name=name).close()


@sim.command("list")
@_FILE
@output_option
def list_domains(file: Path, output: str) -> None:
    """List the domains of a host, with their pages per node."""
    from scheduler.sim.hypervisor import SimHypervisor

    domains = SimHypervisor(file).domains()
    rows = [
        {"guest": d.wanted.name, "uuid": d.wanted.uuid, "state": d.state.value, "resident_kib": d.resident_kib}
        for d in domains
    ]
    pages = [" ".join(f"{node}:{kib}" for node, kib in d.resident_kib.items()) for d in domains]
    table = [(row["guest"], row["state"], text) for row, text in zip(rows, pages, strict=True)]
    emit({"schema": 1, "domains": rows}, output, lambda: columns(("GUEST", "STATE", "KIB PER NODE"), table))


@sim.command()
@_FILE
@click.argument("call")
@click.argument("kind", type=click.Choice(["fail", "lose-reply", "die-before", "die-after"]))
@click.option("--nth", type=click.IntRange(min=1), default=1, show_default=True)
def inject(file: Path, call: str, kind: str, nth: int) -> None:
    """Make the NTH next CALL (define, start, resume, destroy, …) go wrong."""
    from scheduler.sim.hypervisor import SimHypervisor

    SimHypervisor(file).inject(call, kind, nth=nth)
