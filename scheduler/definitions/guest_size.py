"""The memory of a guest in the unit that definitions count in."""

from __future__ import annotations

from policies.plan import Placement
from scheduler.definitions.errors import DefinitionConflictError


def rounded_to_mib(kib: int) -> int:
    """KiB that libvirt gives to a guest, or a guest cell, that asks for so many (seen with 9.0)."""
    return -(-kib // 1024) * 1024


def memory_mib(placement: Placement) -> int:
    """MiB of guest memory, all cells together.

    Raises:
        DefinitionConflictError: a cell has no whole MiB. libvirt would round it up beyond what was
            promised, and xl counts in MiB.
    """
    for cell in placement.cells:
        kib = sum(memory.kib for memory in cell.memory)
        if kib % 1024:
            raise DefinitionConflictError(
                f"guest {placement.guest}: {kib} KiB in guest cell {cell.cell} are not whole MiB.",
                advice="Maybe round its memory to MiB and plan again.",
            )
    return sum(memory.kib for cell in placement.cells for memory in cell.memory) // 1024
