"""Guests of a trace: each has a size, and a scenario says what all of them ask for beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.scenarios.mix import given_by
from policies.request import GuestName, GuestRequest, Membership
from scheduler.files.fleet_file import GuestEntry, GuestKeys, TemplateDefaults, request_of

_LARGE_VCPUS, _LARGE_KIB = 1 << 12, 1 << 40
"""No guest that says how many cells it has contradicts itself with so much."""


@dataclass(frozen=True, slots=True)
class Sized:
    """What every guest asks for beside its size; made once, because a trace has many guests.

    Nothing is added for the hypervisor unless the scenario says so: traces tell what guests may have of their hosts.
    """

    like: GuestRequest
    given: frozenset[str]

    @classmethod
    def of(cls, keys: GuestKeys) -> Sized:
        """Raises `RequestInvalidError` where the keys contradict each other."""
        told = {"overhead": 0, **given_by(keys), "name": "guest", "vcpus": _LARGE_VCPUS, "memory": _LARGE_KIB}
        like = request_of(GuestEntry.model_construct(**told), TemplateDefaults(), 1, ())
        return cls(like, frozenset(keys.model_fields_set))

    def guest(self, name: str, vcpus: int, memory_kib: int, groups: tuple[Membership, ...] = ()) -> GuestRequest:
        """A guest; memory is rounded up to whole MiB, or pages, and nobody has less than one of these and a vCPU.

        Raises:
            RequestInvalidError: nobody could ask for such a guest.
        """
        grain_kib = max(1024, self.like.page_kib)
        whole_kib = -(-max(1, memory_kib) // grain_kib) * grain_kib
        return replace(self.like, name=GuestName(name), vcpus=max(1, vcpus), memory_kib=whole_kib, groups=groups)

    def again(self, guest: GuestRequest) -> GuestRequest:
        """A guest that says more than its size: its cells and its priority stay, where the scenario names none.

        Raises:
            RequestInvalidError: the two contradict each other.
        """
        if not self.given:
            return guest
        kept = {key: getattr(guest, key) for key in ("cells", "priority") if key not in self.given}
        return replace(
            self.like, name=guest.name, vcpus=guest.vcpus, memory_kib=guest.memory_kib, groups=guest.groups, **kept
        )
