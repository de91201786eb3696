"""Two guests of a batch must not share a writable disk, or a MAC address."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from probe.errors import BadInputError
from probe.safe_xml import parse_xml
from scheduler.definitions.xl_disk import parse_xl_disk
from scheduler.definitions.xl_grammar import Value, last_values, parse_xl_cfg
from scheduler.executors.port import DefinitionKind, DomainDefinition

Device = tuple[str, bool]
"""What it is, as a phrase, and whether its guest must have it alone."""


class SharedDeviceError(BadInputError):
    """Two guests would write one disk, or answer to one MAC."""


def check_shared_devices(definitions: Iterable[tuple[str, DomainDefinition]]) -> None:
    """Raise `SharedDeviceError` for the first disk or MAC that two guests would share.

    Each definition comes with the host that it is for. A disk that one guest writes alone is not
    for another to read either. A path is the same disk on every host: storage may be shared.
    """
    owners: dict[str, tuple[str, bool]] = {}
    for host, definition in definitions:
        for device, alone in sorted(set(devices(definition, host))):
            other, others_alone = owners.setdefault(device, (definition.guest, alone))
            if other != definition.guest and (alone or others_alone):
                raise SharedDeviceError(
                    f"guests {other} and {definition.guest} share the {device}.",
                    advice="Maybe put {name} or {index} into the template, or mark the disk shareable or read-only.",
                )


def devices(definition: DomainDefinition, host: str) -> Iterator[Device]:
    """The disks and the MACs of a definition.

    Raises:
        SourceMalformedError: an xl.cfg has a disk that xl would not take.
    """
    if definition.kind is DefinitionKind.XL_CFG:
        yield from _of_xl(definition)
        return
    domain = parse_xml(definition.text, origin=f"definition of {definition.guest}")
    for disk in domain.iterfind("devices/disk"):
        if name := _source_name(disk, host):
            yield _disk(name, alone=not _may_be_shared(disk))
    for nvram in domain.iterfind("os/nvram"):
        if name := (nvram.text or "").strip() or _source_name(nvram, host):
            yield _disk(name, alone=True)
    for mac in domain.iterfind("devices/interface/mac"):
        yield _mac(mac.get("address", ""))


def _disk(name: str, *, alone: bool) -> Device:
    return f"writable disk {name}", alone


def _mac(address: str) -> Device:
    """`0:16:3E:1:2:3` is `00:16:3e:01:02:03` to libvirt and xl."""
    return f"MAC address {':'.join(octet.zfill(2) for octet in address.strip().lower().split(':'))}", True


def _may_be_shared(disk: Element) -> bool:
    """A CD is always read-only to libvirt."""
    transient = disk.find("transient")
    return (
        disk.get("device") == "cdrom"
        or disk.find("readonly") is not None
        or disk.find("shareable") is not None
        or (transient is not None and transient.get("shareBacking") == "yes")
    )


def _source_name(disk: Element, host: str) -> str:
    """What a `<source>` names: a path, a volume, a name on a server, a device of this host; "" for nothing."""
    source = disk.find("source")
    if source is None:
        return ""
    for key in ("file", "dev", "dir", "path"):
        if path := source.get(key):
            return _path(path)
    if volume := source.get("volume"):
        return f"{source.get('pool', '')}/{volume}"
    if (address := source.find("address")) is not None:
        place = [address.get(key, "0x0") for key in ("domain", "bus", "slot", "function")]
        return f"{':'.join(place)} namespace {source.get('namespace', '1')} of {host}"
    if protocol := source.get("protocol"):
        return f"{protocol}://{_servers(source) if protocol != 'rbd' else ''}/{source.get('name', '')}"
    return ""


def _servers(source: Element) -> str:
    """The hosts of a network disk; those of rbd are monitors, any of which gives the same image."""
    hosts = source.iterfind("host")
    return ",".join(sorted(":".join(filter(None, map(h.get, ("name", "port", "socket")))) for h in hosts))


def _path(path: str) -> str:
    return posixpath.normpath(path).replace("//", "/")


def _of_xl(definition: DomainDefinition) -> Iterator[Device]:
    origin = f"definition of {definition.guest}"
    values = last_values(parse_xl_cfg(definition.text, origin=origin), origin=origin)
    for spec in _strings(values.get("disk")):
        disk = parse_xl_disk(spec, origin=origin)
        if disk.target:
            name = f"{disk.script}/{disk.target}" if disk.script else _path(disk.target)
            yield _disk(name, alone=disk.writable)
    for vif in _strings(values.get("vif")):
        for part in vif.split(","):
            key, _, value = part.strip().partition("=")
            if key.strip() == "mac":
                yield _mac(value)


def _strings(value: Value | None) -> Iterator[str]:
    """The entries of a list; xl ignores a list that is none."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, str):
            yield each
