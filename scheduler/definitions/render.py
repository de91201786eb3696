"""One plan, three definitions; each is parsed back and must say the same as the plan."""

from __future__ import annotations

import uuid

from policies.plan import Placement
from probe.topology import HostTopology
from scheduler.definitions.domain_xml import merged_xml
from scheduler.definitions.errors import DefinitionConflictError, DefinitionWrongError
from scheduler.definitions.identity import Identity
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.template import Template, default_template, is_xml
from scheduler.definitions.xl_cfg import merged_xl_cfg
from scheduler.executors.port import DefinitionKind, DomainDefinition


def render(
    placement: Placement,
    kind: DefinitionKind,
    identity: Identity | None,
    *,
    template: Template | None = None,
    topology: HostTopology | None = None,
) -> DomainDefinition:
    """The definition of one placed guest; without a template from the built-in one.

    Without an identity the guest is in nobody's books: uuid, MACs and metadata stay the template's.

    Raises:
        DefinitionConflictError: the template contradicts the plan, or is of another kind, or the
            hypervisor cannot do what the plan says (Xen has one guest cell).
        TemplateInvalidError, SourceMalformedError: the template cannot be read.
        DefinitionWrongError: what was written does not say what the plan says: a bug.
    """
    used = template or default_template(kind)
    if kind is not DefinitionKind.KVM_XML and len(placement.cells) > 1:
        raise DefinitionConflictError(f"guest {placement.guest}: Xen guests have one NUMA cell here.")
    if is_xml(used.text) == (kind is DefinitionKind.XL_CFG):
        raise DefinitionConflictError(f"{used.origin}: expected a {kind.value} template for {placement.host}.")
    if kind is DefinitionKind.XL_CFG:
        text = merged_xl_cfg(used, placement, identity)
    else:
        text = merged_xml(used, placement, identity, kind, topology)
    definition = DomainDefinition(guest=placement.guest, uuid=identity.uuid if identity else "", kind=kind, text=text)
    back = parse_back(definition)
    wrong = disagreements(placement, back)
    if wrong or (identity and (back.uuid, back.ledger, back.claim) != (identity.uuid, identity.ledger, identity.claim)):
        raise DefinitionWrongError(f"{placement.guest}: the definition does not say what the plan says: {wrong}.")
    return definition


def definition_of(
    placement: Placement,
    kind: DefinitionKind,
    *,
    template: Template | None = None,
    topology: HostTopology | None = None,
) -> DomainDefinition:
    """The definition of a guest that is in nobody's books: to look at, or to paste."""
    return render(placement, kind, None, template=template, topology=topology)


def guest_uuid(ledger: str, guest: str) -> str:
    """A uuid that is always the same for one guest of one ledger."""
    return str(uuid.uuid5(uuid.UUID("b9c3f0ad-2c07-5e36-9a0b-4f1d2f6a7c55"), f"{ledger}/{guest}"))
