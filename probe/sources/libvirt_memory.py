"""Where a domain XML puts the guest's memory: shares by node and page size.

How a binding becomes shares (measured in lab/kvm; libvirt, formatdomain "NUMA Node Tuning"):

* one node, any mode: the share is on that node. `preferred` may spill, yet asks for it there first.
* `interleave` over k nodes: k equal shares, in whole pages; the first ones take the remainder.
* `strict`, `restrictive` or `preferred` over several nodes: the kernel chooses among them, so the
  share has no node and says between which (`OccupantMemory.nodes`).
* no `<numatune>`, or `placement='auto'` (numad chooses at each start): no node.
* Xen ignores `<numatune>`: no node.

`<memnode>` of a guest cell goes before `<memory>`. Memory modules (`<memory model='dimm'>`) are
shares of their own; modules that a file backs (nvdimm, virtio-pmem) are no memory of the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from probe.cpuset import MAX_ID, NodeId, NodeSet
from probe.snapshot import OccupantMemory
from probe.sources.libvirt_xml import element_size_kib, id_set, number, size_kib

BASE_PAGE_KIB = 4
DEFAULT_HUGEPAGE_KIB = 2048
"""What a bare `<hugepages/>` means: the host's default size, which the XML does not name. 2 MiB on
x86 and on ARM and POWER (radix) with 4 KiB or 64 KiB pages as distributions configure them."""

_HOST_MODULES = ("dimm", "virtio-mem")


_NOWHERE = NodeSet()


@dataclass(frozen=True, slots=True)
class _Binding:
    """A memory policy; `nodes` is empty for none."""

    mode: str = "strict"
    nodes: NodeSet = _NOWHERE


def memory_shares(domain: Element, *, origin: str) -> tuple[OccupantMemory, ...]:
    """The shares of a `<domain>`, in the order of its guest cells, then its modules.

    Raises:
        SourceMalformedError: a size, id or set cannot be read.
    """
    tuning = _Tuning(domain, origin)
    shares: list[OccupantMemory] = []
    for cell, kib in _parts(domain, origin):
        shares += _split(kib, tuning.page_kib(cell), tuning.binding(cell))
    for module in domain.iterfind("devices/memory"):
        shares += _module(module, tuning, origin)
    return tuple(shares)


class _Tuning:
    """`<numatune>` and `<memoryBacking>`, asked per guest cell (None: a guest without cells)."""

    def __init__(self, domain: Element, origin: str) -> None:
        self._ignored = domain.get("type") == "xen"
        whole = domain.find("numatune/memory")
        self._whole = _Binding() if whole is None else _binding(whole, origin)
        self._cells = {
            number(node.get("cellid"), origin=origin, what="<memnode cellid=…>", largest=MAX_ID): _binding(node, origin)
            for node in domain.iterfind("numatune/memnode")
        }
        backing = domain.find("memoryBacking/hugepages")
        self._pages = None if backing is None else [_page(page, origin) for page in backing.iterfind("page")]

    def binding(self, cell: int | None) -> _Binding:
        if self._ignored:
            return _Binding()
        return self._whole if cell is None else self._cells.get(cell, self._whole)

    def page_kib(self, cell: int | None) -> int:
        """A page with a nodeset is for its cells; one without is for all others."""
        if not self._pages:
            return BASE_PAGE_KIB if self._pages is None else DEFAULT_HUGEPAGE_KIB
        named = [size for size, cells in self._pages if cells is not None and (cell or 0) in cells]
        others = [size for size, cells in self._pages if cells is None]
        return next(iter(named or others), BASE_PAGE_KIB)


def _binding(element: Element, origin: str) -> _Binding:
    """A `<memory>` or `<memnode>`; libvirt's default mode is strict."""
    if element.get("placement") == "auto":
        return _Binding()
    nodes = id_set(NodeSet, element.get("nodeset", ""), origin=origin, what=f"<{element.tag} nodeset=…>")
    return _Binding(element.get("mode", "strict"), nodes)


def _page(page: Element, origin: str) -> tuple[int, NodeSet | None]:
    kib = size_kib(page.get("size"), page.get("unit"), origin=origin, what="<page size=…>")
    nodeset = page.get("nodeset")
    cells = None if nodeset is None else id_set(NodeSet, nodeset, origin=origin, what="<page nodeset=…>")
    return max(kib, BASE_PAGE_KIB), cells


def _parts(domain: Element, origin: str) -> Iterator[tuple[int | None, int]]:
    """(guest cell, KiB). Guest cells, where there are any with memory, are all of the memory.

    Without cells `<memory>` counts: the maximum, not what the balloon leaves at the moment
    (`<currentMemory>`), since the guest may take it back any time. It includes the modules.
    """
    cells = [c for c in domain.iterfind("cpu/numa/cell") if c.get("memory") is not None]
    for place, cell in enumerate(cells):
        text = cell.get("id")
        cell_id = place if text is None else number(text, origin=origin, what="<cell id=…>", largest=MAX_ID)
        yield cell_id, size_kib(cell.get("memory"), cell.get("unit"), origin=origin, what="<cell memory=…>")
    memory = domain.find("memory")
    if not cells and memory is not None:
        modules = sum(_module_kib(module, origin) for module in domain.iterfind("devices/memory"))
        yield None, max(0, element_size_kib(memory, origin=origin) - modules)


def _module(module: Element, tuning: _Tuning, origin: str) -> list[OccupantMemory]:
    """A module is bound by its own `<source>`, else as the guest cell that it is plugged into."""
    if module.get("model") not in _HOST_MODULES:
        return []
    cell = module.find("target/node")
    cell_id = None if cell is None else number(cell.text, origin=origin, what="<node>", largest=MAX_ID)
    binding, page_kib = tuning.binding(cell_id), tuning.page_kib(cell_id)
    if (mask := module.find("source/nodemask")) is not None:
        binding = _Binding("strict", id_set(NodeSet, mask.text or "", origin=origin, what="<nodemask>"))
    if (page := module.find("source/pagesize")) is not None:
        page_kib = max(BASE_PAGE_KIB, element_size_kib(page, origin=origin))
    kib = _module_kib(module, origin, used="target/requested")
    return _split(kib, page_kib, binding)


def _module_kib(module: Element, origin: str, *, used: str = "target/size") -> int:
    """`used` of a module, or its size; of virtio-mem only what is requested is the guest's."""
    found = module.find(used)
    size = found if found is not None else module.find("target/size")
    return 0 if size is None else element_size_kib(size, origin=origin)


def _split(kib: int, page_kib: int, binding: _Binding) -> list[OccupantMemory]:
    nodes = [NodeId(n) for n in binding.nodes]
    if not nodes or kib == 0:
        return [OccupantMemory(node_id=None, kib=kib, page_kib=page_kib)] if kib else []
    if len(nodes) == 1:
        return [OccupantMemory(node_id=nodes[0], kib=kib, page_kib=page_kib)]
    if binding.mode != "interleave":
        return [OccupantMemory(node_id=None, kib=kib, page_kib=page_kib, nodes=binding.nodes)]
    pages, rest_kib = divmod(kib, page_kib)
    each, more = divmod(pages, len(nodes))
    shares = [(each + (place < more)) * page_kib + (rest_kib if place == 0 else 0) for place in range(len(nodes))]
    return [
        OccupantMemory(node_id=node, kib=share, page_kib=page_kib)
        for node, share in zip(nodes, shares, strict=True)
        if share
    ]
