"""What the tests of other people's guests share."""

from __future__ import annotations

from scheduler.steps import Step
from tests.scheduler.sim.hosts import numatune, pins
from tests.scheduler.transaction.world import World

BOUND = pins("0", "1") + numatune("strict", "0")
"""vCPU i on pCPU i, memory on node 0."""


def owned(world: World) -> set[int]:
    with world.ledger() as ledger:
        return {cpu for _, cpu in ledger.books().owners}


class At:
    """Does something just before a step, once."""

    def __init__(self, step: Step, act: object) -> None:
        self.step, self.act = step, act

    def at(self, step: Step, when: str, guest: str) -> None:
        if (step, when) == (self.step, "before") and callable(self.act):
            act, self.act = self.act, None
            act()
