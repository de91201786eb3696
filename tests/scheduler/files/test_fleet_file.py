"""Fleet files: what they say becomes requests; what is wrong is named by file, line and key."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from policies.request import AskedMemoryMode, CpuPolicy
from probe.errors import NumaplaceError
from scheduler.files.document import FileInvalidError, parse_document
from scheduler.files.fleet_file import TemplateDefaults, kinds_of, read_fleet

FLEET = """\
schema: 1
defaults:
  page_size: 2MiB
  vars: {bridge: br0, size: 10}
guests:
  - name: web
    count: 40
    vcpus: 4
    memory: 8GiB
  - name: db
    vcpus: 16
    memory: 64GiB
    page_size: 1GiB
    cells: auto
    cpus: dedicated
    priority: 5
    hosts: [h1]
    vars: {size: 99}
"""


def no_template(text: str, path: str) -> TemplateDefaults:
    raise AssertionError(f"no template here, asked for {path}")


def write(folder: Path, text: str, name: str = "fleet.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_count_makes_numbered_guests(tmp_path: Path) -> None:
    """`count: 40` makes `web-1` … `web-40`; without it the name stands alone."""
    guests, _ = read_fleet(write(tmp_path, FLEET), no_template)
    assert [*(f"web-{i}" for i in range(1, 41)), "db"] == [g.request.name for g in guests]
    assert [*range(1, 41), 1] == [g.index for g in guests]


def test_defaults_are_overridden_and_vars_are_merged(tmp_path: Path) -> None:
    """An entry's own key wins over `defaults`; `vars` are merged key by key."""
    guests, _ = read_fleet(write(tmp_path, FLEET), no_template)
    web, db = guests[0], guests[-1]
    assert (web.request.page_kib, db.request.page_kib) == (2048, 1024**2)
    assert (web.variables, db.variables) == ({"bridge": "br0", "size": "10"}, {"bridge": "br0", "size": "99"})
    assert (CpuPolicy.DEDICATED, "auto", 5, {"h1"}) == (
        db.request.cpus,
        db.request.cells,
        db.request.priority,
        db.request.hosts,
    )


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    """One schema for both: the same fleet in JSON, tabs and all, gives the same requests."""
    as_json = json.dumps(yaml.safe_load(FLEET), indent="\t")
    from_yaml, _ = read_fleet(write(tmp_path, FLEET), no_template)
    from_json, _ = read_fleet(write(tmp_path, as_json, "fleet.json"), no_template)
    assert from_yaml == from_json


def test_a_template_gives_what_the_entry_leaves_out(tmp_path: Path) -> None:
    """vCPUs and memory default to the template's; its text travels with the plan."""
    write(tmp_path, "<domain/>", "base.xml")
    path = write(tmp_path, "guests:\n  - {name: a, template: base.xml}\n")
    guests, templates = read_fleet(path, lambda text, _: TemplateDefaults(vcpus=3, memory_kib=4096))
    assert (guests[0].request.vcpus, guests[0].request.memory_kib) == (3, 4096)
    assert templates == {"base.xml": "<domain/>"}


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("guests:\n  - name: a\n    vcpus: 2\n    memory: 8GB\n", 4, "guests.0.memory"),
        ("guests:\n  - name: a\n    vcpus: two\n    memory: 8GiB\n", 3, "guests.0.vcpus"),
        ("guests:\n  - name: a\n    vcpus: 8193\n    memory: 8GiB\n", 3, "guests.0.vcpus"),
        ("guests:\n  - name: a\n    vcpu: 2\n    memory: 8GiB\n", 3, "guests.0.vcpu"),
        ("guests:\n  - vcpus: 2\n    memory: 8GiB\n", 2, "guests.0.name"),
        ("guests:\n  - name: a\n    memory: 8GiB\n", 2, "guests.0.vcpus"),
        ("guests:\n  - name: -rf\n    vcpus: 1\n    memory: 8GiB\n", 2, "guests.0.name"),
        ("guests:\n  - name: a\n    vcpus: 1\n    name: b\n", 4, "name"),
        (
            "guests:\n  - {name: a, vcpus: 1, memory: 1GiB}\n  - {name: a, vcpus: 1, memory: 1GiB}\n",
            3,
            "guests.1.name",
        ),
        ("guests:\n  - name: a\n    vcpus: 1\n    memory: 8GiB\n    cells: 2\n", 2, "guests.0.name"),
        ("guests:\n  - name: a\n    vcpus: 1\n    template: no.xml\n", 4, "guests.0.template"),
        ("guests:\n  - name: a\n    vcpus: 1\n    memory: 100000KiB\n", 2, "guests.0.name"),
        ("schema: 2\nguests:\n  - {name: a, vcpus: 1, memory: 1GiB}\n", 1, "schema"),
        (
            "defaults:\n  page_size: 3MiB\n  cpus: mine\nguests: [{name: a, vcpus: 1, memory: 1GiB}]\n",
            3,
            "defaults.cpus",
        ),
        ("guests: [\n", 2, ""),
        ("- a\n", 1, ""),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key(tmp_path: Path, text: str, line: int, key: str) -> None:
    """An error names the file, the line and the key, and loses nothing of what was expected."""
    path = write(tmp_path, text)
    with pytest.raises(FileInvalidError) as caught:
        read_fleet(path, no_template)
    assert (str(path), line, key) == (caught.value.origin, caught.value.line, caught.value.key)


