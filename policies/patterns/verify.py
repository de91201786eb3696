"""Every rule of a batch, checked over its homes; knows nothing of how they were found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from policies.patterns.question import SMALLEST_PAGE_KIB, Batch, Flavour, GroupOf, Homes, Ints, Supply
from policies.request import GroupRule


def broken_rules(supply: Supply, batch: Batch, homes: Homes) -> list[str]:
    """What is wrong, in sentences; nothing when every hard rule holds. Broken guests hide what else may be wrong."""
    return list(_broken_shapes(supply, batch, homes)) or [
        *_overfull_nodes(supply, batch, homes),
        *_crowded_nodes(supply, batch, homes),
        *_broken_groups(supply, batch, homes),
    ]


def _broken_shapes(supply: Supply, batch: Batch, homes: Homes) -> Iterator[str]:
    """Each share on another node of one host, on which the guest may live."""
    host_of_row = supply.host_of_row()
    for f, flavour in enumerate(batch.flavours):
        of_flavour = batch.flavour_of == f
        if (homes.form[of_flavour] >= len(flavour.forms)).any():
            yield f"flavour {f}: a guest lives in a form that the flavour has not"
        for form, rows in _by_form(flavour, homes, of_flavour):
            shares = len(flavour.forms[form].shares)
            used, hosts = np.sort(rows[:, :shares], axis=1), host_of_row[rows[:, :shares]]
            if (used[:, 0] < 0).any() or (rows[:, shares:] >= 0).any():
                yield f"flavour {f}: form {form} needs {shares} nodes, a guest has more or fewer"
            if (np.diff(used, axis=1) == 0).any():
                yield f"flavour {f}: two shares of a guest are on one node"
            if (hosts != hosts[:, :1]).any():
                yield f"flavour {f}: a guest lives on several hosts"
            if (supply.scale_of_host()[hosts] != flavour.forms[form].scale).any():
                yield f"flavour {f}: form {form} is for hosts that count CPUs otherwise"
            if flavour.allowed is not None and not flavour.allowed[hosts].all():
                yield f"flavour {f}: a guest lives on a host that it may not live on"


def _by_form(flavour: Flavour, homes: Homes, of_flavour: Ints) -> Iterator[tuple[int, Ints]]:
    for form in range(len(flavour.forms)):
        rows = homes.rows[of_flavour & (homes.form == form)].astype(np.int64)
        if len(rows):
            yield form, rows


def _overfull_nodes(supply: Supply, batch: Batch, homes: Homes) -> Iterator[str]:
    taken = {resource: np.zeros(len(supply.cpus), dtype=np.int64) for resource in (0, *supply.pages_kib)}
    for f, flavour in enumerate(batch.flavours):
        for form, rows in _by_form(flavour, homes, batch.flavour_of == f):
            for number, share in enumerate(flavour.forms[form].shares):
                guests = np.bincount(rows[:, number], minlength=len(supply.cpus))
                taken[0] += guests * share.vcpus
                taken[flavour.page_kib] += guests * share.memory_kib
                taken[SMALLEST_PAGE_KIB] += guests * (flavour.overhead_kib if number == 0 else 0)
    for resource, amounts in taken.items():
        free = supply.memory_kib[resource] if resource else supply.cpus
        what = f"KiB of {resource} KiB pages" if resource else "vCPUs"
        for row in np.flatnonzero(amounts > np.maximum(0, free))[:1]:
            yield f"node {row}: {amounts[row]} {what} are taken, {free[row]} were free"


def _crowded_nodes(supply: Supply, batch: Batch, homes: Homes) -> Iterator[str]:
    """pCPUs are owned once, and each guest's floating vCPUs find a shared pCPU each beside those that are owned."""
    owned, widest, floating = np.zeros((3, len(supply.cpus)), dtype=np.int64)
    for f, flavour in enumerate(batch.flavours):
        for form, rows in _by_form(flavour, homes, batch.flavour_of == f):
            for number, share in enumerate(flavour.forms[form].shares):
                guests = np.bincount(rows[:, number], minlength=len(owned))
                owned += guests * share.own
                floating += guests * share.floating
                np.maximum.at(widest, rows[:, number], share.floating)
    if supply.own is not None:
        for row in np.flatnonzero(owned > np.maximum(0, supply.own))[:1]:
            yield f"node {row}: {owned[row]} pCPUs are owned, {supply.own[row]} were free"
    if supply.floating is not None:
        shared = np.minimum(supply.floating.shared, supply.floating.either - owned)
        for row in np.flatnonzero((widest > shared) & (widest > 0))[:1]:
            yield f"node {row}: a guest has {widest[row]} floating vCPUs, and {shared[row]} pCPUs are shared"
        for row in np.flatnonzero(floating > np.maximum(0, supply.floating.room))[:1]:
            yield f"node {row}: {floating[row]} vCPUs float, {supply.floating.room[row]} may"


def _broken_groups(supply: Supply, batch: Batch, homes: Homes) -> Iterator[str]:
    host_of_row = supply.host_of_row()
    domain_of_row = {
        level: supply.domain_of_host(level)[host_of_row] for level in {group.level for group in batch.groups}
    }
    for number, group in enumerate(batch.groups):
        placed = homes.form[group.members] >= 0
        domains = domain_of_row[group.level][homes.rows[group.members[placed], 0]]
        yield from _broken_group(number, group, domains, group.parts[placed])


def _broken_group(number: int, group: GroupOf, domains: Ints, parts: Ints) -> Iterator[str]:
    """A group whose members that have a home live in these domains."""
    if group.rule is GroupRule.AFFINITY and len(np.unique(domains)) > 1:
        yield f"group {number}: lives in {len(np.unique(domains))} domains of {group.level}, must be one"
    if group.rule is GroupRule.ANTI_AFFINITY and len(np.unique(domains)) < len(domains):
        yield f"group {number}: two members share a domain of {group.level}"
    if group.rule is GroupRule.FAULT_DOMAINS:
        served = np.unique(np.stack([domains, parts]), axis=1)
        if len(np.unique(served[0])) < served.shape[1]:
            yield f"group {number}: two parts share a domain of {group.level}"
