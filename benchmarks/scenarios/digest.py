"""What a scenario reads beside its own file, so that a row can say of what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.scenarios.file import HostsEntry, MixKeys, ScenarioFile
from benchmarks.scenarios.flavour_lists import files_of_flavours
from benchmarks.scenarios.hosts import FILE_KINDS, read_shape
from benchmarks.scenarios.recordings import source_of_recording
from benchmarks.scenarios.replay import read_replay
from benchmarks.scenarios.traces import files_of, trace_called
from probe.limits import DEFAULT_LIMITS
from probe.sources.files import read_bytes_file


def bytes_read(file: ScenarioFile, folder: Path) -> Iterator[bytes]:
    """The contents of all those files, in a fixed order; of a recorded folder and a ledger, what they say.

    Raises:
        DataMissingError: a public data set is not here.
        BadInputError: there is no such trace, recording or ledger.
        SourceUnreadableError: a file cannot be read.
    """
    for name in _files(file, folder):
        yield read_bytes_file(name, limits=DEFAULT_LIMITS)
    for entry in file.hosts:
        source = _source(entry, folder)
        if source is not None and source[1].is_dir():
            snapshot = read_shape(entry.shape or "", folder)
            yield repr((snapshot.topology, snapshot.memory, snapshot.usable_cpus)).encode()
    if file.guests.ledger is not None:
        yield repr(read_replay(folder / file.guests.ledger.path)).encode()


def _files(file: ScenarioFile, folder: Path) -> Iterator[Path]:
    for entry in file.hosts:
        if entry.trace is not None:
            yield from files_of(trace_called(entry.trace))
        source = _source(entry, folder)
        if source is not None and not source[1].is_dir():
            yield source[1]
    if file.guests.trace is not None:
        yield from files_of(trace_called(file.guests.trace.name))
    for mix in (file.guests.stream, file.guests.batch):
        if mix is not None:
            yield from _files_of_mix(mix)
    if file.guests.stream is not None:
        for like in (file.guests.stream.arrivals.like, file.guests.stream.lifetime.like):
            yield from files_of(trace_called(like)) if like is not None else ()


def _files_of_mix(mix: MixKeys) -> Iterator[Path]:
    if mix.flavours_of is not None:
        yield from files_of_flavours(mix.flavours_of.source)


def _source(entry: HostsEntry, folder: Path) -> tuple[str, Path] | None:
    """Kind and path of the file that a host is read from; None where it is made up."""
    shape = entry.shape or ""
    scheme, colon, rest = shape.partition(":")
    if scheme == "recording":
        scheme, _, rest = source_of_recording(rest).partition(":")
        return scheme, Path(rest)
    if not colon and shape.endswith(".json"):
        return "snapshot", folder / shape
    return (scheme, folder / rest.partition("#")[0]) if scheme in FILE_KINDS and rest else None
