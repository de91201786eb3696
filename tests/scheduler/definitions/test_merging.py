"""A user's template and a plan: what is merged, what is kept, and what contradicts."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from probe.errors import BadInputError, SourceMalformedError
from scheduler.definitions.errors import DefinitionConflictError, TemplateInvalidError
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.render import definition_of, render
from scheduler.definitions.size_of import template_size
from scheduler.definitions.template import Template
from scheduler.executors.port import DefinitionKind
from tests.scheduler.definitions.made import IDENTITY, KVM, XEN, XL, definition, merged, placed, placed_as, small

TEMPLATE = """<?xml version='1.0'?>
<!-- the operator's own -->
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>base</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <vcpu current="1"><!-- one for now -->2</vcpu>
  <!-- > keep "me" -->
  <cputune><shares>2048</shares></cputune>
  <sysinfo type='smbios'><system><entry name='uuid'>11111111-2222-3333-4444-555555555555</entry></system></sysinfo>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source bridge='{bridge}'/>
    </interface>
    <interface><mac address='52:54:00:00:00:{index}1'/></interface>
    <disk type='file'><source file='/srv/{name}-{index}.qcow2'/></disk>
    <unknown:thing xmlns:unknown='urn:x' a='>'/>
  </devices>
  <qemu:commandline><qemu:arg value='{"json": {"a": {}}}'/></qemu:commandline>
</domain>
"""


def test_a_template_keeps_every_character_that_is_not_ours() -> None:
    """Comments, prefixes, unknown elements, quotes and blanks stay; variables are filled in; ids are dropped."""
    template = Template(text=TEMPLATE, origin="base.xml", variables={"bridge": "br'<0"}, index=7)
    text = render(placed(small()), KVM, IDENTITY, template=template).text
    for line in TEMPLATE.splitlines():
        if re.search(r"<(name|uuid|vcpu|cputune|mac|sysinfo)\b|\{(name|bridge)\}", line):
            continue
        assert line in text.splitlines()
    assert "<source bridge='br&apos;&lt;0'/>" in text
    assert "/srv/g-7.qcow2" in text
    assert ["52:54:00:00:00:71"] == re.findall("mac address='([^']*)'", text)
    assert "11111111-2222" not in text
    assert '<vcpu current="1" placement="static" cpuset="0-7"><!-- one for now -->2</vcpu>' in text
    assert "<shares>2048</shares>" in text


def test_merging_twice_changes_nothing() -> None:
    """Our own output is a template too, once its pins may be replaced."""
    first = definition_of(placed(small()), KVM).text
    assert first == merged(first, replace_pins=True)
    first = definition_of(placed(small(cells=2), parts=2), KVM).text
    again = Template(text=first, origin="first", replace_pins=True)
    assert first == definition_of(placed(small(cells=2), parts=2), KVM, template=again).text


PINS = {
    KVM: [
        "<vcpu cpuset='0'>2</vcpu>",
        "<vcpu placement='auto'>2</vcpu>",
        "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>",
        "<cputune><emulatorpin cpuset='1'/></cputune>",
        "<cputune><iothreadpin iothread='1' cpuset='1'/></cputune>",
        "<numatune><memory mode='strict' nodeset='1'/></numatune>",
        "<cpu><numa><cell cpus='0' memory='1' unit='GiB'/><cell cpus='1' memory='1' unit='GiB'/></numa></cpu>",
        "<devices><memory model='dimm'><source><nodemask>1</nodemask></source></memory></devices>",
    ],
    XEN: [
        "<vcpu cpuset='0'>2</vcpu>",
        "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>",
        "<numatune><memory mode='strict' nodeset='1'/></numatune>",
        "<cpu><numa><cell cpus='0-1' memory='2' unit='GiB'/></numa></cpu>",
    ],
    XL: ["cpus = '0'", "cpus_soft = ['0', '1']", "vnuma = [['pnode=0']]", "pool = 'Pool-1'", "cpus += ['1']"],
}


@pytest.mark.parametrize(("kind", "old"), [(kind, old) for kind, all_old in PINS.items() for old in all_old])
def test_pins_of_the_template_are_an_error_unless_given_up(kind: DefinitionKind, old: str) -> None:
    """The user's own pins are never overwritten silently; given up, nothing is left of them."""
    text = f"{old}\n" if kind is XL else f"<domain type='{'kvm' if kind is KVM else 'xen'}'>{old}</domain>"
    with pytest.raises(DefinitionConflictError, match=r"^t: guest g: .*places the guest itself") as error:
        merged(text, kind)
    assert "replace_pins: true" in str(error.value)
    assert old not in merged(text, kind, replace_pins=True)


