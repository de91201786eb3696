"""The independent checker: which hard rules a plan breaks. It shares no code with any policy.

Nor with the booking of `OpenFleet`: it adds up for itself. A policy whose answer breaks a rule has
a bug, and nothing of that answer is applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from policies import check_cpus as cpus, check_groups as groups, check_memory as memory, check_shape as shape
from policies.check_case import Case, Rule, Violation
from policies.fleet import Fleet
from policies.plan import Decision
from policies.request import GuestRequest

__all__ = ["HARD_RULES", "Rule", "Violation", "violations"]

HARD_RULES: tuple[Rule, ...] = (
    shape.each_request_has_one_decision,
    shape.the_host_exists,
    shape.the_host_takes_guests,
    shape.the_host_is_allowed,
    shape.every_vcpu_is_in_one_cell,
    shape.cells_are_numbered_from_zero,
    shape.a_guest_is_bound_wholly_or_not_at_all,
    shape.cells_are_as_many_as_asked,
    shape.xen_guests_have_one_cell,
    shape.guest_cells_are_split_evenly,
    shape.guest_cells_have_the_sizes_asked,
    shape.each_cell_has_a_node_of_its_own,
    shape.the_guest_spans_no_more_nodes_than_allowed,
    shape.the_guest_is_no_wider_than_allowed,
    shape.the_guest_is_near_its_devices,
    shape.overhead_is_as_asked,
    cpus.dedication_is_as_asked,
    cpus.each_vcpu_is_pinned,
    cpus.a_dedicated_vcpu_owns_one_pcpu,
    cpus.dedicated_pcpus_were_free,
    cpus.dedicated_pcpus_have_one_owner,
    cpus.vcpus_share_cores_as_asked,
    cpus.booked_pcpus_are_those_asked_for,
    cpus.nobody_else_runs_on_dedicated_pcpus,
    cpus.shared_vcpus_float_on_shared_pcpus,
    cpus.a_shared_vcpu_floats_on_one_node,
    cpus.shared_vcpus_are_within_overcommit,
    cpus.no_guest_is_overcommitted_against_itself,
    cpus.unpinned_vcpus_are_within_overcommit,
    cpus.cpu_nodes_are_the_nodes_of_cpus,
    cpus.emulator_threads_run_where_they_may,
    memory.memory_adds_up,
    memory.memory_is_in_whole_pages_of_its_size,
    memory.every_cell_has_memory,
    memory.memory_is_on_nodes_of_the_host,
    memory.memory_is_local,
    memory.xen_memory_is_on_nodes_of_its_cpus,
    memory.xen_has_no_huge_pages,
    memory.the_memory_mode_fits,
    memory.memory_of_a_cell_is_even_over_its_nodes,
    memory.no_node_promises_more_memory_than_it_has,
    memory.no_host_promises_more_memory_than_it_has,
    groups.placements_name_their_groups,
    groups.members_with_affinity_share_a_domain,
    groups.members_with_anti_affinity_share_no_domain,
    groups.fault_domains_serve_one_part,
    groups.all_have_a_place_or_none,
)


def violations(
    decisions: Sequence[Decision],
    requests: Sequence[GuestRequest],
    fleet: Fleet,
    *,
    rules: Sequence[Rule] = HARD_RULES,
) -> tuple[Violation, ...]:
    """Every breach, in the order of the rules; empty for a sound plan.

    `fleet` is as it was before the plan.
    """
    case = Case.of(decisions, requests, fleet)
    return tuple(Violation(rule=_name(rule), text=text) for rule in rules for text in rule(case))


def _name(rule: Rule) -> str:
    return str(getattr(rule, "__name__", rule))
