"""plan ↔ definition: what is written says what the plan says, and leaves a template as it was."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from policies.compose import make_placement, make_unpinned
from policies.errors import DoesNotFitError
from policies.homes import homes, part_counts
from policies.plan import Placement
from policies.request import CpuPolicy, GuestName, GuestRequest
from probe.errors import SourceMalformedError
from probe.snapshot import Hypervisor
from scheduler.definitions.errors import DefinitionConflictError, TemplateInvalidError
from scheduler.definitions.identity import Identity
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.render import definition_of, render
from scheduler.definitions.shared_devices import SharedDeviceError, check_shared_devices
from scheduler.definitions.size_of import template_size
from scheduler.definitions.spans import index_xml
from scheduler.definitions.template import Template
from scheduler.definitions.xl_cfg import last_values, parse_xl_cfg
from scheduler.executors.port import DefinitionKind, DomainDefinition
from tests.conftest import DATA
from tests.policies.hosts import host_of

TEMPLATE = """<?xml version='1.0'?>
<!-- the operator's own -->
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>base</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <vcpu current="1">2</vcpu>
  <!-- > keep "me" -->
  <cputune><shares>2048</shares></cputune>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source bridge='{bridge}'/>
    </interface>
    <disk type='file'><source file='/srv/{name}-{index}.qcow2'/></disk>
    <unknown:thing xmlns:unknown='urn:x' a='>'/>
  </devices>
  <qemu:commandline><qemu:arg value='{"json": 1}'/></qemu:commandline>
</domain>
"""


def placed(request: GuestRequest, *, hypervisor: Hypervisor | None = None, parts: int = 1) -> Placement:
    host = host_of("h", nodes=4, cpus=8, hypervisor=hypervisor)
    return make_placement(request, host, homes(host)[:parts])


def small(**changes: object) -> GuestRequest:
    return GuestRequest(**{"name": GuestName("g"), "vcpus": 2, "memory_kib": 2 * 1024**2, **changes})  # type: ignore[arg-type]


@given(
    vcpus=st.integers(1, 8),
    gib=st.integers(1, 8),
    page=st.sampled_from([4, 2048]),
    cells=st.sampled_from([1, 2, "auto"]),
    cpus=st.sampled_from(CpuPolicy),
    xen=st.booleans(),
    parts=st.integers(1, 3),
)
def test_every_placement_is_written_and_read_back(
    vcpus: int, gib: int, page: int, cells: object, cpus: CpuPolicy, xen: bool, parts: int
) -> None:
    """KVM XML, Xen XML and xl.cfg each say what the plan says (render refuses anything else)."""
    if cells == 2:
        vcpus = max(2, vcpus)
    host = host_of("h", nodes=4, cpus=8, hypervisor=Hypervisor.XEN if xen else Hypervisor.KVM)
    request = small(vcpus=vcpus, memory_kib=gib * 1024**2, page_kib=page, cells=cells, cpus=cpus)
    if xen and (page > 4 or cells == 2):
        return
    counts = part_counts(request, host)
    count = min(max(parts, counts[0]), counts[-1])
    try:
        placement = make_placement(request, host, homes(host)[:count])
    except DoesNotFitError:
        return
    kinds = (DefinitionKind.XEN_XML, DefinitionKind.XL_CFG) if xen else (DefinitionKind.KVM_XML,)
    for kind in kinds:
        definition = definition_of(placement, kind, topology=host.topology)
        assert () == disagreements(placement, parse_back(definition))


def test_an_unpinned_guest_has_no_pins() -> None:
    """Nothing of ours but its identity and its size."""
    text = definition_of(make_unpinned(small(), host_of("h")), DefinitionKind.KVM_XML).text
    assert not re.search("cputune|numatune|cpuset", text)


def test_a_template_keeps_every_byte_that_is_not_ours() -> None:
    """Comments, prefixes, unknown elements, quotes and blanks stay; variables are filled in."""
    template = Template(text=TEMPLATE, origin="base.xml", variables={"bridge": "br'<0"}, index=7)
    identity = Identity(uuid="u", ledger="l", claim="c")
    text = render(placed(small()), DefinitionKind.KVM_XML, identity, template=template).text
    for line in TEMPLATE.splitlines():
        if re.search(r"<(name|uuid|vcpu|cputune|mac)\b|\{(name|bridge)\}", line):
            continue
        assert line in text.splitlines()
    assert "<source bridge='br&apos;&lt;0'/>" in text
    assert "/srv/g-7.qcow2" in text
    assert "<mac" not in text
    assert "11111111-2222" not in text
    assert ' current="1"' in text
    assert "<shares>2048</shares>" in text


def test_merging_twice_changes_nothing() -> None:
    """Our own output is a template too, once its pins may be replaced."""
    first = definition_of(placed(small()), DefinitionKind.KVM_XML).text
    again = Template(text=first, origin="first", replace_pins=True)
    assert first == definition_of(placed(small()), DefinitionKind.KVM_XML, template=again).text


@pytest.mark.parametrize(
    "old",
    [
        "<vcpu cpuset='0'>2</vcpu>",
        "<vcpu placement='auto'>2</vcpu>",
        "<vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='1'/></cputune>",
        "<vcpu>2</vcpu><numatune><memory mode='strict' nodeset='1'/></numatune>",
    ],
)
def test_pins_of_the_template_are_an_error_unless_given_up(old: str) -> None:
    """The user's own pins are never overwritten silently."""
    text = f"<domain type='kvm'><name>a</name>{old}</domain>"
    with pytest.raises(DefinitionConflictError, match="places the guest itself"):
        definition_of(placed(small()), DefinitionKind.KVM_XML, template=Template(text=text, origin="t"))
    given_up = Template(text=text, origin="t", replace_pins=True)
    definition_of(placed(small()), DefinitionKind.KVM_XML, template=given_up)


