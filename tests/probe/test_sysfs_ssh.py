"""Another Linux host over ssh: a real sshd on loopback, and what a hostile one could send."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import CpuSet
from probe.errors import SourceError, SourceMalformedError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.snapshot import HostSnapshot
from probe.sources.filetree import DirectoryTree, FileTree
from probe.sources.linux_files import LIVE, SYSTEM, HostFiles
from probe.sources.linux_memory import read_nodes
from probe.sources.linux_remote import parse_tree
from probe.sources.linux_sysfs import snapshot_of
from probe.sources.registry import read_source
from tests.probe.trees import host_files, write_tree
from tests.sshd import Sshd, sent_from

_END = "numaplace-links\nnumaplace-end\n"
_CPU = "sys/devices/system/cpu/online:0-1\n"


@pytest.fixture
def over_ssh(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    return sshd


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded host: read from its archive, and the folder that it was unpacked to."""

    packed: HostSnapshot
    root: Path

    def read(self, tree: FileTree) -> HostSnapshot:
        """The host in `tree`, which begins where the live machine does."""
        return snapshot_of(HostFiles(tree, LIVE), now=self.packed.taken_at, spec=self.packed.sources[0])

    @property
    def unpacked(self) -> HostSnapshot:
        return self.read(DirectoryTree(root=self.root, limits=DEFAULT_LIMITS))


def without_age(snapshot: HostSnapshot) -> HostSnapshot:
    """Without what differs between two looks at one machine: when, whence, and what is free."""
    memory = tuple(replace(m, free_kib=0, reclaimable_kib=0, source="") for m in snapshot.memory)
    return replace(snapshot, taken_at=snapshot.taken_at.replace(year=2000, month=1), sources=(), memory=memory)


def test_over_ssh_a_host_is_what_it_is_here(over_ssh: Sshd) -> None:
    """The same machine, read both ways: topology, totals, pools, devices, usable CPUs, name."""
    here, there = read_source("sysfs:"), read_source(f"sysfs+ssh:{over_ssh.target}")
    assert there.sources == (f"sysfs+ssh:{over_ssh.target}",)
    assert there.topology == here.topology
    assert replace(without_age(there), taken_at=here.taken_at) == replace(without_age(here), taken_at=here.taken_at)
    for mine, theirs in zip(here.memory, there.memory, strict=True):
        assert abs((mine.free_kib or 0) - (theirs.free_kib or 0)) < 0.2 * (mine.total_kib or 0)


def test_xl_over_ssh_says_that_there_is_no_xl(over_ssh: Sshd) -> None:
    """The same way in; the other side's complaint is told."""
    with pytest.raises(SourceUnreadableError, match="xl"):
        read_source(f"xl+ssh:{over_ssh.target}")


def test_whoever_may_not_log_in_is_told_so(over_ssh: Sshd, tmp_path: Path) -> None:
    """Another key, an unknown host key, a port where nobody listens: an error with the next step."""
    config = over_ssh.config.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    try:
        over_ssh.config.write_text(config.replace("/user\n", "/nosuch\n", 1).replace("IdentitiesOnly yes\n", ""))
        over_ssh.config.write_text(over_ssh.config.read_text() + f"IdentityFile {tmp_path}/other\n")
        with pytest.raises(SourceUnreadableError, match="Permission denied") as error:
            read_source(f"sysfs+ssh:{over_ssh.target}")
        assert "ssh HOST true" in error.value.advice
        over_ssh.config.write_text(config.replace("/known\n", "/nosuch\n"))
        with pytest.raises(SourceUnreadableError, match="Host key verification failed") as error:
            read_source(f"sysfs+ssh:{over_ssh.target}")
        assert "ssh HOST true" in error.value.advice
    finally:
        over_ssh.config.write_text(config)
    with pytest.raises(SourceUnreadableError, match="refused") as error:
        read_source("sysfs+ssh://127.0.0.1:1")
    assert "down" in error.value.advice


