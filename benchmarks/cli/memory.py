"""`numaplace bench memory`: bandwidth and latency between the nodes of this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.output import columns, emit, output_option, terminal_width, write_file

if TYPE_CHECKING:
    from benchmarks.memory.by_policies import GuestSpeed
    from benchmarks.memory.measuring import Course, Pair, Speed
    from probe.snapshot import HostSnapshot


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(5, 3600),
    default=8.0,
    show_default=True,
    help="How long each bandwidth is measured; a busy host needs more.",
)
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs of each pair; the best counts."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 0.9, min_open=True),
    default=0.25,
    show_default=True,
    help="The most that is taken of a node's available memory.",
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the matrices into this file too.")
@click.option(
    "--policies",
    metavar="NAME,NAME,…",
    help="Compare guests placed by these policies: all of a policy's guests at once, the bandwidth of each.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The guests of --policies. Default: two for each node with CPUs, of nearly half its pCPUs.",
)
@click.option(
    "--host",
    default="sysfs:",
    show_default=True,
    metavar="SOURCE",
    help="Where this host's topology is read: one that differs from where the tools run measures nothing of sense.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be measured, with how much memory, and end.")
@output_option
def memory(
    seconds: float,
    repeat: int,
    share: float,
    svg: Path | None,
    policies: str | None,
    fleet: Path | None,
    host: str,
    dry_run: bool,
    output: str,
) -> int:
    """Measure how fast the CPUs of each node reach the memory of each other, with stress-ng, on this very host.

    Bandwidth of all CPUs of a node together, reads and writes counted; latency of one CPU that goes along a list in
    random order. Drawn beside the firmware's distances. In a guest, or under emulation, the figures tell of that.
    """
    from benchmarks.memory.measuring import course, measure
    from benchmarks.memory.tools import tools_are_there, version_told
    from probe.sources.registry import read_source
    from scheduler.cli.progress import progress

    tools_are_there()
    snapshot = read_source(host)
    plan = course(snapshot, share=share, seconds=seconds)
    compared = _Compared(snapshot, plan, policies, fleet, share) if policies else None
    click.echo("\n".join([*_told(plan, repeat, share), *(compared.told if compared else ())]), err=True)
    if dry_run:
        return 0
    with progress("measuring", total=len(plan.pairs)) as step:
        speeds = measure(plan, repeat=repeat, on_pair=lambda *_: step())
    guests = compared.measured(seconds) if compared else []
    if svg is not None:
        from benchmarks.memory.picture import as_svg, matrices

        write_file(svg, as_svg(matrices(plan.topology, speeds), f"memory of {snapshot.hostname or host}"))
    document = _document(snapshot, plan, speeds, guests, version_told())
    emit(document, output, lambda: _table(plan, speeds, guests))
    return 0


class _Compared:
    """The comparison of policies, planned before anything runs."""

    def __init__(self, snapshot: HostSnapshot, plan: Course, policies: str, fleet: Path | None, share: float) -> None:
        from benchmarks.locality.preparing import own_requests
        from benchmarks.memory.by_policies import memory_of_each_kib, plans
        from scheduler.definitions.size_of import template_size
        from scheduler.files.fleet_file import FleetGuest, read_fleet
        from scheduler.files.hosts_file import host_of_source
        from scheduler.planning import HostView

        names = [name.strip() for name in policies.split(",") if name.strip()]
        view = HostView(config=host_of_source("sysfs:", "here"), snapshot=snapshot)
        guests = (
            [FleetGuest(request=request) for request in own_requests("here", snapshot)]
            if fleet is None
            else [*read_fleet(fleet, template_size)[0]]
        )
        self.plans = plans(guests, view, [*dict.fromkeys(names)], seed=0)
        room_kib = {int(memory.node_id): int((memory.available_kib or 0) * share) for memory in snapshot.memory}
        self.memory_kib = memory_of_each_kib(self.plans.values(), plan, room_kib)
        self.guests = len(guests)

    @property
    def told(self) -> list[str]:
        from probe.units import format_kib_rounded

        each = format_kib_rounded(self.memory_kib)
        return [f"Then {self.guests} guests at once, {each} for each of their cells, by {', '.join(self.plans)}."]

    def measured(self, seconds: float) -> list[GuestSpeed]:
        from benchmarks.memory.by_policies import measure_plan

        return [
            speed
            for name, plan in self.plans.items()
            for speed in measure_plan(name, plan, memory_kib=self.memory_kib, seconds=seconds)
        ]


def _told(plan: Course, repeat: int, share: float) -> list[str]:
    """What will be done, before it is."""
    from probe.units import format_kib_rounded

    most = max(max(a.stream_kib, a.list_kib) for a in plan.amounts.values())
    about = plan.guess_s * repeat
    took = f"{about / 60:.0f} minutes" if about > 120 else f"{about:.0f} s"
    lines = [
        f"Measures {len(plan.pairs)} pair{'s' * (len(plan.pairs) > 1)} of nodes, about {took}, with at most"
        f" {format_kib_rounded(most)} of a node's memory ({share:.0%} of what is available there is the limit).",
        *plan.left_out,
    ]
    near = [str(node) for node, amounts in plan.amounts.items() if not amounts.beyond_l3]
    if near:
        lines.append(
            f"On node {', '.join(near)} that is not much more than the caches: they have a part in the figures."
        )
    return lines


def _table(plan: Course, speeds: dict[Pair, Speed], guests: list[GuestSpeed]) -> str:
    from benchmarks.memory.picture import for_terminal, matrices

    if len(speeds) == 1:
        ((pair, speed),) = speeds.items()
        text = (
            f"Node {pair.cpu_node}: {speed.bandwidth_mib_s / 1024:.1f} GiB/s, {speed.latency_ns:.0f} ns a load. This"
            " host has one pair of a node's CPUs and a node's memory: there is nothing to compare."
        )
    else:
        text = for_terminal(matrices(plan.topology, speeds), width=terminal_width())
    return "\n\n".join([text, *([_guests_table(guests)] if guests else [])])


def _guests_table(guests: list[GuestSpeed]) -> str:
    def gib(guest: GuestSpeed) -> str:
        return "-" if guest.bandwidth_mib_s is None else f"{guest.bandwidth_mib_s / 1024:.1f}"

    rows: list[tuple[object, ...]] = [(g.policy, g.guest, g.cpus, g.nodes, gib(g), g.note) for g in guests]
    for policy in dict.fromkeys(guest.policy for guest in guests):
        total = sum(guest.bandwidth_mib_s or 0 for guest in guests if guest.policy == policy)
        rows.append((policy, "all together", "", "", f"{total / 1024:.1f}", ""))
    return columns(("POLICY", "GUEST", "CPUS", "NODES", "GIB/S", "NOTE"), rows)


def _document(
    snapshot: HostSnapshot, plan: Course, speeds: dict[Pair, Speed], guests: list[GuestSpeed], tool: str
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": 1,
        "host": snapshot.hostname,
        "tool": tool,
        "seconds": plan.seconds,
        "taken": {str(node): asdict(amounts) for node, amounts in plan.amounts.items()},
        "left_out": list(plan.left_out),
        "pairs": [
            {
                "cpu_node": pair.cpu_node,
                "memory_node": pair.memory_node,
                "distance": plan.topology.distance(pair.cpu_node, pair.memory_node),
                "bandwidth_mib_s": round(speed.bandwidth_mib_s, 1),
                "latency_ns": round(speed.latency_ns, 1),
            }
            for pair, speed in speeds.items()
        ],
        "guests": [asdict(guest) for guest in guests],
    }
