"""The picture and the table of a host for a terminal, without any library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from probe.cpuset import NodeId, NodeSet
from probe.picture.layout import Booked, CpuCell, Layout, Mark, MemoryBar, NodeBox, Use, layout
from probe.snapshot import HostSnapshot
from probe.tables import running
from probe.topology import HostTopology
from probe.units import format_kib_rounded

_BAR = 14

_MOST_DISTANCES = 16
"""Of more nodes the matrix would not be read; it is summed up."""

_MOST_GUESTS = 40
"""So many guests are named below a picture."""


def host_table(snapshot: HostSnapshot) -> str:
    """Nodes, CPUs, memory and distances, as people know them from `numactl -H`."""
    topology = snapshot.topology
    head = snapshot.hostname or snapshot.sources[0]
    lines = [
        f"{head}: {len(topology.nodes)} NUMA node{'s' * (len(topology.nodes) != 1)},"
        f" {_counted(len(topology.packages), 'package')}, {_counted(len(topology.cores), 'core')},"
        f" {_counted(len(topology.online_cpus), 'CPU')}",
        "",
    ]
    sizes = sorted({pool.size_kib for memory in snapshot.memory for pool in memory.hugepages if pool.total})
    header = [
        "node",
        "cpus",
        "total",
        "free",
        "available",
        "promised",
        *(f"{format_kib_rounded(s)} pages" for s in sizes),
    ]
    rows = [header]
    for node in topology.nodes:
        memory = snapshot.memory_of(node.node_id)
        pools = {pool.size_kib: pool for pool in memory.hugepages}
        amounts = (memory.total_kib, memory.free_kib, memory.available_kib, snapshot.declared_kib(node.node_id))
        pages = [f"{_or_dash(pools[s].free)}/{pools[s].total} free" if s in pools else "-" for s in sizes]
        rows.append([str(node.node_id), str(node.cpus) or "-", *(_size(kib) for kib in amounts), *pages])
    lines += _aligned(rows)
    lines += _distances(topology)
    for disagreement in snapshot.disagreements:
        readings = "; ".join(f"{source}: {value}" for source, value in disagreement.readings.items())
        lines.append(f"disagreement on {disagreement.what}: {readings}")
    return "\n".join(lines)


def _distances(topology: HostTopology) -> list[str]:
    """The matrix; of many nodes how far the others are, each line with the nodes for which it is so."""
    nodes = topology.nodes
    if not any(node.distances for node in nodes):
        return []
    ids = [str(node.node_id) for node in nodes]
    if len(nodes) <= _MOST_DISTANCES:
        told = [[_or_dash((n.distances or {}).get(other.node_id)) for other in nodes] for n in nodes]
        return ["", "distances", *_aligned([["node", *ids], *([i, *row] for i, row in zip(ids, told, strict=True))])]
    alike: dict[str, list[int]] = {}
    for node in nodes:
        far = Counter(d for other, d in (node.distances or {}).items() if other != node.node_id)
        alike.setdefault(", ".join(f"{d} to {n}" for d, n in sorted(far.items())), []).append(node.node_id)
    lines = [f"  nodes {NodeSet(frozenset(map(NodeId, group)))}: {text or 'not told'}" for text, group in alike.items()]
    return ["", "distances to so many other nodes (the matrix: --output json)", *lines]


def host_picture(
    snapshot: HostSnapshot,
    *,
    width: int,
    colour: bool,
    guests: Sequence[str] | None = None,
    booked: Mapping[str, Booked] = MappingProxyType({}),
) -> list[str]:
    """One box a node, as many side by side as the width holds; the legend below.

    `guests` and `booked` as for `probe.picture.layout.layout`.
    """
    drawn = layout(snapshot, guests, booked)
    boxes = [_box(box, drawn, colour=colour) for box in drawn.boxes]
    lines: list[str] = []
    row: list[list[str]] = []
    for box in boxes:
        if row and sum(_width(each) + 1 for each in (*row, box)) > width:
            lines += _side_by_side(row)
            row = []
        row.append(box)
    lines += _side_by_side(row)
    return [*lines, *_legend(drawn, width, colour=colour), *running(_keys(drawn), width=width)]


def _legend(drawn: Layout, width: int, *, colour: bool) -> list[str]:
    """The guests by their signs."""
    named = list(drawn.marks.items())
    entries = [
        f"{_paint(_letters(mark), mark.colour, on=colour)} {_printable(guest)}{_beside(mark)}"
        for guest, mark in named[:_MOST_GUESTS]
    ]
    if len(named) > _MOST_GUESTS:
        entries.append(f"and {len(named) - _MOST_GUESTS} more")
    head = "guests: "
    return running([head + entries[0], *entries[1:]], width=width, indent=" " * len(head)) if entries else []


def _keys(drawn: Layout) -> list[str]:
    """What the signs mean, of those that are drawn."""
    cells = tuple(drawn.cells)
    huge = any(box.memory.hugepages_kib for box in drawn.boxes)
    own = {cell.own for cell in cells}
    keys = [
        ("A owns its CPUs, a shares them", Use.VCPU in own),
        (f"{_SIGNS[Use.IDLE]} kept idle for the guest beside it", Use.IDLE in own),
        (f"{_SIGNS[Use.EMULATOR]} for a guest's emulator threads alone", Use.EMULATOR in own),
        ("· free CPU", any(cell.usable and not cell.guests for cell in cells)),
        ("+ several guests", any(len(cell.guests) > 1 for cell in cells)),
        ("x not usable", any(not cell.usable and not cell.guests for cell in cells)),
        ("█ used", True),
        ("▒ huge pages", huge),
        ("▓ promised, not touched yet", any(box.memory.parts_kib[2] for box in drawn.boxes)),
        ("░ available", True),
    ]
    return [text for text, drawn_so in keys if drawn_so]


def _box(box: NodeBox, drawn: Layout, *, colour: bool) -> list[str]:
    """Lines of one box, all of one visible width: (text with colours) padded by its plain length."""
    rows: list[tuple[str, str]] = [("", "")]
    for domain in box.domains:
        plain = " ".join("".join(_sign(cell, drawn) for cell in core) for core in domain.cores)
        painted = " ".join("".join(_cell(cell, drawn, colour=colour) for cell in core) for core in domain.cores)
        for i, (left, right) in enumerate(_wrapped(plain, painted)):
            margin = "" if domain.l3 is None else "   " if i else "L3 "
            rows.append((margin + left, margin + right))
    if not box.domains:
        rows.append(("no CPUs", "no CPUs"))
    rows += [(line, line) for line in _memory_lines(box.memory)]
    inner = max(len(plain) for plain, _ in rows)
    title = f" node {box.node.node_id}{_packages(box)} "
    inner = max(inner, len(title))
    body = [f"│ {painted}{' ' * (inner - len(plain))} │" for plain, painted in rows[1:]]
    return [f"┌{title}{'─' * (inner + 2 - len(title))}┐", *body, f"└{'─' * (inner + 2)}┘"]


def _wrapped(plain: str, painted: str) -> list[tuple[str, str]]:
    """A long row of cores in lines of at most 48 columns."""
    lines: list[tuple[list[str], list[str]]] = [([], [])]
    for core, drawn in zip(plain.split(" "), painted.split(" "), strict=True):
        if lines[-1][0] and len(" ".join([*lines[-1][0], core])) > 48:
            lines.append(([], []))
        lines[-1][0].append(core)
        lines[-1][1].append(drawn)
    return [(" ".join(left), " ".join(right)) for left, right in lines]


def _packages(box: NodeBox) -> str:
    return "".join(f" · package {package}" for package in box.packages)


_SIGNS = {Use.IDLE: "-", Use.EMULATOR: "="}


def _letters(mark: Mark) -> str:
    """A capital for CPUs that it owns, a small letter for those that it shares: of a mixed guest both."""
    small = chr(ord("a") + mark.number % 26)
    return (small.upper() if mark.booked.own else "") + (small if mark.booked.floats else "")


def _beside(mark: Mark) -> str:
    """ " (idle 5,7; emulator 6)": CPUs that are its own, and which none of its vCPUs has."""
    told = [f"{use} {cpus}" for use in _SIGNS if (cpus := mark.booked.cpus(use))]
    return f" ({'; '.join(told)})" if told else ""


def _sign(cell: CpuCell, drawn: Layout) -> str:
    """The letters repeat after 26 guests."""
    if len(cell.guests) > 1:
        return "+"
    if cell.guests:
        letter = chr(ord("a") + drawn.marks[cell.guests[0]].number % 26)
        return letter if cell.own is None else _SIGNS.get(cell.own, letter.upper())
    return "·" if cell.usable else "x"


def _cell(cell: CpuCell, drawn: Layout, *, colour: bool) -> str:
    sign = _sign(cell, drawn)
    return _paint(sign, drawn.marks[cell.guests[0]].colour, on=colour) if len(cell.guests) == 1 else sign


def _memory_lines(memory: MemoryBar) -> list[str]:
    if memory.total_kib is None or memory.free_kib is None:
        return [f"memory {_size(memory.total_kib)}"]
    total = max(1, memory.total_kib)
    used, huge, promised = (round(_BAR * part / total) for part in memory.parts_kib)
    bar = "█" * used + "▒" * huge + "▓" * promised
    label = f"{format_kib_rounded(memory.free_kib)} of {format_kib_rounded(memory.total_kib)} available"
    lines = [f"{bar[:_BAR].ljust(_BAR, '░')} {label}"]
    if memory.parts_kib[2]:
        lines.append(f"{' ' * _BAR} {format_kib_rounded(memory.parts_kib[2])} of that promised")
    return lines


def _side_by_side(boxes: list[list[str]]) -> list[str]:
    if not boxes:
        return []
    height = max(len(box) for box in boxes)
    padded = [[*box, *[" " * _width(box)] * (height - len(box))] for box in boxes]
    return [" ".join(parts).rstrip() for parts in zip(*padded, strict=True)]


def _width(box: list[str]) -> int:
    return len(box[0])


def _paint(sign: str, colour: str, *, on: bool) -> str:
    if not on:
        return sign
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"\x1b[1;48;2;{red};{green};{blue};38;2;255;255;255m{sign}\x1b[0m"


def _printable(name: str) -> str:
    """A guest's name without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _size(kib: int | None) -> str:
    return "-" if kib is None else format_kib_rounded(kib)


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)
