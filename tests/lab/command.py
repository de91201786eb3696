"""The `numaplace` command as somebody beside the lab's hosts would use it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.lab import Lab

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Result:
    """What a command answered."""

    status: int
    out: str
    complaint: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Command:
    """`numaplace` in a folder of its own, with a ledger and a hosts.yaml there."""

    lab: Lab
    folder: Path

    def hosts(self, **hosts: dict[str, object]) -> None:
        """Write hosts.yaml: for each host what it has beside its sources."""
        entries = {name: {"sources": self.sources(name), **more} for name, more in hosts.items()}
        self._write("hosts.yaml", {"schema": 1, "hosts": entries})

    def sources(self, name: str) -> list[str]:
        """libvirt first, filled in by what only the host's own files or xl tell."""
        host = self.lab.hosts[name]
        kind = "sysfs+ssh" if host.shape.hypervisor == "kvm" else "xl+ssh"
        return [host.libvirt_uri, f"{kind}://{host.ssh}"]

    def fleet(self, *guests: dict[str, object], **defaults: object) -> None:
        """Write fleet.yaml."""
        self._write("fleet.yaml", {"schema": 1, "defaults": defaults, "guests": list(guests)})

    def write(self, name: str, text: str) -> None:
        """Write a file, such as a template."""
        (self.folder / name).write_text(text)

    def json(self, name: str) -> Any:
        """What a file has that was written here."""
        return yaml.safe_load((self.folder / name).read_text())

    def _write(self, name: str, content: object) -> None:
        self.write(name, yaml.safe_dump(content, sort_keys=False))

    def run(self, *words: str, timeout_s: float = 600, **environment: str) -> Result:
        """Its answer as JSON, where it has one; statuses are the test's to judge."""
        own = {"NUMAPLACE_LEDGER": str(self.folder / "ledger.sqlite"), "NUMAPLACE_HOSTS": "hosts.yaml"}
        done = subprocess.run(
            [sys.executable, "-m", "scheduler.cli.main", *words],
            cwd=self.folder,
            env={**self.lab.environment, **own, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def plan(self, *words: str) -> Any:
        """Plan fleet.yaml into plan.json."""
        return self.run("plan", "fleet.yaml", "-o", "plan.json", "--output", "json", *words).json

    def apply(self, *words: str, **environment: str) -> Result:
        """Apply plan.json."""
        return self.run("apply", "plan.json", "--output", "json", *words, **environment)
