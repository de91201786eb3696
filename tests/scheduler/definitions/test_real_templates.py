"""Real domain XMLs and xl.cfgs as templates: whatever is not ours is left as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from policies.compose import make_placement, make_unpinned
from policies.homes import homes
from policies.plan import Placement
from policies.request import GuestRequest, RequestInvalidError
from probe.errors import BadInputError, SourceMalformedError
from probe.mark import NUMAPLACE_XMLNS
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor
from scheduler.definitions.errors import DefinitionConflictError
from scheduler.definitions.render import render
from scheduler.definitions.size_of import template_size
from scheduler.definitions.spans import index_xml
from scheduler.definitions.template import TEMPLATE_LIMITS, Template
from scheduler.definitions.xl_grammar import last_values, number, parse_xl_cfg
from scheduler.files.fleet_file import TemplateDefaults
from tests.conftest import DATA
from tests.policies.hosts import host_of
from tests.scheduler.definitions.made import IDENTITY, KVM, XEN, XL, small

ROOT = re.compile(r"\A\s*(<\?.*?\?>\s*|<!--.*?-->\s*)*<domain[\s>].*</domain>\s*\Z", re.DOTALL)
DOMAINS = [path for path in sorted(DATA.rglob("*.xml")) if ROOT.match(path.read_text(errors="replace"))]
CFGS = sorted((DATA / "libvirt").glob("x[lm]configdata/*.cfg")) + sorted((DATA / "recorded/xen/xl").glob("*.cfg"))


def home(request: GuestRequest, hypervisor: Hypervisor, *, pinned: bool) -> Placement:
    host = host_of(
        "h", nodes=2, cpus=512, memory_gib=2**20, pages_gib={2048: 1024, 1024**2: 1024}, hypervisor=hypervisor
    )
    return make_placement(request, host, homes(host)[:1]) if pinned else make_unpinned(request, host)


def without_ours(text: str, like: ET.Element | None = None) -> ET.Element:
    """The domain without what we own; containers that only we have put there (not in `like`) are gone too."""
    domain = parse_xml(text, origin="t", keep_comments=True)
    for name in ("name", "uuid", "numatune"):
        for each in domain.findall(name):
            domain.remove(each)
    for vcpu in domain.findall("vcpu"):
        vcpu.attrib = {k: v for k, v in vcpu.attrib.items() if k not in ("cpuset", "placement")}
    for pages in domain.findall("memoryBacking/hugepages"):
        if any(page.get("nodeset") for page in (like if like is not None else domain).iter("page")):
            pages.clear()
    drop(domain, "cputune", lambda each: each.tag in ("vcpupin", "emulatorpin", "iothreadpin"))
    drop(domain, "metadata", lambda each: str(each.tag).startswith(f"{{{NUMAPLACE_XMLNS}}}"))
    drop(domain, "devices/interface", lambda each: each.tag == "mac")
    drop(domain, "sysinfo/system", lambda each: each.get("name") == "uuid")
    drop(domain, "devices/memory/source", lambda each: each.tag == "nodemask")
    for name in ("vcpu", "cputune", "metadata", "memory"):
        if like is not None and like.find(name) is None:
            for each in domain.findall(name):
                assert not [child for child in each if isinstance(child.tag, str)]
                domain.remove(each)
    return domain


def drop(domain: ET.Element, path: str, is_ours: Callable[[ET.Element], bool]) -> None:
    for parent in domain.findall(path):
        for child in [each for each in parent if isinstance(each.tag, str) and is_ours(each)]:
            parent.remove(child)


def canonical(domain: ET.Element) -> str:
    return ET.canonicalize(ET.tostring(domain, encoding="unicode"), with_comments=True, strip_text=True)


def refusal(domain: ET.Element, size: TemplateDefaults) -> type[BadInputError] | None:
    """Why a domain is no template of any plan: sizes that no plan has."""
    pages = domain.findall("memoryBacking/hugepages/page")
    if (size.memory_kib or 4) % (size.page_kib or 4):
        return RequestInvalidError
    if domain.find("memoryBacking/hugepages") is not None and len({each.get("size") for each in pages}) != 1:
        return DefinitionConflictError
    return None


@pytest.mark.data
@pytest.mark.parametrize("pinned", [False, True], ids=["unpinned", "pinned"])
@pytest.mark.parametrize("path", DOMAINS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_merged_domain_without_ours_is_the_template_without_ours(path: Path, pinned: bool) -> None:
    """Canonical XML, comments and processing instructions with it; what is before the root too."""
    text = path.read_text()
    domain = parse_xml(text, origin="t")
    size = template_size(text, "t")
    kind, hypervisor = (XEN, Hypervisor.XEN) if domain.get("type") == "xen" else (KVM, Hypervisor.KVM)
    template = Template(text=text, origin="t", replace_pins=True, is_filled=True)

    def make() -> str:
        memory_kib = size.memory_kib or 2 * 1024**2
        request = small(vcpus=size.vcpus or 1, memory_kib=memory_kib, page_kib=size.page_kib or 4)
        return render(home(request, hypervisor, pinned=pinned), kind, IDENTITY, template=template).text

    if error := refusal(domain, size):
        with pytest.raises(error):
            make()
        return
    made = make()
    old, new = without_ours(text), without_ours(made, like=domain)
    if new.find("cpu/numa") is None:
        drop(old, "cpu", lambda each: each.tag == "numa")
    assert canonical(old) == canonical(new)
    assert made.startswith(text[: index_xml(text, origin="t", limits=TEMPLATE_LIMITS).start])


def test_there_are_real_domains_enough(data: Path) -> None:
    """The data folder has them, and most are templates."""
    taken = [path for path in DOMAINS if path.is_relative_to(data)]
    refused = [p for p in taken if refusal(ET.fromstring(p.read_text()), template_size(p.read_text(), "t"))]
    assert len(taken) > 150
    assert len(refused) < 30


@pytest.mark.data
@pytest.mark.parametrize("path", CFGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_merged_cfg_without_ours_is_the_template_without_ours(path: Path) -> None:
    """Line by line: comments, lists over several lines and blank lines with it."""
    text = path.read_text()
    try:
        assignments = parse_xl_cfg(text, origin="t")
    except SourceMalformedError as error:
        assert path.name == "test-escape-paths.cfg"
        assert "t:28" in str(error)
        return
    size = template_size(text, "t")
    memory_kib = number(last_values(assignments, origin="t").get("maxmem")) or 2048
    placement = home(
        small(vcpus=size.vcpus or 2, memory_kib=size.memory_kib or memory_kib * 1024), Hypervisor.XEN, pinned=True
    )
    template = Template(text=text, origin="t", replace_pins=True, is_filled=True)
    try:
        made = render(placement, XL, None, template=template).text
    except DefinitionConflictError as error:
        assert "`maxmem` says" in str(error)
        return
    gone = [(each.start, each.end) for each in assignments if each.key in OURS]
    assert without(text, gone) == without(
        made, [(e.start, e.end) for e in parse_xl_cfg(made, origin="t") if e.key in OURS]
    )


OURS = ("name", "memory", "vcpus", "maxvcpus", "cpus", "cpus_soft", "vnuma", "pool")


def without(text: str, places: list[tuple[int, int]]) -> list[str]:
    """The lines of a text without some places, and without the lines that these leave empty."""
    for start, end in reversed(places):
        text = f"{text[:start]}\0{text[end:]}"
    return [line.replace("\0", "") for line in text.splitlines() if line.strip() != "\0"]
