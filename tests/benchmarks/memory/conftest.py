"""The command line, as the scheduler's own tests have it."""

from __future__ import annotations

from tests.scheduler.cli.conftest import run as run
