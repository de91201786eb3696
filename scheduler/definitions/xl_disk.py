"""Disk specifications of xl.cfg, as xl-disk-configuration(5) and Xen's `libxlu_disk_l.l` read them.

`target, format, vdev, access` by place, or `key=value`; before them the old prefixes (`phy:`,
`file:`, `tap:aio:`, …), which leave the format out: `phy:/dev/x,xvda,w`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probe.errors import SourceMalformedError

_PREFIX = re.compile(r"(raw|qcow2?|vhd|tapdisk|tap2?|aio|ioemu|file|phy|iscsi|e?nbd|drbd):")
_STRANGE_PREFIX = re.compile(r"[a-z][a-z0-9]*:[^a-z0-9]")
_SCRIPTED = ("iscsi", "nbd", "enbd", "drbd")
_FORMATS = ("", "raw", "qcow", "qcow2", "vhd", "empty", "qed")
_KEY = re.compile(
    r"(format|devtype|access|backend|backendtype|specification|vdev|script|colo-host|colo-port|colo-export"
    r"|active-disk|hidden-disk|grant_usage)=([^,]*),?"
)
_FLAG = re.compile(r"(cdrom|(?:no-)?(?:discard|colo)|direct-io-safe|(?:un)?trusted)(?:,|\Z)")
_BY_PLACE = re.compile(r"([^=,]*)(?:,|\Z)")
_ACCESS = {"": True, "w": True, "rw": True, "r": False, "ro": False}


@dataclass(slots=True)
class XlDisk:
    """One disk: the file, device or name behind it, and whether the guest may write to it.

    Attributes:
        target: None where the specification has none (an empty CD drive).
        script: what attaches the target, where it is no file or device; it decides what the target means.
    """

    target: str | None = None
    script: str = ""
    vdev: str | None = None
    writable: bool = True
    is_cdrom: bool = False


class _Reader:
    def __init__(self, spec: str, origin: str) -> None:
        self.spec, self.origin = spec, origin
        self.disk = XlDisk()
        self.has_format = self.has_access = False

    def read(self) -> XlDisk:
        rest = self.spec.lstrip(" \t\n")
        while rest:
            rest = self._next(rest).lstrip(" \t\n")
        if self.disk.is_cdrom:
            self.disk.writable = False
        return self.disk

    def _next(self, rest: str) -> str:
        """Read one parameter; what is behind it."""
        if rest.startswith("target="):
            self._target(rest.removeprefix("target=").removesuffix(","))
            return ""
        if (match := _FLAG.match(rest)) is not None:
            self.disk.is_cdrom |= match[1] == "cdrom"
        elif (match := _KEY.match(rest)) is not None:
            self._named(match[1], match[2])
        elif (match := _PREFIX.match(rest)) is not None:
            self.has_format = True
            if match[1] in _SCRIPTED:
                self.disk.script = f"block-{match[1]}"
        elif _STRANGE_PREFIX.match(rest) is None and (match := _BY_PLACE.match(rest)) is not None:
            self._by_place(match[1])
        else:
            raise self._error("a disk that xl knows", rest)
        return rest[match.end() :]

    def _named(self, key: str, value: str) -> None:
        if key == "format":
            self._format(value)
        elif key == "access":
            self._access(value)
        elif key == "devtype":
            if value not in ("cdrom", "disk"):
                raise self._error("devtype cdrom or disk", value)
            self.disk.is_cdrom = value == "cdrom"
        elif key == "script":
            self.disk.script = value
        elif key == "vdev":
            self.disk.vdev = value

    def _by_place(self, value: str) -> None:
        if self.disk.target is None:
            self._target(value)
        elif not self.has_format:
            if self.disk.target or not self._vdev_and_type(value):
                self._format(value)
            self.has_format = True
        elif self.disk.vdev is None:
            if not self._vdev_and_type(value):
                self.disk.vdev = value
        elif not self.has_access:
            self.has_access = True
            self._access(value)
        else:
            raise self._error("target, format, vdev, access", value)

    def _vdev_and_type(self, value: str) -> bool:
        """`hdc:cdrom`, the old way to say both."""
        vdev, colon, devtype = value.rpartition(":")
        if not colon:
            return False
        if devtype not in ("cdrom", "disk"):
            raise self._error("vdev, vdev:cdrom or vdev:disk", value)
        self.disk.vdev, self.disk.is_cdrom = vdev, devtype == "cdrom"
        return True

    def _target(self, value: str) -> None:
        if self.disk.target:
            raise self._error("one target", value)
        self.disk.target = value

    def _format(self, value: str) -> None:
        if value not in _FORMATS:
            raise self._error(f"a format ({', '.join(_FORMATS[1:])})", value)
        self.has_format = True

    def _access(self, value: str) -> None:
        if value not in _ACCESS:
            raise self._error("access r, ro, w or rw", value)
        self.disk.writable = _ACCESS[value]

    def _error(self, expected: str, found: str) -> SourceMalformedError:
        return SourceMalformedError(f"{self.origin}: disk {self.spec[:80]!r}", expected, found)


def parse_xl_disk(spec: str, *, origin: str) -> XlDisk:
    """One entry of `disk = [...]`.

    Raises:
        SourceMalformedError: xl would not take it.
    """
    return _Reader(spec, origin).read()
