"""What the books promise, for the pictures of hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.plan import Placement
    from probe.picture.layout import Booked


def booked_on(placements: Iterable[Placement]) -> dict[str, dict[str, Booked]]:
    """By host the guests that own CPUs there, and which."""
    found: dict[str, dict[str, Booked]] = {}
    for placement in placements:
        if placement.own_cpus:
            found.setdefault(placement.host, {})[placement.guest] = _booked(placement)
    return found


def _booked(placement: Placement) -> Booked:
    from probe.cpuset import CpuSet
    from probe.picture.layout import Booked, Use

    emulator = placement.booked_cpus & (placement.emulator_cpus or CpuSet())
    uses = dict.fromkeys(placement.own_cpus - placement.booked_cpus, Use.VCPU)
    uses |= {cpu: Use.EMULATOR if cpu in emulator else Use.IDLE for cpu in placement.booked_cpus}
    return Booked(own=uses, floats=bool(placement.floating_pins))