def test_a_contradiction_with_the_template_is_an_error(tmp_path: Path) -> None:
    """The fleet file says 4 vCPUs and the template 2: nobody guesses who is right."""
    write(tmp_path, "<domain/>", "base.xml")
    path = write(tmp_path, "guests:\n  - name: a\n    vcpus: 4\n    memory: 1GiB\n    template: base.xml\n")
    with pytest.raises(FileInvalidError, match=r"fleet.yaml:3: guests.0.vcpus: contradicts"):
        read_fleet(path, lambda *_: TemplateDefaults(vcpus=2))


def test_billion_laughs_are_refused() -> None:
    """Aliases are counted expanded, before anything is built from them."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(FileInvalidError, match="aliases expanded"):
        parse_document("\n".join(lines), origin="bomb")


def test_deep_nesting_is_refused() -> None:
    """A file of brackets neither crashes the interpreter nor hangs it."""
    for is_json in (True, False):
        with pytest.raises(FileInvalidError):
            parse_document("[" * 100_000, origin="deep", is_json=is_json)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Only our errors leave the reader, whatever the file holds."""
    for is_json in (True, False):
        with contextlib.suppress(NumaplaceError):
            parse_document(text, origin="fuzz", is_json=is_json)


@pytest.mark.parametrize("number", ["010", "1:30", "-017"])
def test_a_number_that_yaml_reads_otherwise(number: str) -> None:
    """YAML 1.1 has octal numbers and those to the base of 60; nobody who writes `vcpus: 010` means 8."""
    text = f"schema: 1\nguests:\n  - name: db\n    vcpus: {number}\n    memory: 1GiB\n"
    with pytest.raises(FileInvalidError, match=f"{number} is another number") as error:
        parse_document(text, origin="fleet.yaml")
    assert error.value.line == 4
    assert parse_document("a: 0x10\nb: 10\nc: '010'\nd: 0", origin="x").value == {"a": 16, "b": 10, "c": "010", "d": 0}


@pytest.mark.parametrize("text", ["[" * 200_000, "- " * 200_000, "{a: " * 200_000, "a: [sysfs:" + "[" * 100_000])
def test_what_is_nested_too_deep_ends_no_process(text: str) -> None:
    """Neither by the stack of C nor by Python's."""
    with pytest.raises(FileInvalidError, match="nested deeper than 32 levels"):
        parse_document(text, origin="fleet.yaml")


def test_the_largest_distance_is_read(tmp_path: Path) -> None:
    """And one below local is an error at its key."""
    text = "guests:\n  - name: a\n    vcpus: 4\n    memory: 4GiB\n    cells: 2\n    max_distance: 21\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert guest.request.max_distance == 21
    with pytest.raises(FileInvalidError, match="max_distance"):
        read_fleet(write(tmp_path, text.replace("21", "9")), no_template)


def test_cells_of_sizes_of_their_own(tmp_path: Path) -> None:
    """They give the guest its size; where it has one, the sums are the same, or it is an error."""
    cells = "cells: [{vcpus: 3, memory: 6GiB}, {vcpus: 1, memory: 2GiB}]"
    (guest,), _ = read_fleet(write(tmp_path, f"guests:\n  - {{name: a, {cells}}}\n"), no_template)
    request = guest.request
    assert (4, 8 * 1024**2, 2) == (request.vcpus, request.memory_kib, request.cells)
    assert [(3, 6 * 1024**2), (1, 2 * 1024**2)] == [(size.vcpus, size.memory_kib) for size in request.cell_sizes]
    for wrong, why in (("vcpus: 5", "4 vCPUs together"), ("memory: 9GiB", "KiB together")):
        with pytest.raises(FileInvalidError, match=why):
            read_fleet(write(tmp_path, f"guests:\n  - {{name: a, {wrong}, {cells}}}\n"), no_template)


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43200), ("30d", 2592000), ("1s", 1)])
def test_a_lifetime_is_read(tmp_path: Path, text: str, seconds: int) -> None:
    """And what is none is an error at its key."""
    fleet = f"guests:\n  - name: a\n    vcpus: 4\n    memory: 4GiB\n    lifetime: {text}\n"
    (guest,), _ = read_fleet(write(tmp_path, fleet), no_template)
    assert guest.request.lifetime_s == seconds
    for wrong in ("0h", "12", "h", "-3d", "1.5h", "99999999999d"):
        with pytest.raises(FileInvalidError, match="expected a duration such as 90m"):
            read_fleet(write(tmp_path, fleet.replace(text, wrong)), no_template)