@pytest.mark.parametrize(
    "text",
    [
        "<domain><vcpu>3</vcpu></domain>",
        "<domain><memory unit='MiB'>1</memory></domain>",
        "<volume/>",
        "vcpus = 2",
    ],
)
def test_a_template_that_contradicts_the_plan_is_refused(text: str) -> None:
    """Another size, or no domain at all: a typed error."""
    with pytest.raises(DefinitionConflictError):
        definition_of(placed(small()), DefinitionKind.KVM_XML, template=Template(text=text, origin="t"))


def test_an_unknown_variable_names_its_line() -> None:
    """The error says where, what is known, and how braces are written."""
    template = Template(text="<domain>\n<name>{nmae}</name></domain>", origin="t.xml")
    with pytest.raises(TemplateInvalidError, match=r"t.xml:2: unknown variable \{nmae\}, known are index, name"):
        definition_of(placed(small()), DefinitionKind.KVM_XML, template=template)


@given(st.text(max_size=30))
def test_a_hostile_variable_stays_text(value: str) -> None:
    """Whatever a variable holds, it adds no element; what XML or xl cannot hold is refused."""
    text = "<domain type='kvm'><name>a</name><description>{v}</description></domain>"
    template = Template(text=text, origin="t", variables={"v": value.replace("{", "").replace("}", "")})
    try:
        made = definition_of(placed(small()), DefinitionKind.KVM_XML, template=template).text
    except TemplateInvalidError:
        return
    assert ["name", "description"] == [child.tag for child in ET.fromstring(made)][:2]


def test_xen_takes_a_list_of_pins_and_no_numatune() -> None:
    """The forms that bind: a list entry for each vCPU in xl.cfg, a vcpupin for each in XML."""
    placement = placed(small(), hypervisor=Hypervisor.XEN)
    assert 'cpus = ["0-7", "0-7"]' in definition_of(placement, DefinitionKind.XL_CFG).text
    xml = definition_of(placement, DefinitionKind.XEN_XML).text
    assert 2 == xml.count("<vcpupin")
    assert not re.search("numatune|<vcpu [^>]*cpuset", xml)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (DefinitionKind.XL_CFG, 'name="g"\nuuid="u"\nvcpus=2\nmemory=2048\ncpus="0-7"\n'),
        (
            DefinitionKind.XEN_XML,
            "<domain><name>g</name><uuid>u</uuid><memory>2097152</memory><vcpu cpuset='0-7'>2</vcpu>"
            "<numatune><memory nodeset='0'/></numatune></domain>",
        ),
    ],
)
def test_forms_that_look_right_are_read_as_what_they_do(kind: DefinitionKind, text: str) -> None:
    """A string `cpus=`, `<vcpu cpuset>` and `<numatune>` bind nothing on Xen (measured)."""
    placement = placed(small(), hypervisor=Hypervisor.XEN)
    back = parse_back(DomainDefinition(guest="g", uuid="u", kind=kind, text=text))
    assert {} == dict(back.pins)
    assert any("pins" in line for line in disagreements(placement, back))


