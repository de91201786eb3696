"""What the README shows works: its Python lines run, its commands exist, its faces are whole."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

from scheduler.cli.main import BUILT_IN
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_python_lines_run() -> None:
    """probe → plan → definition in ten lines, for a notebook or a script."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "web-4" in done.stdout
    assert "<numatune>" in done.stdout


def test_every_command_that_is_named_exists() -> None:
    """`numaplace WORD` in the README is a command."""
    named = set(re.findall(r"numaplace ([a-z]+)\b", README)) - {"reads", "promises"}
    assert named <= {*BUILT_IN, "bench"}


@pytest.mark.parametrize("package", ["probe", "policies", "scheduler"])
def test_the_public_face_is_whole(package: str) -> None:
    """Every name of `__all__` is there."""
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
