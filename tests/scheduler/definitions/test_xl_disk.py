"""xl's disk specifications, compared with Xen's own reader and with libvirt's."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from probe.errors import SourceMalformedError
from scheduler.definitions.shared_devices import devices
from scheduler.definitions.xl_disk import parse_xl_disk
from scheduler.definitions.xl_grammar import parse_xl_cfg
from tests.conftest import DATA
from tests.scheduler.definitions.made import KVM, XL, definition
from tests.xlutil import XlUtil

PAIRS = sorted((DATA / "libvirt").glob("x[lm]configdata/*.cfg"))
PREFIXES = ["phy:", "file:", "tap:", "tap2:", "aio:", "tapdisk:", "qcow2:", "raw:", "vhd:", "nbd:", "drbd:", "iscsi:"]
PARTS = [
    *PREFIXES,
    *[
        "ioemu:",
        "foo:",
        "/dev/vg/g",
        "/a,",
        "web-1,",
        ",",
        "raw,",
        "qcow2,",
        "vdi,",
        ",,",
        "xvda",
        "xvda,",
        "hdc:cdrom,",
    ],
    *["hdc:disk", "hdc:tape", "w", "rw", "r", "ro", "w!", "r,", " ", "cdrom", "cdrom,", "devtype=cdrom,", "devtype=x,"],
    *["access=r,", "access=w", "format=raw,", "format=x,", "vdev=xvdb,", "script=block-x,", "discard,", "no-discard"],
    *[
        "backendtype=qdisk,",
        "backend=dom0,",
        "target=/t,x=y",
        "target=rbd:pool/g:id=admin",
        "=",
        "strange=1,",
        "direct-io-safe,",
    ],
]
specs = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join)
likely = st.builds(
    lambda prefix, target, rest: f"{prefix}{target}{rest}",
    st.sampled_from(["", *PREFIXES]),
    st.sampled_from(["/dev/x", "/srv/a.img", "web-1"]),
    st.sampled_from(
        [",xvda,w", ",xvda,r", ",raw,xvda,rw", ",,xvda", ",raw,xvda:cdrom", ",,hda,ro", ",xvda:cdrom,r", ""]
    ),
)


@given(spec=st.one_of(likely, specs))
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_we_read_what_xen_reads(xlutil: XlUtil, spec: str) -> None:
    """Whatever Xen takes has the target, the script and the access that we read."""
    told = xlutil.disk(spec)
    if told is None or spec.endswith("="):  # its lexer loses a last "="; we refuse it
        return
    disk = parse_xl_disk(spec, origin="t")
    assert told == (disk.target, disk.script, disk.writable)


@pytest.mark.parametrize(
    ("spec", "target", "writable"),
    [
        ("/dev/vg/guest-volume,,hda", "/dev/vg/guest-volume", True),
        ("format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume", "/dev/vg/guest-volume", True),
        ("/dev/vg/guest-volume,raw,hda,rw", "/dev/vg/guest-volume", True),
        ("/root/image.iso,,hdc,,cdrom", None, False),
        ("/root/image.iso,,hdc,cdrom", "/root/image.iso", False),
        ("format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso", "/root/image.iso", False),
        ("raw:/root/image.iso,hdc:cdrom,ro", "/root/image.iso", False),
        ("tap:aio:/srv/a.img,xvda,w", "/srv/a.img", True),
    ],
)
def test_the_manuals_examples(xlutil: XlUtil, spec: str, target: str | None, writable: bool) -> None:
    """xl-disk-configuration(5), and what Xen says of them."""
    told = xlutil.disk(spec)
    disk = parse_xl_disk(spec, origin="t")
    assert (disk.target or target, disk.writable) == (target or disk.target, writable)
    assert told is not None
    assert told[::2] == (disk.target, disk.writable)


@pytest.mark.parametrize(
    "spec", ["/dev/x,xvda,w", "foo:/dev/x,xvda,w", "/dev/a=b,raw,xvda", "a,raw,b,w,more", "a,raw,b,w!"]
)
def test_what_xl_refuses_is_an_error_of_the_file(xlutil: XlUtil, spec: str) -> None:
    """Before anything is created, and with the disk in it."""
    assert xlutil.disk(spec) is None
    with pytest.raises(SourceMalformedError, match="t: disk '"):
        parse_xl_disk(spec, origin="t")


@pytest.mark.data
@pytest.mark.parametrize("path", PAIRS, ids=lambda path: path.name)
def test_disks_and_macs_are_those_that_libvirt_reads(path: Path) -> None:
    """libvirt's tests have each xl.cfg as domain XML too: the same devices, written alone or not."""
    try:
        parse_xl_cfg(path.read_text(), origin=path.name)
        ours = set(devices(definition("g", path.read_text(), XL), "h"))
    except SourceMalformedError as error:
        assert "escape-paths" in str(error) or "disk" in str(error)
        return
    domain = ET.fromstring(path.with_suffix(".xml").read_text())
    assert ours == set(devices(definition("g", ET.tostring(domain, encoding="unicode"), KVM), "h"))