CONTRADICTIONS = [
    (KVM, "<domain><vcpu>3</vcpu></domain>", "<vcpu> says '3' and the plan 2"),
    (KVM, "<domain><vcpu/></domain>", "<vcpu> says '' and the plan 2"),
    (KVM, "<domain><memory unit='MiB'>1</memory></domain>", "<memory> says 1024 KiB and the plan 2097152 KiB"),
    (KVM, "<domain><memoryBacking><hugepages/></memoryBacking></domain>", "of the host's default size"),
    (KVM, "<domain><memoryBacking><hugepages><page size='2048'/></hugepages></memoryBacking></domain>", "2048 KiB"),
    (KVM, "<domain type='xen'/>", "<domain type='xen'> on a kvm-xml host"),
    (XEN, "<domain type='kvm'/>", "<domain type='kvm'> on a xen-xml host"),
    (KVM, "<volume/>", "expected a <domain> in no namespace, got <volume>"),
    (KVM, "<domain xmlns='urn:x'/>", "expected a <domain> in no namespace"),
    (KVM, "vcpus = 2\n", "expected a kvm-xml template for h"),
    (XL, "<domain/>", "expected a xl-cfg template for h"),
    (XL, "vcpus = 3\n", "`vcpus` says 3 and the plan 2"),
    (XL, "vcpus = 2\nmaxvcpus = '4'\n", "`maxvcpus` says 4 and the plan 2"),
    (XL, "memory = 1024\n", "`memory` says 1024 and the plan 2048"),
    (XL, "maxmem = 4096\n", "`maxmem` says 4096 and the plan 2048"),
    (XL, "memory = [2048]\n", "`memory` says ['2048'] and the plan 2048"),
]


@pytest.mark.parametrize(("kind", "text", "why"), CONTRADICTIONS)
def test_a_template_that_contradicts_the_plan_is_refused(kind: DefinitionKind, text: str, why: str) -> None:
    """Another size, another hypervisor, or no domain at all: file, guest, key, and both values."""
    with pytest.raises(DefinitionConflictError) as error:
        merged(text, kind, replace_pins=True)
    assert why in str(error.value)


@pytest.mark.parametrize("text", ["vcpus = 0x2\nmemory = '2048'\n", "maxvcpus = 2\nvcpus = 1\nmemory = 04000\n", ""])
def test_a_size_of_xl_is_compared_as_xl_reads_it(text: str) -> None:
    """Hexadecimal, octal and quoted numbers; fewer online vCPUs than the maximum stay."""
    made = merged(text, XL)
    assert "memory = 2048\n" in made
    assert f"vcpus = {1 if 'vcpus = 1' in text else 2}\n" in made


def test_guest_cells_that_are_the_plans_stay_as_they_are() -> None:
    """Distances, shared access and plugged memory are the user's; ids may stand in any order."""
    numa = (
        "<cpu mode='host-model'><numa><cell id='1' cpus='1' memory='1' unit='GiB' memAccess='shared'/>"
        "<cell id='0' cpus='0' memory='512' unit='MiB'/></numa></cpu>"
    )
    dimm = "<devices><memory model='dimm'><target><size unit='MiB'>512</size><node>0</node></target></memory></devices>"
    template = Template(text=f"<domain>{numa}{dimm}</domain>", origin="t")
    made = definition_of(placed(small(cells=2), parts=2), KVM, template=template).text
    assert numa in made
    unplugged = Template(text=f"<domain>{numa}</domain>", origin="t")
    with pytest.raises(DefinitionConflictError, match="cells that are not the plan's"):
        definition_of(placed(small(cells=2), parts=2), KVM, template=unplugged)


