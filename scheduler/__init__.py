"""What we did: definitions, executors, the ledger, the command line.

`definition_of` turns a placement into the text that a hypervisor creates a guest from;
`apply_orders` carries placements out and keeps the books.
"""

from typing import TYPE_CHECKING

from probe.face import lazy_face

if TYPE_CHECKING:
    from scheduler.apply import (
        Course as Course,
        Order as Order,
        Outcome as Outcome,
        Site as Site,
        apply_orders as apply_orders,
    )
    from scheduler.definitions.identity import Identity as Identity
    from scheduler.definitions.render import definition_of as definition_of, render as render
    from scheduler.definitions.template import Template as Template
    from scheduler.executors.port import (
        DefinitionKind as DefinitionKind,
        DomainDefinition as DomainDefinition,
        Executor as Executor,
        Observation as Observation,
    )
    from scheduler.ledger import Ledger as Ledger, State as State, open_ledger as open_ledger
    from scheduler.verify import Figures as Figures, figures as figures

__all__, __getattr__ = lazy_face(
    __name__,
    {
        "scheduler.apply": ("Course", "Order", "Outcome", "Site", "apply_orders"),
        "scheduler.definitions.identity": ("Identity",),
        "scheduler.definitions.render": ("definition_of", "render"),
        "scheduler.definitions.template": ("Template",),
        "scheduler.executors.port": ("DefinitionKind", "DomainDefinition", "Executor", "Observation"),
        "scheduler.ledger": ("Ledger", "State", "open_ledger"),
        "scheduler.verify": ("Figures", "figures"),
    },
)
