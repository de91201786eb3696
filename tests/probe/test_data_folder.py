"""No recording lies unread: every file of the data folder is read by a test, or named here with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.data

READ = {
    "hwloc/linux/*": "test_sysfs_recordings, test_hwloc_expectations",
    "hwloc/x86+linux/*": "test_sysfs_recordings, test_hwloc_expectations",
    "hwloc/xml/*": "test_hwloc_recordings, test_hwloc_expectations",
    "hwloc/x86-xml/*": "test_hwloc_recordings",
    "flux-sched-hwloc-v1/*.xml": "test_hwloc_recordings",
    "hwloc-xml-parser/*.xml": "test_hwloc_recordings",
    "prrte/*.xml": "test_hwloc_recordings",
    "derived/hwloc-2.9.0-xml/*": "test_sysfs_recordings, test_hwloc_recordings",
    "derived/lscpu-2.38.1/*": "test_sysfs_recordings",
    "derived/xl-info-n/*": "test_xen_recordings",
    "util-linux/dumps/*": "test_sysfs_recordings",
    "util-linux/expected/*": "test_sysfs_recordings",
    "nri-plugins/*.tar.*": "test_sysfs_recordings",
    "node-tuning-operator/*.tgz": "test_sysfs_recordings",
    "ghw/*.tar.gz": "test_sysfs_recordings",
    "libvirt/vircaps2xmldata/*": "test_sysfs_recordings, test_libvirt_recordings",
    "libvirt/capabilityschemadata/*": "test_libvirt_recordings",
    "libvirt/virhostcpudata/*.tar.gz": "test_libvirt_recordings",
    "libvirt/virhostcpudata/*.expected": "test_libvirt_recordings",
    "libvirt/qemuxmlconfdata/*": "test_libvirt_domain",
    "libvirt/libxlxml2domconfigdata/*": "test_libvirt_domain",
    "libvirt/xlconfigdata/*": "test_libvirt_domain, scheduler/definitions",
    "libvirt/xmconfigdata/*": "test_libvirt_domain, scheduler/definitions",
    "virt-manager/capabilities/*": "test_libvirt_recordings",
    "vdsm/*caps*": "test_libvirt_recordings",
    "kubevirt/*": "test_safe_xml",
    "numactl-samples/*": "test_text_sources",
    "xen-samples/*": "test_xen_recordings",
    "ganeti/xen-*": "test_xen_recordings",
    "recorded/kvm/**": "test_combine, test_libvirt_domain, scheduler/observers, scheduler/sim",
    "recorded/xen/**": "test_xen_recordings, test_libvirt_on_xen, scheduler/sim",
}
"""What is read, and by which test."""

NOT_A_HOST = {
    "MANIFEST.md": "describes the folder",
    "TRAPS.md": "test_traps has a test for each",
    "SHA256SUMS": "checks the folder",
    "**/COPYING*": "licence",
    "**/LICENSE": "licence",
    "cadvisor/*": "/proc/cpuinfo alone; sysfs is what we read",
    "vdsm/cpuinfo/*": "/proc/cpuinfo alone",
    "libvirt/virhostcpudata/*.cpuinfo": "/proc/cpuinfo alone",
    "libvirt/virhostcpudata/*.signature": "CPU model names",
    "libvirt/virhostcpudata/linux-cpustat*": "times of /proc/stat",
    "ganeti/proc_*": "/proc/cpuinfo and meminfo without a /sys",
    "ganeti/htools/*": "clusters of another scheduler: the laboratory's (a later issue)",
    "flavors/*": "sizes of cloud guests: the laboratory's (a later issue)",
    "traces/**": "requests over time: the laboratory's (a later issue)",
    "nova_*.json": "Nova's answers: the policy engine's (a later issue)",
    "xen_vcpupin_cases.json": "arguments of `xl vcpu-pin`: the Xen executor's (a later issue)",
}
"""What is no recording of a host, and why it is not read here."""


def matched(data: Path, pattern: str) -> set[Path]:
    pattern = f"{pattern}/*" if pattern.endswith("**") else pattern
    return {path for path in data.glob(pattern) if path.is_file()}


def test_every_file_of_the_data_folder_is_read_or_named(data: Path) -> None:
    """A new recording needs a test."""
    known = set().union(*(matched(data, pattern) for pattern in (*READ, *NOT_A_HOST)))
    assert sorted(path for path in data.rglob("*") if path.is_file() and path not in known) == []


@pytest.mark.parametrize("pattern", [*READ, *NOT_A_HOST])
def test_every_pattern_finds_something(data: Path, pattern: str) -> None:
    """Else a recording has gone, and nobody would see."""
    assert matched(data, pattern)