@pytest.mark.parametrize("pages", ["<hugepages/>", "<hugepages><page size='2' unit='M' nodeset='0'/></hugepages>"])
def test_huge_pages_of_no_or_some_cells_become_those_of_the_plan(pages: str) -> None:
    """All memory is in the plan's pages."""
    text = f"<domain><memoryBacking><nosharepages/>{pages}</memoryBacking></domain>"
    made = definition_of(placed(small(page_kib=2048)), KVM, template=Template(text=text, origin="t")).text
    assert '<memoryBacking><nosharepages/><hugepages><page size="2048" unit="KiB"/></hugepages></memoryBacking>' in made


def test_huge_pages_that_are_the_plans_stay_as_they_are() -> None:
    """In the user's own words."""
    pages = "<memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>"
    template = Template(text=f"<domain>{pages}</domain>", origin="t")
    assert pages in definition_of(placed(small(page_kib=2048)), KVM, template=template).text


@pytest.mark.parametrize("text", ["<domain/>", "<domain ></domain>", "<domain><metadata /><cpu/><cputune/></domain>"])
def test_empty_elements_are_opened(text: str) -> None:
    """Everything goes into them, once."""
    template = Template(text=text, origin="t")
    made = render(placed(small(cells=2), parts=2), KVM, IDENTITY, template=template).text
    tags = [child.tag for child in ET.fromstring(made)]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(
    "tag", ["name", "uuid", "vcpu", "memory", "cputune", "numatune", "metadata", "cpu", "memoryBacking"]
)
def test_what_may_stand_once_stands_once(tag: str) -> None:
    """libvirt reads the first `<vcpu>` and every `<cputune>`; we guess neither."""
    with pytest.raises(TemplateInvalidError, match=f"t: guest g: <{tag}> stands there more than once"):
        merged(f"<domain><{tag}/><{tag}/></domain>", replace_pins=True)
    other = merged(f"<domain><x:{tag} xmlns:x='urn:x'/><x:{tag} xmlns:x='urn:x'/></domain>")
    assert 2 == other.count(f"<x:{tag} ")


