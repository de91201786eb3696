"""The command line, as the scheduler's own tests have it; embedded guests need not be waited for."""

from __future__ import annotations

import pytest

from benchmarks.locality import looking
from tests.scheduler.cli.conftest import run as run


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "BETWEEN_LOOKS_S", 0.0)
