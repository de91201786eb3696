"""I/O threads live where the emulator does, and not on the guest's own pCPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from scheduler.definitions.iothreads import iothread_ids
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.render import render
from scheduler.definitions.template import Template
from tests.scheduler.definitions.made import IDENTITY, KVM, definition, placed, small

ASKED = [
    ("<iothreads>2</iothreads>", [1, 2]),
    ("<iothreadids><iothread id='4'/><iothread id='2'/></iothreadids>", [2, 4]),
    ("<iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='7'/></iothreadids>", [1, 2, 3, 7]),
    ("<iothreads>1</iothreads><iothreadids><iothread id='3'/><iothread id='5'/></iothreadids>", [3, 5]),
    ("", []),
]
"""What a template asks for, and the ids that libvirt 9.0 gives (test_libvirt.py asks it)."""


@pytest.mark.parametrize(("asked", "ids"), ASKED)
def test_each_is_bound_with_the_emulator(asked: str, ids: list[int]) -> None:
    """Whatever its id; the definition is read back so."""
    placement = replace(placed(small()), emulator_cpus=CpuSet.of(6, 7))
    made = render(placement, KVM, IDENTITY, template=Template(text=f"<domain>{asked}</domain>", origin="t"))
    bindings = parse_back(made)
    assert dict.fromkeys(ids, CpuSet.of(6, 7)) == bindings.iothread_cpus
    assert () == disagreements(placement, bindings)


def test_one_that_is_bound_elsewhere_or_not_at_all_is_told() -> None:
    """It would run on the guest's own pCPUs."""
    placement = placed(small())
    text = render(
        placement, KVM, IDENTITY, template=Template(text="<domain><iothreads>1</iothreads></domain>", origin="t")
    ).text
    pin = f'<iothreadpin iothread="1" cpuset="{placement.emulator_cpus}"/>'
    assert pin in text
    for other in ("", '<iothreadpin iothread="1" cpuset="1"/>'):
        (told,) = disagreements(placement, parse_back(definition("g", text.replace(pin, other))))
        assert told.startswith("I/O threads: ")


@pytest.mark.parametrize(
    ("count", "listed"), [("many", []), ("-1", []), (str(10**9), []), (None, [None]), (None, ["x"])]
)
def test_what_is_no_count_or_id_is_refused(count: str | None, listed: list[str | None]) -> None:
    """A typed error, not a traceback."""
    with pytest.raises(SourceMalformedError, match="iothread"):
        iothread_ids(count, listed, origin="t")
