"""Recorded hosts of the data folder, by name: the file's path there, without what its format adds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.scenarios.data import ADVICE, DataMissingError, data_folder
from probe.errors import BadInputError

_PATTERNS = (
    (
        "sysfs",
        "hwloc/linux/*.tar.bz2 hwloc/x86+linux/*.tar.bz2 util-linux/dumps/*.tar.gz nri-plugins/*.tar.* "
        "node-tuning-operator/*.tgz ghw/*.tar.gz libvirt/vircaps2xmldata/*.tar.gz libvirt/virhostcpudata/*.tar.gz "
        "recorded/kvm/h?/*.tar.gz",
    ),
    (
        "hwloc",
        "hwloc/xml/*.xml hwloc/x86-xml/*.xml flux-sched-hwloc-v1/*.xml hwloc-xml-parser/*.xml prrte/*.xml "
        "recorded/kvm/h?/lstopo.xml",
    ),
    (
        "capabilities",
        "libvirt/capabilityschemadata/*.xml libvirt/vircaps2xmldata/vircaps-*.xml virt-manager/capabilities/*.xml "
        "vdsm/caps*.out recorded/kvm/h?/capabilities.xml recorded/xen/libvirt/virsh-capabilities.txt",
    ),
    ("numactl", "numactl-samples/*.txt recorded/kvm/h?/numactl-H.txt"),
    ("xl", "ganeti/xen-xl-info*.txt recorded/xen/*/*xl-info-n.txt"),
)
"""Kind of source, and the files of the data folder that it reads."""
_NO_HOST = re.compile(r"-domcaps|linux-resctrl-(cmt|fake-feature)|caps-test2|bhyve")
"""What lies among them and is no host's topology."""
_SUFFIX = re.compile(r"\.(tar\.(gz|bz2|xz)|tgz|xml|txt|out)$")


def recordings() -> dict[str, str]:
    """Name to source of every recorded host that is there, sorted; none where there is no data folder."""
    return dict(sorted(_found(data_folder())))


def source_of_recording(name: str) -> str:
    """The source that reads a recording.

    Raises:
        DataMissingError: there is no data folder.
        BadInputError: there is no such recording in it.
    """
    if not data_folder().is_dir():
        raise DataMissingError(f"recording {name[:80]!r}: there is no folder {data_folder()}.", advice=ADVICE)
    found = recordings()
    if name not in found:
        raise BadInputError(
            f"{data_folder()}: no recording is called {name[:80]!r}.",
            advice="Maybe see `numaplace bench list --hosts`.",
        )
    return found[name]


def _found(folder: Path) -> Iterator[tuple[str, str]]:
    for kind, patterns in _PATTERNS:
        for path in (path for pattern in patterns.split() for path in folder.glob(pattern)):
            if not _NO_HOST.search(path.name):
                yield _SUFFIX.sub("", path.relative_to(folder).as_posix()), f"{kind}:{path}"