@pytest.fixture(
    scope="module", params=["64amd64-4s2n4ca2co", "16em64t-4s2c2t", "fakepcilocalities", "fakeheteromemtiers"]
)
def recording(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("recording")
    archive = data / f"hwloc/linux/{request.param}.tar.bz2"
    subprocess.run(["tar", "-xjf", str(archive), "-C", str(folder)], check=True)  # ours, and a test's own folder
    (root,) = folder.iterdir()
    live = {"proc/self/status": "Name:\tgrep\nCpus_allowed_list:\t1-2", "proc/sys/kernel/hostname": request.param}
    write_tree(root, live)
    return Recording(read_source(f"sysfs:{archive}"), root)


@pytest.mark.data
def test_the_remote_command_sends_all_that_the_readers_ask_for(recording: Recording) -> None:
    """Run in a shell on recorded files: the snapshot is that of the recording itself, links included."""
    assert recording.read(parse_tree(sent_from(recording.root), origin="x")) == recording.unpacked
    assert recording.unpacked.topology.nodes == recording.packed.topology.nodes
    assert (recording.unpacked.hostname, str(recording.unpacked.usable_cpus)) == (recording.root.name, "1-2")


def test_the_links_of_old_kernels_are_sent(tmp_path: Path) -> None:
    """Without lists and masks, a node's CPUs are the links in its folder."""
    files = {k: v for k, v in host_files(nodes=2, cpus_per_node=2).items() if not k.endswith("cpulist")}
    for cpu in range(4):
        link = write_tree(tmp_path, files) / f"{SYSTEM}/node/node{cpu // 2}/cpu{cpu}"
        link.symlink_to(f"../../cpu/cpu{cpu}")
    read = read_nodes(HostFiles(parse_tree(sent_from(tmp_path), origin="x"), LIVE), CpuSet.parse("0-3"))
    assert [str(node.cpus) for node in read] == ["0-1", "2-3"]


@pytest.mark.data
def test_a_host_with_busybox_alone_sends_the_same(recording: Recording, tmp_path: Path) -> None:
    """Its sh, find and grep are others, and nothing else is there."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    for name in ("sh", "find", "grep"):
        (tmp_path / name).symlink_to(busybox)
    assert recording.read(parse_tree(sent_from(recording.root, str(tmp_path)), origin="x")) == recording.unpacked


@pytest.mark.parametrize(
    "output",
    [
        "", _END, _CPU, _CPU + "numaplace-links\n", _CPU + _END[:-4], "not a line\n" + _END,
        _CPU + "etc/passwd:root\n" + _END, _CPU + "sys/devices/../../etc/online:1\n" + _END,
        _CPU + "numaplace-links\n../../etc\nnumaplace-end\n", "proc/meminfo:MemTotal: 1 kB\n" + _END,
    ],
)  # fmt: skip
def test_what_is_not_a_whole_host_is_refused(output: str) -> None:
    """Cut in the midst, other paths, no CPU: one typed error that names the source."""
    with pytest.raises(SourceMalformedError, match="sysfs"):
        parse_tree(output, origin="sysfs+ssh://h")


def test_a_login_that_talks_is_told_to_be_silent() -> None:
    """What `~/.bashrc` prints comes before the files."""
    with pytest.raises(SourceMalformedError, match="Welcome") as error:
        parse_tree("Welcome to h1!\n" + _CPU + _END, origin="sysfs+ssh://h1")
    assert "without a terminal" in error.value.advice


@given(st.text(max_size=200))
def test_any_output_is_a_tree_or_a_typed_error(text: str) -> None:
    """Never another exception."""
    for output in (text, _CPU + text + _END):
        try:
            parse_tree(output, origin="sysfs+ssh://h")
        except SourceError:
            continue


def test_too_much_output_is_refused(over_ssh: Sshd) -> None:
    """A host that never stops sending is cut off."""
    with pytest.raises(SourceUnreadableError, match="more than 100 bytes"):
        read_source(f"sysfs+ssh:{over_ssh.target}", limits=ReadLimits(file_bytes=100))
