"""The I/O threads that a domain XML asks for."""

from __future__ import annotations

from collections.abc import Sequence

from probe.sources.libvirt_xml import number

_MOST = 2**16


def iothread_ids(count: str | None, listed: Sequence[str | None], *, origin: str) -> tuple[int, ...]:
    """Ids in order: those of `<iothreadids>`, then, up to the count of `<iothreads>`, the lowest free ones.

    As libvirt fills them in (domainiothreads in formatdomain.html).

    Raises:
        SourceMalformedError: a count or id is no number.
    """
    ids = [number(text or "", origin=origin, what="<iothread id>", largest=_MOST) for text in listed]
    wanted = number(count or "0", origin=origin, what="<iothreads>", largest=_MOST)
    free = (i for i in range(1, wanted + 1) if i not in ids)
    return tuple(sorted([*ids, *(i for i, _ in zip(free, range(wanted - len(ids)), strict=False))]))
