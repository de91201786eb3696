"""Which text names which source, and how it is read. Modules are imported when they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from probe.errors import BadInputError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.snapshot import HostSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """One kind of source: the module and function that read it, and what to tell a person.

    Attributes:
        whole_text: whether the reader gets the text with its scheme (a libvirt URI) or without.
    """

    module: str
    function: str
    example: str
    meaning: str
    whole_text: bool = False


_LIBVIRT = SourceKind(
    module="probe.sources.libvirt_live",
    function="read_libvirt",
    example="qemu:///system",
    meaning="a libvirt connection, opened read-only (also xen:///system and remote URIs)",
    whole_text=True,
)

KINDS: Mapping[str, SourceKind] = MappingProxyType(
    {
        "sysfs": SourceKind(
            module="probe.sources.linux_sysfs",
            function="read_sysfs",
            example="sysfs:",
            meaning="this machine; sysfs:DIR or sysfs:FILE.tar.gz[#DIR] a recorded one",
        ),
        "sysfs+ssh": SourceKind(
            module="probe.sources.linux_remote",
            function="read_sysfs_ssh",
            example="sysfs+ssh://HOST",
            meaning="another Linux machine over ssh; nothing is installed there",
        ),
        "qemu": _LIBVIRT,
        "xen": _LIBVIRT,
        "test": _LIBVIRT,
        "capabilities": SourceKind(
            module="probe.sources.libvirt_capabilities",
            function="read_capabilities",
            example="capabilities:FILE.xml",
            meaning="what `virsh capabilities` printed",
        ),
        "xl": SourceKind(
            module="probe.sources.xen_xl",
            function="read_xl",
            example="xl:",
            meaning="this Xen host through xl; xl:FILE what `xl info -n` printed",
        ),
        "xl+ssh": SourceKind(
            module="probe.sources.xen_xl",
            function="read_xl_ssh",
            example="xl+ssh://HOST",
            meaning="another Xen host, xl over ssh; nothing is installed there",
        ),
        "hwloc": SourceKind(
            module="probe.sources.hwloc_xml",
            function="read_hwloc",
            example="hwloc:FILE.xml",
            meaning="what `lstopo FILE.xml` wrote, versions 1, 2 and 3",
        ),
        "numactl": SourceKind(
            module="probe.sources.numactl",
            function="read_numactl",
            example="numactl:FILE",
            meaning="what `numactl -H` printed",
        ),
        "synthetic": SourceKind(
            module="probe.sources.synthetic",
            function="read_synthetic",
            example="'synthetic:package:2 node:2 core:4 pu:2 memory:64GiB distance:10,12,21'",
            meaning="a made-up host",
        ),
        "sim": SourceKind(
            module="probe.sources.sim",
            function="read_sim",
            example="sim:FILE",
            meaning="a host of the embedded hypervisor",
        ),
        "snapshot": SourceKind(
            module="probe.sources.snapshot_file",
            function="read_snapshot_file",
            example="snapshot:FILE.json",
            meaning="a snapshot that `numaplace probe -o FILE.json` wrote (or just FILE.json)",
        ),
    }
)


def read_source(spec: str, *, limits: ReadLimits = DEFAULT_LIMITS, now: datetime | None = None) -> HostSnapshot:
    """Read the host that `spec` names, e.g. ``sysfs:`` or ``qemu:///system``.

    `now` becomes `taken_at` (default: the clock, in UTC).

    Raises:
        BadInputError: `spec` names no kind of source.
        SourceUnreadableError, SourceMalformedError: the source gave no snapshot.
    """
    scheme, colon, rest = spec.partition(":")
    if not colon and spec.endswith(".json"):
        scheme, rest = "snapshot", spec
    kind = KINDS.get(scheme) or KINDS.get(scheme.partition("+")[0] if rest.startswith("//") else "")
    if kind is None or not (colon or scheme == "snapshot"):
        known = ", ".join(f"{name}:" for name in KINDS)
        raise BadInputError(
            f"--host {spec[:80]!r}: expected a source, one of {known} or FILE.json.",
            advice="Maybe 'sysfs:' for this machine, or 'qemu:///system' for its libvirt.",
        )
    read: Callable[..., HostSnapshot] = getattr(importlib.import_module(kind.module), kind.function)
    taken_at = now or datetime.now(UTC)
    return read(spec if kind.whole_text else rest, limits=limits, now=taken_at, spec=spec)
