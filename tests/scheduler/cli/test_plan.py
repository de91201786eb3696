"""`numaplace plan`: what it refuses before it plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scheduler.cli.conftest import Run

XML = "<domain type='kvm'>\n<name>{name}</name>\n<title>{who}</title></domain>"
XL = 'name = "{name}"\nkernel = "{who}"\n'
FLEET = """\
schema: 1
guests:
  - {name: db, vcpus: 1, memory: 128MiB, template: base, vars: {who: me}}
  - {name: web, count: 2, vcpus: 1, memory: 128MiB, template: base}
"""


@pytest.mark.parametrize("template", [XML, XL])
def test_a_template_with_an_unknown_variable(run: Run, tmp_path: Path, template: str) -> None:
    """Of one guest only: it names template, line and variable, and nothing is written."""
    (tmp_path / "base").write_text(template)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    refused = run("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB", "-o", "plan.json")
    assert (2, False) == (refused.status, (tmp_path / "plan.json").exists())
    assert "base" in refused.err
    assert "{who}" in refused.err
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("template: base}", "template: base, vars: {who: you}}"))
    assert 0 == run("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB").status
