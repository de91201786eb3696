"""No recording lies unread: every file of the data folder is read by a test, or named here with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.data

READ = {
    "hwloc/linux/*.*": ("test_sysfs_recordings", "test_hwloc_expectations"),
    "hwloc/x86+linux/*.*": ("test_sysfs_recordings", "test_hwloc_expectations"),
    "hwloc/xml/*.*": ("test_hwloc_recordings", "test_hwloc_expectations"),
    "hwloc/x86-xml/*.xml": ("test_hwloc_recordings",),
    "flux-sched-hwloc-v1/*.xml": ("test_hwloc_recordings",),
    "hwloc-xml-parser/*.xml": ("test_hwloc_recordings",),
    "prrte/*.xml": ("test_hwloc_recordings",),
    "derived/hwloc-2.9.0-xml/*": ("test_sysfs_recordings", "test_hwloc_recordings"),
    "derived/lscpu-2.38.1/*": ("test_sysfs_recordings",),
    "derived/xl-info-n/*": ("test_xen_recordings",),
    "util-linux/dumps/*.tar.gz": ("test_sysfs_recordings",),
    "util-linux/expected/*": ("test_sysfs_recordings",),
    "nri-plugins/*.tar.*": ("test_sysfs_recordings",),
    "node-tuning-operator/*.tgz": ("test_sysfs_recordings", "test_linux_devices"),
    "ghw/*.tar.gz": ("test_sysfs_recordings", "test_linux_devices"),
    "libvirt/vircaps2xmldata/*": ("test_sysfs_recordings", "test_libvirt_recordings"),
    "libvirt/capabilityschemadata/*.xml": ("test_libvirt_recordings",),
    "libvirt/virhostcpudata/*.tar.gz": ("test_libvirt_recordings",),
    "libvirt/virhostcpudata/*.expected": ("test_libvirt_recordings",),
    "libvirt/qemuxmlconfdata/*.xml": ("test_libvirt_domain", "scheduler/definitions"),
    "libvirt/qemuxmlconfdata/*.args": ("test_libvirt_domain",),
    "libvirt/libxlxml2domconfigdata/*": ("test_libvirt_domain",),
    "libvirt/x[lm]configdata/*": ("test_libvirt_domain", "scheduler/definitions"),
    "virt-manager/capabilities/*.xml": ("test_libvirt_recordings",),
    "vdsm/*caps*": ("test_libvirt_recordings",),
    "kubevirt/*.xml": ("test_safe_xml",),
    "numactl-samples/*": ("test_text_sources",),
    "xen-samples/*": ("test_xen_recordings",),
    "ganeti/xen-xl-info*": ("test_xen_recordings",),
    "ganeti/xen-xl-list*": ("test_xen_recordings",),
    "recorded/kvm/**/*capabilities.xml": ("test_libvirt_recordings",),
    "recorded/kvm/h1/ls*": ("test_hwloc_recordings", "test_lab_recordings"),
    "recorded/kvm/h1/numactl-H.txt": ("test_text_sources", "test_lab_recordings"),
    "recorded/kvm/h?/*free*.txt": ("test_lab_recordings",),
    "recorded/kvm/h?/node*.txt": ("test_lab_recordings", "test_traps"),
    "recorded/kvm/h?/*.tar.gz": ("test_lab_recordings", "scheduler/cli/test_contracts"),
    "recorded/kvm/h1/oom-dmesg.txt": ("scheduler/sim/test_recorded",),
    "recorded/kvm/h?/dom/*.xml": ("test_libvirt_domain", "scheduler/definitions"),
    "recorded/kvm/h?/dom/*.txt": ("scheduler/executors/test_libvirt_errors",),
    "recorded/kvm/h?/dom/*.cmdline": ("scheduler/observers/test_kvm_proc",),
    "recorded/kvm/h?/dom/*.numa_maps": ("scheduler/observers/test_kvm_proc", "scheduler/sim/test_recorded"),
    "recorded/xen/xl/*info*.txt": ("test_xen_recordings", "test_lab_recordings"),
    "recorded/xen/pools/*info*.txt": ("test_xen_recordings", "test_traps"),
    "recorded/xen/libvirt/virsh-nodeinfo.txt": ("test_lab_recordings",),
    "recorded/xen/*/*-list.txt": ("test_xen_recordings",),
    "recorded/xen/*/*-list-?.txt": ("test_xen_recordings",),
    "recorded/xen/*/*vcpu-list?.txt": ("test_xen_recordings",),
    "recorded/xen/pools/pools*.txt": ("test_xen_recordings",),
    "recorded/xen/xl/run-debug-u.txt": ("test_xen_recordings", "scheduler/sim/test_recorded"),
    "recorded/xen/libvirt/lv-debug-u.txt": ("test_xen_recordings", "scheduler/sim/test_recorded"),
    "recorded/xen/*/*debug-u*.txt": ("scheduler/observers/test_xen_pages",),
    "recorded/xen/[xp]*/create-*.err": ("scheduler/executors/test_xl_calls",),
    "recorded/xen/[xp]*/create-*.rc": ("scheduler/executors/test_xl_calls",),
    "recorded/xen/*/*.cfg": ("scheduler/definitions",),
    "recorded/xen/libvirt/cfg-*.xml": ("test_libvirt_domain", "test_libvirt_on_xen"),
    "recorded/xen/libvirt/lv-dumpxml*": ("test_libvirt_domain",),
    "recorded/xen/libvirt/lv-vcpuinfo*": ("test_lab_recordings",),
    "recorded/xen/libvirt/lv-to-native*": ("scheduler/definitions",),
    "recorded/xen/libvirt/*capabilities*": ("test_libvirt_recordings", "test_libvirt_on_xen"),
    "flavors/*": ("benchmarks/scenarios",),
    "traces/huawei-topology-aware/csv/*.csv": ("benchmarks/scenarios", "benchmarks/test_fleets"),
    "traces/huawei-topology-aware/*.xls": ("benchmarks/scenarios", "benchmarks/test_fleets"),
    "traces/alibaba-gpu-v2023/*.csv": ("benchmarks/scenarios",),
    "traces/bitbrains-small/meta.*": ("benchmarks/scenarios",),
    "traces/roadef2012/A/model_*.txt": ("benchmarks/scenarios",),
    "traces/roadef2012/A/assignment_*.txt": ("benchmarks/scenarios",),
    "recorded/xen/libvirt/virsh-freecell.txt": ("test_lab_recordings", "test_libvirt_on_xen"),
}
"""What is read, and by which test."""

NOT_A_HOST = {
    "MANIFEST.md": "describes the folder",
    "TRAPS.md": "test_traps has a test for each",
    "SHA256SUMS": "checks the folder",
    "**/COPYING*": "licence",
    "**/LICENSE": "licence",
    "hwloc/linux/README": "how hwloc records a host",
    "cadvisor/*": "/proc/cpuinfo alone; sysfs is what we read",
    "vdsm/cpuinfo/*": "/proc/cpuinfo alone",
    "libvirt/virhostcpudata/*.cpuinfo": "/proc/cpuinfo alone",
    "libvirt/virhostcpudata/*.signature": "CPU model names",
    "libvirt/virhostcpudata/linux-cpustat*": "times of /proc/stat",
    "libvirt/qemuxmlconfdata/*.err": "what libvirt says to whoever defines the domain beside it",
    "ganeti/proc_*": "/proc/cpuinfo and meminfo without a /sys",
    "ganeti/xen-xl-uptime*": "since when guests run",
    "ganeti/htools/*": "clusters of another scheduler: the laboratory's (a later issue)",
    "traces/huawei-topology-aware/*.xlsx": "the tables of `csv` once more",
    "traces/*/README.md": "describes the trace",
    "traces/bitbrains-small/LICENSE.txt": "licence",
    "traces/roadef2012/A/lb_*.txt": "bounds of costs that no policy of ours has",
    "traces/roadef2012/A/original_cost_*.txt": "costs that no policy of ours has",
    "traces/roadef2012/A/stats.html": "describes the instances",
    "nova_*.json": "Nova's answers: the policy engine's (a later issue)",
    "xen_vcpupin_cases.json": "arguments of `xl vcpu-pin`: the Xen executor's (a later issue)",
    "recorded/kvm/test-driver.txt": "notes on libvirt's test driver, with capabilities in their midst",
    "recorded/kvm/h1/sysinfo.xml": "the board and its memory modules",
    "recorded/kvm/h1/*log*": "logs",
    "recorded/xen/**/*.log": "logs",
    "recorded/xen/libvirt/*.err": "what a command complained of",
    "recorded/xen/libvirt/*.rc": "exit status of a command",
    "recorded/xen/*/create-*.txt": "empty: creating a guest prints nothing",
    "recorded/xen/xl/destroy-*.txt": "what destroying a guest printed",
    "recorded/xen/*/*pin.txt": "what changing a pin printed",
    "recorded/xen/libvirt/lv-vcpupin-*.txt": "declared pins, which this driver repeats whatever holds",
    "recorded/xen/pools/migrate.txt": "what moving a guest to another pool printed",
    "recorded/xen/pools/split.txt": "what splitting pools printed",
    "recorded/xen/libvirt/lv-numatune-set.txt": "what changing `<numatune>` printed",
    "recorded/xen/libvirt/virsh-freepages.txt": "empty: Xen's driver has no pages to tell",
    "recorded/xen/libvirt/virsh-nodememstats*.txt": "empty: Xen's driver refuses",
    "recorded/xen/libvirt/virsh-version.txt": "versions of libvirt and Xen",
    "recorded/xen/xl/guest-console-linux.txt": "a guest's console",
    "recorded/xen/xl/python.txt": "versions of Python on that host",
}
"""What is no recording of a host, and why it is not read here."""


def matched(data: Path, pattern: str) -> set[Path]:
    pattern = f"{pattern}/*" if pattern.endswith("**") else pattern
    return {path for path in data.glob(pattern) if path.is_file()}


def test_every_file_of_the_data_folder_is_read_or_named(data: Path) -> None:
    """A new recording needs a test; and nothing is both."""
    read, named = (set().union(*(matched(data, pattern) for pattern in patterns)) for patterns in (READ, NOT_A_HOST))
    assert sorted(path for path in data.rglob("*") if path.is_file() and path not in read | named) == []
    assert sorted(read & named) == []


def test_the_tests_that_read_are_there() -> None:
    """A file of `tests/probe`, or a file or folder elsewhere below `tests`."""
    here = Path(__file__).parent
    named = {name for names in READ.values() for name in names}
    places = [(here / f"{name}.py", here.parent / f"{name}.py", here.parent / name) for name in sorted(named)]
    assert [str(each[0]) for each in places if not any(place.exists() for place in each)] == []


@pytest.mark.parametrize("pattern", [*READ, *NOT_A_HOST])
def test_every_pattern_finds_something(data: Path, pattern: str) -> None:
    """Else a recording has gone, and nobody would see."""
    assert matched(data, pattern)
