"""What a guest may ask for."""

from __future__ import annotations

import pytest

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.request import AskedMemoryMode, CpuPolicy, GuestName, GuestRequest, GuestShare, RequestInvalidError
from probe.cpuset import CpuSet

MODE = AskedMemoryMode
CELL = GuestShare(vcpus=1, memory_kib=2048)
ODD = GuestShare(vcpus=1, memory_kib=3072)

WRONG = [
    ({"memory_kib": 1500}, "memory is 1500 KiB, which is not whole MiB: 1 MiB or 2 MiB"),
    ({"memory_kib": 3072, "page_kib": 2048}, "memory is not whole pages of 2048 KiB"),
    ({"page_kib": 0}, "page size 0 KiB is none of"),
    ({"page_kib": -4}, "page size -4 KiB is none of"),
    ({"page_kib": 2048, "largest_pages": True}, "asks for the largest pages, and for a page size"),
    ({"memory_kib": 0}, "needs memory"),
    ({"vcpus": 0}, "needs at least 1 vCPU"),
    ({"vcpus": 10**12, "cpus": CpuPolicy.DEDICATED}, "has 1000000000000 vCPUs, and no hypervisor gives one guest more"),
    ({"vcpus": 10**12, "cpus": CpuPolicy.MIXED, "dedicated_vcpus": CpuSet.of(0)}, "than 8192"),
    ({"vcpus": 8192, "cells": 1025, "stack_cells": True, "memory_kib": 2**30}, "has 1025 cells, and no guest has more"),
    ({"cells": 3}, "has more cells than vCPUs"),
    ({"cells": 2, "max_nodes": 3}, "each cell has a node of its own"),
    ({"cells": 2, "cell_sizes": (CELL, CELL, CELL)}, "has sizes for 3 cells, and 2 cells"),
    ({"cells": 2, "cell_sizes": (CELL, CELL), "vcpus": 3}, "its cells have 2 vCPUs together, and it has 3"),
    ({"cells": 2, "cell_sizes": (CELL, CELL), "memory_kib": 5120}, "its cells have 4096 KiB together"),
    ({"cells": 2, "cell_sizes": (ODD, ODD), "memory_kib": 6144, "page_kib": 2048}, "memory in whole 2048 KiB"),
    ({"memory_mode": MODE.STRICT, "max_nodes": 2}, "memory_mode strict holds a cell on one node"),
    ({"memory_mode": MODE.PREFERRED, "cells": 2}, "memory_mode preferred is for guests of one cell"),
    ({"memory_mode": MODE.RESTRICTIVE, "cells": "auto"}, "memory_mode restrictive is for guests of one cell"),
    ({"memory_mode": MODE.RESTRICTIVE, "page_kib": 2048}, "memory_mode restrictive is for 4 KiB pages"),
    ({"smt": SmtPolicy.ISOLATE}, "smt isolate is for guests with dedicated pCPUs"),
    ({"emulator": EmulatorPolicy.OWN}, "an own pCPU for the emulator is for guests with dedicated pCPUs"),
    ({"stack_cells": True}, "stack_cells is for guests with a number of cells"),
    ({"max_distance": 9}, "max_distance is 9, and a node is 10 from itself"),
    ({"hosts": frozenset()}, "no host is allowed"),
]


@pytest.mark.parametrize(("changes", "why"), WRONG)
def test_a_request_that_contradicts_itself_says_why(changes: dict[str, object], why: str) -> None:
    """It names the guest and the values."""
    keys = {"name": GuestName("g"), "vcpus": 2, "memory_kib": 4096, **changes}
    with pytest.raises(RequestInvalidError) as error:
        GuestRequest(**keys)  # type: ignore[arg-type]
    assert str(error.value).startswith("guest 'g': ")
    assert why in str(error.value)
