"""The lab's hosts as fixtures: each test module names its `HOSTS`, and gets them fresh from their saved states."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.debian import NEEDED_TOOLS
from tests.lab.lab import Lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is the lab's."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The running hosts of `HOSTS`; processes of the test reach them by their names over ssh."""
    if os.geteuid() != 0:
        pytest.skip("only root can build the lab's images")
    if missing := [tool for tool in NEEDED_TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"the lab needs {', '.join(missing)} (tests/debian.sh lab)")
    logging.getLogger("lab").setLevel(logging.INFO)
    with Lab() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", running.environment["PATH"])
        running.start(*request.module.HOSTS)
        yield running
