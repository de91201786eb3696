"""hosts.yaml: how hosts are reached, and what may be promised on them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.errors import BadInputError
from scheduler.files.document import FileInvalidError
from scheduler.files.hosts_file import DEFAULT_RESERVE_KIB, check_host, read_hosts
from tests.policies.hosts import topology_of

HOSTS = """\
hosts:
  h1:
    sources: [sysfs:, "qemu:///system"]
    reserve: 1GiB
    node_reserve: {0: 4GiB}
    cpus: {dedicated: "4-31", shared: "2-3", housekeeping: "0-1"}
    overcommit: 1.5
    rack: r7
  demo: {sources: ["sim:demo.sim"], schedulable: false}
  old: {sources: [host.json]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "hosts.yaml"
    path.write_text(text)
    return path


def test_a_hosts_file_is_read(tmp_path: Path) -> None:
    """Partition, reserves and ratios arrive as values; the executor follows from the sources."""
    h1, demo, old = read_hosts(write(tmp_path, HOSTS))
    assert (h1.executor, h1.connect) == ("libvirt", "qemu:///system")
    assert (1024**2, {0: 4 * 1024**2}, Fraction(3, 2)) == (
        h1.rules.reserve_kib,
        h1.rules.node_reserve_kib,
        h1.rules.overcommit,
    )
    assert (CpuSet.parse("4-31"), CpuSet.of(0, 1)) == (h1.rules.dedicated_cpus, h1.rules.housekeeping_cpus)
    assert ("sim", str(tmp_path / "demo.sim"), False) == (demo.executor, demo.connect, demo.rules.schedulable)
    assert (None, (str(tmp_path / "host.json"),)) == (old.executor, old.sources)
    assert old.rules.reserve_kib == DEFAULT_RESERVE_KIB


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://h/system?command=/bin/true",
        "qemu+ext://h/system?command=/bin/true",
        "qemu+ssh://h/system?netcat=/bin/true",
        "qemu+unix:///system?socket=/tmp/x",
        "qemu+tcp://far.example/system",
        "qemu+ssh://-oProxyCommand=x/system",
    ],
)
def test_a_uri_that_could_run_a_program_is_refused(tmp_path: Path, uri: str) -> None:
    """A URI is code execution (reliability.md 0.6): refused with the host's line."""
    for key in ("sources: [sysfs:]\n    connect", "sources"):
        value = f'"{uri}"' if "connect" in key else f'["{uri}"]'
        with pytest.raises(FileInvalidError) as caught:
            read_hosts(write(tmp_path, f"hosts:\n  h1:\n    {key}: {value}\n"))
        assert caught.value.line == 2


def test_tcp_is_allowed_on_loopback_and_by_an_explicit_key(tmp_path: Path) -> None:
    """`tcp` beyond loopback goes in the clear: only where the operator says so."""
    text = 'hosts:\n  a: {sources: ["qemu+tcp://127.0.0.1:2301/system"]}\n'
    text += '  b: {sources: ["qemu+tcp://far.example/system"], allow_tcp: true}\n'
    assert [host.name for host in read_hosts(write(tmp_path, text))] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hosts:\n  h1:\n    sources: []\n", 3),
        ("hosts:\n  h1:\n    sources: [sysfs:]\n    overcommit: 0\n", 4),
        ("hosts:\n  h1:\n    sources: [sysfs:]\n    cpus: {dedicated: 4-x}\n", 4),
        ("hosts:\n  -rf:\n    sources: [sysfs:]\n", 2),
        ("hosts:\n  h1:\n    sources: [sysfs:]\n    executor: sim\n", 2),
        ("hosts:\n  h1:\n    sources: [sysfs:]\n  h1:\n    sources: [sysfs:]\n", 4),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path: Path, text: str, line: int) -> None:
    """An error names the line."""
    with pytest.raises(FileInvalidError) as caught:
        read_hosts(write(tmp_path, text))
    assert caught.value.line == line


def test_a_xen_host_without_libvirt_creates_through_xl(tmp_path: Path) -> None:
    """The first source that can create guests decides; a file that xl printed cannot."""
    text = """\
hosts:
  near: {sources: ["xl:", "xen:///system"]}
  far: {sources: ["sysfs+ssh://root@x2", "xl+ssh://root@x2:2422", "xl+ssh://x9"]}
  both: {sources: ["xen:///system", "xl:"]}
  told: {sources: ["xen:///system"], executor: xl, connect: "xl+ssh://x3"}
  chosen: {sources: ["xen:///system", "xl+ssh://x4"], executor: xl}
  file: {sources: ["xl:info.txt"]}
"""
    expected = {
        "near": ("xl", "xl:"),
        "far": ("xl", "xl+ssh://root@x2:2422"),
        "both": ("libvirt", "xen:///system"),
        "told": ("xl", "xl+ssh://x3"),
        "chosen": ("xl", "xl+ssh://x4"),
        "file": (None, None),
    }
    assert expected == {str(h.name): (h.executor, h.connect) for h in read_hosts(write(tmp_path, text))}


@pytest.mark.parametrize(
    "connect", ["xl:info.txt", "xl+ssh://-oProxyCommand=x", "xl+ssh://h/?command=x", "xl+ssh:", "x"]
)
def test_an_xl_connection_that_could_run_a_program_is_refused(tmp_path: Path, connect: str) -> None:
    """Only `xl:` and `xl+ssh://[USER@]HOST[:PORT]`; the host's line is named."""
    text = f'hosts:\n  x1:\n    sources: [sysfs:]\n    executor: xl\n    connect: "{connect}"\n'
    with pytest.raises(FileInvalidError, match="xl") as caught:
        read_hosts(write(tmp_path, text))
    assert caught.value.line == 2


def test_a_cpu_is_in_one_part_only(tmp_path: Path) -> None:
    """It names line and key, the pCPUs and the two parts."""
    text = (
        "schema: 1\nhosts:\n  h1:\n    sources: ['xl:']\n    cpus: {housekeeping: 0-1, shared: 1-5, dedicated: 6-7}\n"
    )
    (tmp_path / "hosts.yaml").write_text(text)
    with pytest.raises(FileInvalidError, match="pCPUs 1 are both shared and housekeeping") as error:
        read_hosts(tmp_path / "hosts.yaml")
    assert (5, "hosts.h1.cpus") == (error.value.line, error.value.key)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("cpus: {dedicated: 2-15}", "cpus.dedicated has 8-15, and the host has pCPUs 0-7"),
        ("cpus: {housekeeping: 8}", "cpus.housekeeping has 8, and the host has pCPUs 0-7"),
        ("node_reserve: {0: 1GiB, 2: 1GiB}", "node_reserve has node 2, and the host has nodes 0-1"),
        ("cpus: {dedicated: 2-7}, node_reserve: {1: 1GiB}", ""),
    ],
)
def test_what_the_host_does_not_have(tmp_path: Path, entry: str, complaint: str) -> None:
    """Seen once it was read, before anything is planned on it."""
    (tmp_path / "hosts.yaml").write_text(f"schema: 1\nhosts:\n  h1: {{sources: [x.json], {entry}}}\n")
    (config,) = read_hosts(tmp_path / "hosts.yaml")
    topology = topology_of(cpus=4, nodes=2)
    if not complaint:
        check_host(config, topology)
        return
    with pytest.raises(BadInputError, match=complaint):
        check_host(config, topology)
