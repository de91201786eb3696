"""`numaplace bench memory` on a real kernel with many nodes: that it works there. Emulated memory is all alike."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import Command
from tests.lab.lab import Lab

HOSTS = ("h1",)

ELSEWHERE = """\
#!/bin/sh
last= yaml=
for word; do [ "$last" != --yaml ] || yaml=$word; last=$word; done
[ -z "$yaml" ] || ssh root@h1 mkdir -p "$(dirname "$yaml")" || exit
ssh root@h1 {tool} "$@" || exit
[ -z "$yaml" ] || ssh root@h1 cat "$yaml" > "$yaml"
"""
"""A tool of h1's in place of one of this machine, and the file that it writes."""


def test_every_pair_of_a_real_kernel(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPUs of four nodes, the memory of five, and the guests of two policies."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("numactl", "stress-ng"):
        (tools / tool).write_text(ELSEWHERE.format(tool=tool))
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{lab.environment['PATH']}")
    assert shutil.which("stress-ng") == str(tools / "stress-ng")
    command = Command(lab, tmp_path)
    path = f"{tools}:{lab.environment['PATH']}"
    host = command.sources("h1")[1]
    command.fleet({"name": "g", "count": 3, "vcpus": 1, "memory": "128MiB"})
    words = ("bench", "memory", "--host", host, "--share", "0.08", "--seconds", "8", "--svg", "m.svg")
    more = ("--policies", "solver,unpinned", "--fleet", "fleet.yaml", "--output", "json")
    answer = command.run(*words, *more, timeout_s=850, PATH=path)
    assert answer.status == 0, answer.complaint
    told: dict[str, Any] = answer.json
    print(answer.complaint)
    for pair in told["pairs"]:
        print(pair)
    for guest in told["guests"]:
        print(guest)
    assert {(c, m) for c in range(4) for m in range(5)} == {(p["cpu_node"], p["memory_node"]) for p in told["pairs"]}
    assert all(pair["bandwidth_mib_s"] > 0 and pair["latency_ns"] > 0 for pair in told["pairs"])
    assert all(guest["bandwidth_mib_s"] > 0 for guest in told["guests"])
    assert {"solver", "unpinned"} == {guest["policy"] for guest in told["guests"]}
    assert "node 4" in (tmp_path / "m.svg").read_text()