BILLION = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><domain><name>&b;</name></domain>'
HOSTILE = {
    "entities": BILLION,
    "external": "<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain/>",
    "deep": "<domain>" + "<a>" * 100_000 + "</a>" * 100_000 + "</domain>",
    "many elements": "<domain>" + "<a/>" * 100_001 + "</domain>",
    "many attributes": "<domain " + " ".join(f"a{i}='1'" for i in range(1000)) + "/>",
    "long": "<domain>" + " " * (4 * 1024**2) + "</domain>",
    "two roots": "<domain/><domain/>",
    "cut off": "<domain><name>",
    "no entity of XML": "<domain>&nbsp;</domain>",
    "undeclared prefix": "<domain><qemu:arg/></domain>",
    "unended comments": "<domain>" + "<!--" * 1_000_000,
    "a NUL": "<domain>\0</domain>",
    "a surrogate": "<domain>\ud800</domain>",
    "negative memory": "<domain><memory>-1</memory></domain>",
    "enormous memory": "<domain><memory unit='EiB'>99999999999</memory></domain>",
    "memory of 10,000 digits": f"<domain><memory>{'9' * 10_000}</memory></domain>",
    "memory in parsecs": "<domain><memory unit='pc'>2</memory></domain>",
    "negative vcpu": "<domain><vcpu>-2</vcpu></domain>",
    "vcpu in other digits": "<domain><vcpu>\u0662</vcpu></domain>",
    "a cell without memory": "<domain><cpu><numa><cell cpus='0-1'/></numa></cpu></domain>",
    "cells of no CPUs": "<domain><cpu><numa><cell cpus='x' memory='1'/></numa></cpu></domain>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_one_typed_error(text: str) -> None:
    """It names the template, and nothing is expanded, opened or guessed."""
    with pytest.raises(BadInputError, match=r"^t\b"):
        merged(text)


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1", "utf-7", "cp037"])
def test_a_template_is_utf_8_whatever_it_declares(encoding: str) -> None:
    """libvirt would read its first line, and see another text than we did."""
    with pytest.raises(BadInputError, match=f"^t: .*{encoding}"):
        merged(f"<?xml version='1.0' encoding='{encoding}'?><domain><title>\u00e9</title></domain>")
    with pytest.raises(BadInputError, match=r"^t\b"):
        merged("<domain/>".encode("utf-16").decode("latin-1"))


def test_a_template_may_declare_utf_8() -> None:
    """In capitals or not."""
    assert "\u00e9" in merged("<?xml version='1.0' encoding='utf-8'?>\n<domain><title>\u00e9</title></domain>")


def test_memory_that_libvirt_rounds_up_counts_as_it_gives_it() -> None:
    """A template of 2 GiB less 100 KiB is a guest of 2 GiB; its text stays."""
    text = "<domain><memory unit='KiB'>2097052</memory></domain>"
    assert 2 * 1024**2 == template_size(text, "t").memory_kib
    made = render(placed(small()), KVM, IDENTITY, template=Template(text=text, origin="t"))
    assert "<memory unit='KiB'>2097052</memory>" in made.text
    assert () == disagreements(placed(small()), parse_back(made))


@pytest.mark.parametrize("kind", [KVM, XL])
def test_a_placement_that_is_not_whole_mib_is_refused(kind: DefinitionKind) -> None:
    """The hypervisor would take more than was promised, or cannot say it."""
    whole = placed_as(kind)
    cell = whole.cells[0]
    odd = replace(whole, cells=(replace(cell, memory=(replace(cell.memory[0], kib=cell.memory[0].kib + 4),)),))
    with pytest.raises(DefinitionConflictError, match="2097156 KiB in guest cell 0 are not whole MiB"):
        definition_of(odd, kind)


MALFORMED = [
    "<numatune><memory mode='strict' nodeset='none'/></numatune>",
    "<numatune><memnode cellid='0' mode='strict' nodeset='none'/></numatune>",
    "<cputune><vcpupin vcpu='x' cpuset='1'/></cputune>",
    "<cputune><vcpupin vcpu='0' cpuset='a-b'/></cputune>",
    "<cputune><emulatorpin cpuset='?'/></cputune>",
    "<vcpu>many</vcpu>",
]


@pytest.mark.parametrize("part", MALFORMED)
def test_a_definition_that_is_none_is_a_typed_error(part: str) -> None:
    """It says where."""
    cells = "<cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/></numa></cpu>" if "memnode" in part else ""
    text = f"<domain><name>g</name><memory>2097152</memory>{part}{cells}</domain>"
    with pytest.raises(SourceMalformedError, match="definition of g"):
        parse_back(definition("g", text))


def test_a_template_whose_cells_are_bound_to_no_nodes_is_a_typed_error() -> None:
    one, other = (f"<cell id='{i}' cpus='{i}' memory='1' unit='GiB'/>" for i in (0, 1))
    cells = f"<cpu><numa>{one}{other}</numa></cpu>"
    text = f"<domain><numatune><memnode cellid='0' nodeset='none'/></numatune>{cells}</domain>"
    template = Template(text=text, origin="t", replace_pins=True)
    with pytest.raises(SourceMalformedError, match="nodeset"):
        definition_of(placed(small(cells=2), parts=2), KVM, template=template)
