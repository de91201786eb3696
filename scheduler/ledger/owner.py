"""Which process works on a claim, and whether it still can.

A claim that is under way belongs to the process that moved it last, for the time of its lease.
On one machine a process that died is recognised at once, so that nobody has to wait for the lease
after a crash. Where that cannot be told (another machine, another pid namespace, no /proc), the
lease decides.
"""

from __future__ import annotations

import os
from enum import Enum
from functools import cache
from pathlib import Path

LEASE_S = 120
"""Longer than any single step takes: libvirt waits 30 s for a domain's job lock (virt-manager#848)."""


@cache
def _machine(proc: Path) -> str:
    """This boot of this machine and our pid namespace; "" where there is no Linux /proc."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(proc / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def this_process(*, proc: Path = Path("/proc")) -> str:
    """Ourselves, as it is written into a claim."""
    pid = os.getpid()
    return f"{_machine(proc)} {pid} {_started(pid, proc) or ''}".rstrip()


class Fate(Enum):
    """What became of the process that works on a claim."""

    OURSELVES = 1
    ALIVE = 2
    GONE = 3
    UNKNOWN = 4
    """It runs, or ran, where we cannot see it."""


def fate(owner: str, *, proc: Path = Path("/proc")) -> Fate:
    """What became of a process. A pid that is another's now does not count."""
    if owner == this_process(proc=proc):
        return Fate.OURSELVES
    machine, _, rest = owner.partition(" ")
    pid, _, started = rest.partition(" ")
    if not machine or machine != _machine(proc) or not started:
        return Fate.UNKNOWN
    return Fate.ALIVE if _started(int(pid), proc) == started else Fate.GONE


def _started(pid: int, proc: Path) -> str | None:
    """When the process began, in clock ticks since boot (proc_pid_stat(5), field 22); None: no such process.

    A zombie has gone: it does nothing any more.
    """
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
