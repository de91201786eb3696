"""Two guests of a batch must not share a writable disk, or a MAC address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from probe.errors import BadInputError
from probe.safe_xml import parse_xml
from scheduler.definitions.xl_cfg import last_values, parse_xl_cfg
from scheduler.executors.port import DefinitionKind, DomainDefinition


class SharedDeviceError(BadInputError):
    """Two guests would write one disk, or answer to one MAC."""


def check_shared_devices(definitions: Sequence[DomainDefinition]) -> None:
    """Raise `SharedDeviceError` for the first disk or MAC that two guests would share."""
    owners: dict[str, str] = {}
    for definition in definitions:
        for device in sorted(set(exclusive_devices(definition))):
            other = owners.setdefault(device, definition.guest)
            if other != definition.guest:
                raise SharedDeviceError(
                    f"guests {other} and {definition.guest} share the {device}.",
                    advice="Maybe put {name} or {index} into the template, or mark the disk shareable or read-only.",
                )


def exclusive_devices(definition: DomainDefinition) -> Iterator[str]:
    """The disks that a definition writes alone, and its MACs, each as a phrase."""
    if definition.kind is DefinitionKind.XL_CFG:
        yield from _of_xl(definition)
        return
    domain = parse_xml(definition.text, origin=f"definition of {definition.guest}")
    for disk in domain.iterfind("devices/disk"):
        source = disk.find("source")
        if source is None or disk.find("shareable") is not None or disk.find("readonly") is not None:
            continue
        for key in ("file", "dev", "dir", "volume", "name"):
            if path := source.get(key):
                pool = source.get("pool") or source.get("protocol") or ""
                yield f"writable disk {f'{pool}/' if pool else ''}{path}"
                break
    for mac in domain.iterfind("devices/interface/mac"):
        yield f"MAC address {mac.get('address', '').lower()}"


def _of_xl(definition: DomainDefinition) -> Iterator[str]:
    """xl-disk-configuration(5): `target, format, vdev, access` or keys; access r or ro reads only."""
    values = last_values(parse_xl_cfg(definition.text, origin=f"definition of {definition.guest}"))
    disks, vifs = values.get("disk", []), values.get("vif", [])
    for disk in disks if isinstance(disks, list) else []:
        parts = [part.strip() for part in str(disk).split(",")]
        named = dict(part.split("=", 1) for part in parts if "=" in part)
        plain = [part for part in parts if "=" not in part]
        access = named.get("access") or (plain[3] if len(plain) > 3 else plain[2] if len(plain) == 3 else "rw")
        target = named.get("target") or (plain[0] if plain else "")
        if target and access not in ("r", "ro", "w!"):
            yield f"writable disk {target.rpartition(':')[2]}"
    for vif in vifs if isinstance(vifs, list) else []:
        for part in str(vif).split(","):
            key, _, value = part.strip().partition("=")
            if key == "mac":
                yield f"MAC address {value.lower()}"
