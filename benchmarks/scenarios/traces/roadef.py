"""The ROADEF/EURO challenge of 2012, instances A: machines, services, and processes with an assignment to start from.

What of it can be said as guests on hosts: the first resource is taken for pCPUs and the second for memory, in units
in which the largest machine has `LARGEST_CPUS` and `LARGEST_GIB`; processes of one service are on hosts of their own,
which is the challenge's conflict constraint; locations and neighbourhoods are fault domains of the hosts. Not said:
further resources, safety capacities, the spread of services, dependencies, transient use, and all costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.scenarios.file import HostsEntry, TraceEntry
from benchmarks.scenarios.shapes import resized
from benchmarks.scenarios.traces import files_of, trace_called
from benchmarks.scenarios.traces.coming import Coming
from benchmarks.scenarios.traces.sized import Sized
from policies.capacity import HostCapacity
from policies.host_rules import HostRules
from policies.promise import host_capacity
from policies.request import Group, GroupRule, HostName, Membership
from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS
from probe.sources.files import read_text_file

LARGEST_CPUS, LARGEST_GIB = 512, 2048
"""Of the largest machine of an instance. Amounts of the challenge have no units."""
_GIB_KIB = 1 << 20
_MOST_MACHINES, _MOST_PROCESSES, _MOST_RESOURCES = 5_000, 50_000, 20
"""As the challenge's rules bound them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine of the challenge; `capacities` are of all its resources."""

    neighbourhood: int
    location: int
    capacities: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, which needs `amounts` of all resources."""

    service: int
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What is read of an instance.

    Attributes:
        assignment: of each process, the machine that it begins on.
    """

    machines: tuple[Machine, ...]
    processes: tuple[Process, ...]
    assignment: tuple[int, ...]

    def unit(self, resource: int) -> int:
        """Most that a machine has of a resource."""
        return max((machine.capacities[resource] for machine in self.machines), default=0) or 1


def hosts(entry: HostsEntry, rules: HostRules) -> tuple[HostCapacity, ...]:
    """The machines, empty, built like the shape that stands in."""
    instance = read_instance(*files_of(trace_called(entry.trace or "")))
    cpus, memory = (instance.unit(resource) for resource in (0, 1))
    return tuple(
        host_capacity(
            HostName("h"),
            resized(
                entry.stand_in,
                max(1, LARGEST_CPUS * machine.capacities[0] // cpus),
                LARGEST_GIB * _GIB_KIB * machine.capacities[1] // memory,
            ),
            _with_domains(rules, machine),
        )
        for machine in instance.machines
    )


def guests(entry: TraceEntry) -> tuple[Coming, ...]:
    """The processes as one batch, vCPUs and MiB rounded up."""
    instance = read_instance(*files_of(trace_called(entry.name)))
    cpus, memory = (instance.unit(resource) for resource in (0, 1))
    sized = Sized.of(entry.guest)
    of_service = Counter(process.service for process in instance.processes)
    return tuple(
        Coming(
            request=sized.guest(
                f"p{number}",
                -(-LARGEST_CPUS * process.amounts[0] // cpus),
                -(-LARGEST_GIB * _GIB_KIB * process.amounts[1] // memory),
                _apart(process.service) if of_service[process.service] > 1 else (),
            )
        )
        for number, process in enumerate(instance.processes)
    )


def _apart(service: int) -> tuple[Membership, ...]:
    return (Membership(group=Group(name=f"service{service}", rule=GroupRule.ANTI_AFFINITY)),)


def _with_domains(rules: HostRules, machine: Machine) -> HostRules:
    told = {"location": f"location{machine.location}", "neighbourhood": f"neighbourhood{machine.neighbourhood}"}
    return replace(rules, domains=told)


def read_instance(model: Path, assignment: Path) -> Instance:
    """The instance of its two files.

    Raises:
        SourceUnreadableError: one cannot be read.
        SourceMalformedError: one says something else.
    """
    numbers = _Numbers(str(model), read_text_file(model, limits=DEFAULT_LIMITS))
    resources = numbers.count(_MOST_RESOURCES)
    numbers.skip(2 * resources)
    if resources < 2:
        raise SourceMalformedError(str(model), "two resources at least", resources)
    machines = tuple(_machines(numbers, resources))
    _skip_services(numbers)
    processes = tuple(
        Process(service=numbers.next(), amounts=tuple([numbers.next() for _ in range(resources)]))
        for _ in _each(numbers, _MOST_PROCESSES, after=1)
    )
    starts = _Numbers(str(assignment), read_text_file(assignment, limits=DEFAULT_LIMITS))
    places = tuple(starts.count(len(machines) - 1) for _ in processes)
    return Instance(machines=machines, processes=processes, assignment=places)


def _machines(numbers: _Numbers, resources: int) -> Iterator[Machine]:
    count = numbers.count(_MOST_MACHINES)
    for _ in range(count):
        neighbourhood, location = numbers.next(), numbers.next()
        capacities = tuple([numbers.next() for _ in range(resources)])
        numbers.skip(resources + count)  # safety capacities, costs of moves
        yield Machine(neighbourhood=neighbourhood, location=location, capacities=capacities)


def _skip_services(numbers: _Numbers) -> None:
    for _ in range(numbers.count(_MOST_PROCESSES)):
        numbers.skip(1)  # the least spread
        numbers.skip(numbers.count(_MOST_PROCESSES))


def _each(numbers: _Numbers, most: int, *, after: int) -> Iterator[None]:
    """As often as the next number says; so many numbers after each are passed over."""
    for _ in range(numbers.count(most)):
        yield
        numbers.skip(after)


class _Numbers:
    """The whole numbers of a text, one after the other."""

    def __init__(self, origin: str, text: str) -> None:
        self._origin = origin
        self._words = iter(text.split())

    def next(self) -> int:
        """The next one. Raises `SourceMalformedError` where there is none."""
        word = next(self._words, "")
        if not (word.isascii() and word.isdecimal() and len(word) <= 18):
            raise SourceMalformedError(self._origin, "a whole number", word or "the end")
        return int(word)

    def count(self, most: int) -> int:
        """The next one, which is no larger."""
        value = self.next()
        if value > most:
            raise SourceMalformedError(self._origin, f"at most {most}", value)
        return value

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.next()
