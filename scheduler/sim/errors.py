"""What the embedded hypervisor answers when it refuses, in the words of the real ones."""

from __future__ import annotations

from probe.errors import NumaplaceError


class SimError(NumaplaceError):
    """The embedded hypervisor refused; nothing was done.

    Attributes:
        code: libvirt's error number for the like (42 no such domain, 9 exists, 55 wrong state,
            67 node unavailable, 38 CPU unavailable, 1 everything else).
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ReplyLostError(NumaplaceError):
    """The call may have been done; its answer never came."""
