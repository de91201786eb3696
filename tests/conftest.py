"""Where the tests find the data folder, and how hard the property tests look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.libvirtd import libvirtd as libvirtd
from tests.sshd import sshd as sshd
from tests.xlutil import xlutil as xlutil

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NUMAPLACE_DATA") or ROOT.parent / "shared/data").resolve()

settings.register_profile("quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("NUMAPLACE_HYPOTHESIS", "quick"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder; the test is skipped, and says so, where it is absent."""
    if not (DATA / "MANIFEST.md").is_file():
        pytest.skip(f"data folder absent: {DATA} (set NUMAPLACE_DATA)")
    return DATA


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the real libvirtd run one after the other: guests of one would take the CPUs of another."""
    for item in items:
        if "libvirtd" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("libvirt"))
