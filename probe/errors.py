"""The errors that people meet: each says where, what was expected, what was found, and what to do.

The advice is a second line that begins with "Maybe". `exit_status` is the exit status of the
command line (README, "Exit status") when nothing else decided one.
"""

from __future__ import annotations

from typing import ClassVar


class NumaplaceError(Exception):
    """Base of every error that numaplace raises on purpose."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message


class BadInputError(NumaplaceError):
    """Something that a person wrote cannot be used: a file, an option, a request."""

    exit_status = 2


class SourceError(NumaplaceError):
    """A source of a host snapshot did not give one."""


class SourceUnreadableError(SourceError):
    """The source could not be reached or read at all."""

    exit_status = 6

    def __init__(self, origin: str, why: str, *, advice: str = "") -> None:
        super().__init__(f"{origin}: cannot be read: {why}", advice=advice)
        self.origin = origin
        self.why = why


class SourceMalformedError(SourceError, BadInputError):
    """The source was read and does not say what it should.

    `found` is shortened to 80 characters in the message.
    """

    exit_status = 2

    def __init__(self, origin: str, expected: str, found: object, *, advice: str = "") -> None:
        super().__init__(f"{origin}: expected {expected}, got {str(found)[:80]!r}.", advice=advice)
        self.origin = origin
        self.expected = expected
        self.found = found
