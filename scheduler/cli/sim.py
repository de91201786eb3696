"""`numaplace sim`: the embedded hypervisor by hand."""

from __future__ import annotations

import click


@click.group()
def sim() -> None:
    """The embedded hypervisor: make a host of it, look at it, disturb it.

    It is a hypervisor of its own, with a file per host; numaplace creates guests in it as it does
    on KVM and Xen. To try things out and to test.
    """
