"""Flavours of public clouds, and those that traces show, as a mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from benchmarks.scenarios.data import data_file
from benchmarks.scenarios.file import FlavoursOf, GroupsEntry, TraceEntry
from benchmarks.scenarios.mix import Mix
from benchmarks.scenarios.traces import TRACES, Trace, files_of, reader
from benchmarks.scenarios.traces.sized import Sized
from benchmarks.scenarios.traces.table import read_table
from policies.request import GuestName, GuestRequest, RequestInvalidError
from probe.errors import BadInputError, SourceMalformedError
from scheduler.files.document import read_document

_Size = tuple[str, int, int]
"""Name, vCPUs, MiB."""
_X86 = ("x86_64", "amd64", "x64")


def _aws(path: Path) -> Iterator[_Size]:
    for row in read_table(path, ("instance_type", "vcpus", "memory_mib", "arch", "hypervisor")):
        if row.text("arch") in _X86 and row.text("hypervisor"):
            yield row.text("instance_type"), row.whole("vcpus"), row.whole("memory_mib")


def _azure(path: Path) -> Iterator[_Size]:
    for row in read_table(path, ("name", "vcpus", "memory_gb", "arch")):
        if row.text("arch") in _X86:
            yield row.text("name"), row.whole("vcpus"), int(row.number("memory_gb") * 1024)


def _scs(path: Path) -> Iterator[_Size]:
    document = read_document(path)
    try:
        for flavour in document.value["mandatory"]:
            yield str(flavour["name"]), int(flavour["cpus"]), int(flavour["ram"])
    except (KeyError, TypeError, ValueError) as error:
        raise SourceMalformedError(str(path), "mandatory flavours with name, cpus and ram", error) from error


LISTS: Mapping[str, tuple[str, Callable[[Path], Iterator[_Size]]]] = MappingProxyType(
    {
        "aws": ("flavors/aws_instance_types.csv", _aws),
        "azure": ("flavors/azure_vm_skus.csv", _azure),
        "scs": ("flavors/SCS-Spec.MandatoryFlavors.verbose.yaml", _scs),
    }
)
"""Name to the file of the data folder, and what reads it: flavours of x86 that have a hypervisor."""


def files_of_flavours(source: str) -> tuple[Path, ...]:
    """What a source is read from. Raises `DataMissingError`, or `BadInputError` where there is no such source."""
    return (data_file(LISTS[source][0]),) if source in LISTS else files_of(_trace(source))


def mix_like(entry: FlavoursOf, groups: GroupsEntry | None) -> Mix:
    """The flavours of a list, each as often as the others; or those of a trace's guests, as often as there.

    Raises:
        DataMissingError: the data set is not here.
        BadInputError: there is no such source, or no flavour is left.
    """
    weighted = list(_of_list(entry) if entry.source in LISTS else _of_trace(entry))
    kept = [(f, w) for f, w in weighted if f.vcpus <= entry.most_vcpus]
    if not kept:
        raise BadInputError(f"flavours_of: {entry.source} has no flavour of at most {entry.most_vcpus} vCPUs there.")
    return Mix.of(kept, groups)


def _of_list(entry: FlavoursOf) -> Iterator[tuple[GuestRequest, float]]:
    file, read = LISTS[entry.source]
    sized = Sized.of(entry.guest)
    for name, vcpus, mib in read(data_file(file)):
        if not entry.families or name.startswith(tuple(entry.families)):
            try:
                yield sized.guest(name, vcpus, mib * 1024), 1.0
            except RequestInvalidError:
                continue


def _of_trace(entry: FlavoursOf) -> Iterator[tuple[GuestRequest, float]]:
    trace, sized = _trace(entry.source), Sized.of(entry.guest)
    comings = reader(trace, "guests")(TraceEntry(name=entry.source))
    seen = Counter(replace(coming.request, name=GuestName("any"), groups=()) for coming in comings)
    for kind, count in seen.items():
        request = sized.again(kind)
        cells = f"-{request.cells}" if request.cells not in (1, "auto") else ""
        name = f"{request.vcpus}v-{request.memory_kib // 1024}m{cells}"
        yield replace(request, name=GuestName(name)), float(count)


def _trace(source: str) -> Trace:
    if source not in TRACES:
        raise BadInputError(
            f"flavours_of: no source is called {source[:80]!r}; there are: {', '.join((*LISTS, *TRACES))}."
        )
    return TRACES[source]