def test_two_guests_never_share_a_disk_or_a_mac() -> None:
    """A batch that would is refused before anything is created; shareable and read-only are fine."""

    def guest(name: str, device: str) -> DomainDefinition:
        text = f"<domain><devices>{device}</devices></domain>"
        return DomainDefinition(guest=name, uuid=name, kind=DefinitionKind.KVM_XML, text=text)

    disk = "<disk><source file='/a'/>{}</disk>"
    with pytest.raises(SharedDeviceError, match="guests a and b share the writable disk /a"):
        check_shared_devices([guest("a", disk.format("")), guest("b", disk.format(""))])
    mac = "<interface><mac address='52:54:00:AA:00:01'/></interface>"
    with pytest.raises(SharedDeviceError, match="MAC"):
        check_shared_devices([guest("a", mac), guest("b", mac.lower())])
    for harmless in ("<shareable/>", "<readonly/>"):
        check_shared_devices([guest("a", disk.format(harmless)), guest("b", disk.format(harmless))])
    xl = [DomainDefinition(guest=n, uuid=n, kind=DefinitionKind.XL_CFG, text="disk=['/a,raw,xvda,rw']") for n in "ab"]
    with pytest.raises(SharedDeviceError):
        check_shared_devices(xl)


REAL = sorted((DATA / "libvirt/qemuxmlconfdata").glob("*.xml")) + sorted((DATA / "recorded/kvm").glob("*/dom/*.xml"))


@pytest.mark.data
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_domains_are_templates_of_which_nothing_is_lost(path: Path) -> None:
    """Every real domain XML takes a placement; all that is not ours stays, byte for byte."""
    text = path.read_text()
    if not text.strip():
        return  # the recorded domain was not running any more
    root = index_xml(text, origin=path.name)
    domain = ET.fromstring(text)
    if root.tag != "domain" or domain.find("vcpu") is None or "{" in text:
        return
    size = template_size(text, path.name)
    memory = size.memory_kib or 0
    request = small(vcpus=size.vcpus, memory_kib=max(4, memory - memory % 4))
    if memory % 4 or request.vcpus > 8:
        return
    identity = Identity(uuid="u", ledger="l", claim="c")
    template = Template(text=text, origin=path.name, replace_pins=True)
    try:
        made = render(placed(request), DefinitionKind.KVM_XML, identity, template=template).text
    except DefinitionConflictError:
        return
    ours = {"name", "uuid", "vcpu", "cputune", "numatune", "memory", "memoryBacking", "metadata", "cpu"}
    kept = [ET.tostring(child) for child in domain if child.tag not in ours and child.find(".//mac") is None]
    now = [ET.tostring(child) for child in ET.fromstring(made)]
    if domain.find(".//mac") is None:
        assert [each for each in kept if each.strip() not in [n.strip() for n in now]] == []


def test_literal_macs_of_an_xl_cfg_are_dropped_and_made_ones_stay() -> None:
    """A MAC in the template would be every guest's; one from a variable is the guest's own."""
    text = 'vif = ["mac=00:16:3E:00:00:01,bridge=a", "bridge=b, mac={mac}"]\n'
    template = Template(text=text, origin="t", variables={"mac": "00:16:3e:00:00:02"})
    placement = placed(small(), hypervisor=Hypervisor.XEN)
    identity = Identity(uuid="u", ledger="l", claim="c")
    made = render(placement, DefinitionKind.XL_CFG, identity, template=template).text
    assert 'vif = ["bridge=a", "bridge=b, mac=00:16:3e:00:00:02"]' in made
    kept = definition_of(placement, DefinitionKind.XL_CFG, template=template).text
    assert text.replace("{mac}", "00:16:3e:00:00:02") in kept


CFGS = sorted((DATA / "libvirt").glob("x[lm]configdata/*.cfg")) + sorted((DATA / "recorded/xen/xl").glob("*.cfg"))


@pytest.mark.data
@pytest.mark.parametrize("path", CFGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_real_xl_cfgs_are_templates_of_which_nothing_is_lost(path: Path) -> None:
    """Every xl.cfg of libvirt's tests and of the lab takes a placement; every other value stays."""
    text = path.read_text()
    if '"""' in text:  # Python's, which xm took and xl does not
        with pytest.raises(SourceMalformedError, match=r"escape-paths\.cfg:28"):
            parse_xl_cfg(text, origin=path.name)
        return
    before = last_values(parse_xl_cfg(text, origin=path.name))
    size = template_size(text, path.name)
    request = small(vcpus=size.vcpus or 2, memory_kib=size.memory_kib or 2 * 1024**2)
    placement = make_unpinned(request, host_of("h", hypervisor=Hypervisor.XEN))
    template = Template(text=text, origin=path.name, replace_pins=True)
    identity = Identity(uuid="u", ledger="l", claim="c")
    try:
        made = render(placement, DefinitionKind.XL_CFG, identity, template=template).text
    except DefinitionConflictError as error:
        assert "maxmem" in str(error)
        return
    after = last_values(parse_xl_cfg(made, origin="made"))
    ours = {"name", "uuid", "memory", "vcpus", "maxvcpus", "cpus", "cpus_soft", "vnuma", "pool", "vif"}
    assert {k: v for k, v in before.items() if k not in ours} == {k: v for k, v in after.items() if k not in ours}
