"""`numaplace sim`: the embedded hypervisor by hand."""

from __future__ import annotations

from pathlib import Path

import click

from probe.snapshot import Hypervisor
from scheduler.cli.output import columns, emit, output_option
from scheduler.sim.hypervisor import CALLS, FAULTS, SimHypervisor

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
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="Any source of a host: sysfs: for this machine, FILE.json, 'synthetic:node:4 core:8', …",
)
@click.option("--flavour", type=click.Choice(["kvm", "xen"]), default="kvm", show_default=True)
@click.option("--name", default="", help="The host's name; default: the source's.")
@output_option
def create(file: Path, source: str, flavour: str, name: str, output: str) -> None:
    """Make FILE a host with the nodes, CPUs and memory of SOURCE."""
    from probe.sources.registry import read_source

    snapshot = read_source(source)
    SimHypervisor.create(file, snapshot, Hypervisor(flavour), name=name).close()
    nodes, cpus = len(snapshot.topology.nodes), len(snapshot.topology.online_cpus)
    text = f"made {file}: {nodes} node{'s' * (nodes != 1)}, {cpus} CPUs, {flavour}; sim:{file} is a source"
    document = {"schema": 1, "source": f"sim:{file}", "flavour": flavour, "nodes": nodes, "cpus": cpus}
    emit(document, output, lambda: text)


@sim.command("list")
@_FILE
@output_option
def list_domains(file: Path, output: str) -> None:
    """List the domains of a host, with their pages per node."""
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
@click.argument("call", type=click.Choice(CALLS))
@click.argument("kind", type=click.Choice(FAULTS))
@click.option("--nth", type=click.IntRange(min=1), default=1, show_default=True, help="The next one, or a later one.")
def inject(file: Path, call: str, kind: str, nth: int) -> None:
    """Make the next CALL on the host go wrong: refused, done with its reply lost, or the caller dies."""
    SimHypervisor(file).inject(call, kind, nth=nth)
