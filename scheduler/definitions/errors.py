"""What can be wrong with a template, or with a definition made from it."""

from __future__ import annotations

from probe.errors import BadInputError, NumaplaceError


class TemplateInvalidError(BadInputError):
    """A template cannot be used: unreadable, an unknown variable, a shared disk."""


class DefinitionConflictError(BadInputError):
    """The template says something else than the plan, or places the guest itself."""


class DefinitionWrongError(NumaplaceError):
    """A definition that we wrote does not say what the plan says: a bug, nothing is applied."""
