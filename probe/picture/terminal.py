"""The picture and the table of a host for a terminal, without any library."""

from __future__ import annotations

from probe.picture.layout import CpuCell, Layout, MemoryBar, NodeBox, layout
from probe.snapshot import HostSnapshot
from probe.units import format_kib_rounded

_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BAR = 14


def host_table(snapshot: HostSnapshot) -> str:
    """Nodes, CPUs, memory and distances, as people know them from `numactl -H`."""
    topology = snapshot.topology
    head = snapshot.hostname or snapshot.sources[0]
    lines = [
        f"{head}: {len(topology.nodes)} NUMA node{'s' * (len(topology.nodes) != 1)},"
        f" {len(topology.packages)} packages, {len(topology.cores)} cores, {len(topology.online_cpus)} CPUs",
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
    if any(node.distances for node in topology.nodes):
        ids = [str(node.node_id) for node in topology.nodes]
        told = [[_or_dash((n.distances or {}).get(other.node_id)) for other in topology.nodes] for n in topology.nodes]
        lines += ["", "distances", *_aligned([["node", *ids], *([i, *row] for i, row in zip(ids, told, strict=True))])]
    for disagreement in snapshot.disagreements:
        readings = "; ".join(f"{source}: {value}" for source, value in disagreement.readings.items())
        lines.append(f"disagreement on {disagreement.what}: {readings}")
    return "\n".join(lines)


def host_picture(snapshot: HostSnapshot, *, width: int, colour: bool) -> list[str]:
    """One box a node, as many side by side as the width holds; the legend below."""
    drawn = layout(snapshot)
    signs = {guest: _SIGNS[i % len(_SIGNS)] for i, guest in enumerate(drawn.colours)}
    boxes = [_box(box, drawn, signs, colour=colour) for box in drawn.boxes]
    lines: list[str] = []
    row: list[list[str]] = []
    for box in boxes:
        if row and sum(_width(each) + 1 for each in (*row, box)) > width:
            lines += _side_by_side(row)
            row = []
        row.append(box)
    lines += _side_by_side(row)
    legend = [f"{_paint(signs[g], drawn.colours[g], on=colour)} {_printable(g)}" for g in drawn.colours]
    return [*lines, *([f"guests: {'  '.join(legend)}"] if legend else []), *_keys(drawn)]


def _keys(drawn: Layout) -> list[str]:
    """What the signs mean, of those that are drawn."""
    cells = tuple(drawn.cells)
    huge = any(box.memory.hugepages_kib for box in drawn.boxes)
    keys = [
        ("· free CPU", any(cell.usable and not cell.guests for cell in cells)),
        ("+ several guests", any(len(cell.guests) > 1 for cell in cells)),
        ("x not usable", any(not cell.usable and not cell.guests for cell in cells)),
        ("█ used", True),
        ("▒ huge pages", huge),
        ("░ available", True),
    ]
    return ["  ".join(text for text, drawn_so in keys if drawn_so)]


def _box(box: NodeBox, drawn: Layout, signs: dict[str, str], *, colour: bool) -> list[str]:
    """Lines of one box, all of one visible width: (text with colours) padded by its plain length."""
    rows: list[tuple[str, str]] = [("", "")]
    for domain in box.domains:
        plain = " ".join("".join(_sign(cell, signs) for cell in core) for core in domain.cores)
        painted = " ".join("".join(_cell(cell, drawn, signs, colour=colour) for cell in core) for core in domain.cores)
        for i, (left, right) in enumerate(_wrapped(plain, painted)):
            margin = "" if domain.l3 is None else "   " if i else "L3 "
            rows.append((margin + left, margin + right))
    if not box.domains:
        rows.append(("no CPUs", "no CPUs"))
    memory = _memory_line(box.memory)
    rows.append((memory, memory))
    inner = max(len(plain) for plain, _ in rows)
    title = f" node {box.node.node_id} "
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


def _sign(cell: CpuCell, signs: dict[str, str]) -> str:
    if len(cell.guests) > 1:
        return "+"
    if cell.guests:
        return signs[cell.guests[0]]
    return "·" if cell.usable else "x"


def _cell(cell: CpuCell, drawn: Layout, signs: dict[str, str], *, colour: bool) -> str:
    sign = _sign(cell, signs)
    return _paint(sign, drawn.colours[cell.guests[0]], on=colour) if len(cell.guests) == 1 else sign


def _memory_line(memory: MemoryBar) -> str:
    if memory.total_kib is None or memory.free_kib is None:
        return f"memory {_size(memory.total_kib)}"
    used = max(0, memory.total_kib - memory.free_kib - memory.hugepages_kib)
    total = max(1, memory.total_kib)
    full, huge = round(_BAR * used / total), round(_BAR * memory.hugepages_kib / total)
    bar = "█" * full + "▒" * huge + "░" * max(0, _BAR - full - huge)
    return f"{bar} {format_kib_rounded(memory.free_kib)} of {format_kib_rounded(memory.total_kib)} available"


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


def _size(kib: int | None) -> str:
    return "-" if kib is None else format_kib_rounded(kib)


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)