def test_the_memory_mode_is_one_of_four(tmp_path: Path) -> None:
    """libvirt's other words are an error at the key."""
    text = "guests:\n  - {name: a, vcpus: 1, memory: 1GiB, memory_mode: preferred}\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert AskedMemoryMode.PREFERRED is guest.request.memory_mode
    with pytest.raises(FileInvalidError, match="memory_mode"):
        read_fleet(write(tmp_path, text.replace("preferred", "interleave")), no_template)


def test_the_largest_pages_are_a_page_size(tmp_path: Path) -> None:
    """Over a size in `defaults` too; a template that names a size contradicts it."""
    text = "defaults: {page_size: 2MiB}\nguests:\n  - {name: a, vcpus: 1, memory: 1GiB, page_size: largest}\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert (4, True) == (guest.request.page_kib, guest.request.largest_pages)
    with pytest.raises(FileInvalidError, match="expected a size"):
        read_fleet(write(tmp_path, text.replace("largest", "[largest]")), no_template)
    write(tmp_path, "<domain/>", "base.xml")
    with pytest.raises(FileInvalidError, match="contradicts the template"):
        read_fleet(
            write(tmp_path, text.replace("largest", "largest, template: base.xml")),
            lambda text, _: TemplateDefaults(page_kib=2048),
        )


def test_cores_and_emulator_threads_are_read(tmp_path: Path) -> None:
    """Each in its words; what a request does not allow is an error at the entry."""
    text = "guests:\n  - {name: a, vcpus: 1, memory: 1GiB, cpus: dedicated, smt: isolate, emulator: own}\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert ("isolate", "own") == (guest.request.smt, guest.request.emulator)
    for wrong, says in (("smt: share", "smt"), ("smt: isolate, emulator: none", "emulator")):
        with pytest.raises(FileInvalidError, match=says):
            read_fleet(write(tmp_path, text.replace("smt: isolate, emulator: own", wrong)), no_template)
    with pytest.raises(FileInvalidError, match="for guests with dedicated pCPUs"):
        read_fleet(write(tmp_path, text.replace("dedicated", "shared")), no_template)


def test_devices_are_read(tmp_path: Path) -> None:
    """Near the node, and a must, unless it says otherwise."""
    devices = "[{address: '0000:3b:00.0'}, {address: '0000:5e:00.1', near: package, must: false}]"
    text = f"guests:\n  - {{name: a, vcpus: 1, memory: 1GiB, devices: {devices}}}\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    told = [(str(device), device.must) for device in guest.request.devices]
    assert [("0000:3b:00.0 (node)", True), ("0000:5e:00.1 (package)", False)] == told
    with pytest.raises(FileInvalidError, match="devices"):
        read_fleet(write(tmp_path, text.replace("0000:3b:00.0", "eth0")), no_template)


def test_stacked_cells_are_read(tmp_path: Path) -> None:
    """Beside a most number of nodes, which then need not be that of the cells."""
    text = "guests:\n  - {name: a, vcpus: 4, memory: 4GiB, cells: 4, max_nodes: 2, stack_cells: true}\n"
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert guest.request.stack_cells
    with pytest.raises(FileInvalidError, match="a node of its own"):
        read_fleet(write(tmp_path, text.replace("true", "false")), no_template)


def test_mixed_guests_are_read(tmp_path: Path) -> None:
    """What is no set of vCPUs is told at its key, without words of Python."""
    text = 'guests:\n  - {name: a, vcpus: 4, memory: 4GiB, cpus: mixed, dedicated_vcpus: "0,2"}\n'
    (guest,), _ = read_fleet(write(tmp_path, text), no_template)
    assert (CpuPolicy.MIXED, "0,2") == (guest.request.cpus, str(guest.request.dedicated_vcpus))
    with pytest.raises(FileInvalidError, match="dedicated_vcpus: expected CPUs such as '0-3,8', got 'two'"):
        read_fleet(write(tmp_path, text.replace("0,2", "two")), no_template)


def test_each_kind_of_guest_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Also where an entry is called what another one with a count would be."""
    small = "{name: a, vcpus: 1, memory: 1GiB}"
    text = f"guests:\n  - {small}\n  - {{name: a, count: 2, vcpus: 2, memory: 1GiB}}\n"
    guests, _ = read_fleet(write(tmp_path, text), no_template)
    kinds = kinds_of([guest.request for guest in guests])
    assert {name: kind.vcpus for name, kind in kinds.items()} == {"a": 1, "a-1": 2}
    alone = kinds_of([guest.request for guest in guests[1:]])
    assert list(alone) == ["a"]
