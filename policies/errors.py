"""What a caller of the books of a fleet did wrong, or tried in vain."""

from __future__ import annotations

from probe.errors import BadInputError, NumaplaceError


class DoesNotFitError(NumaplaceError):
    """A placement needs more than a host has left; nothing was taken.

    A policy that tries places catches it; anywhere else it is a bug of the policy.
    """


class NotTakenError(NumaplaceError):
    """A placement was given back that is not taken, or taken while its guest already is."""


class PlanMalformedError(BadInputError):
    """A plan's JSON does not say what it should; the message names the key path."""

    def __init__(self, origin: str, path: str, expected: str, found: object) -> None:
        super().__init__(f"{origin}: {path}: expected {expected}, got {str(found)[:80]!r}.")
        self.origin = origin
        self.path = path
