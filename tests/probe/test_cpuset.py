"""Sets of ids: text ↔ set in every dialect, and sets of two kinds that do not mix."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import MAX_ID, CpuSet, NodeSet

sets = st.frozensets(st.integers(0, 4200), max_size=60).map(CpuSet)


@given(sets)
def test_text_and_set_round_trip(cpus: CpuSet) -> None:
    """What is printed is read back as the same set."""
    assert cpus == CpuSet.parse(str(cpus))


@given(sets)
def test_mask_and_set_round_trip(cpus: CpuSet) -> None:
    """A sysfs mask of 32-bit words says the same."""
    value = sum(1 << i for i in cpus)
    words = [f"{value >> 32 * i & 0xFFFFFFFF:08x}" for i in range(max(1, (value.bit_length() + 31) // 32))]
    assert cpus == CpuSet.parse_mask(",".join(reversed(words)))


@given(sets)
def test_the_text_is_the_shortest(cpus: CpuSet) -> None:
    """Neighbouring ids share a range: printing sorts and merges."""
    scattered = ",".join(str(i) for i in sorted(cpus.ids, reverse=True))
    assert str(cpus) == str(CpuSet.parse(scattered))
    ends = [part.split("-")[-1] for part in str(cpus).split(",") if part]
    assert all(int(end) + 1 not in cpus for end in ends)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("0-3,8\n", [0, 1, 2, 3, 8]),
        ("0-7\n\0", list(range(8))),
        ("0-3,^2,8", [0, 1, 3, 8]),
        ("^2,0-3", [0, 1, 2, 3]),
        ("0-7:2/4", [0, 1, 4, 5]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_dialects_are_read(text: str, ids: list[int]) -> None:
    """Linux, an ARM kernel's NUL, libvirt's exclusion (order matters), the kernel's strides."""
    assert ids == list(CpuSet.parse(text))


@pytest.mark.parametrize(
    "text", ["a", "3-1", "1-", "-1", "0-99999999999", f"{MAX_ID + 1}", "0-3:4/2", "0-3:0/4", "²", "1;2"]
)
def test_what_is_no_list_is_refused(text: str) -> None:
    """Nothing is guessed, and nothing huge is expanded."""
    with pytest.raises(ValueError, match="CpuSet"):
        CpuSet.parse(text)


def test_pcpus_and_nodes_do_not_mix() -> None:
    """A pCPU is no node, also for an operator."""
    with pytest.raises(TypeError, match="do not mix"):
        CpuSet.of(0) | NodeSet.of(0)  # type: ignore[operator]
    assert CpuSet.of(0) != NodeSet.of(0)


@given(sets, sets)
def test_operators_are_those_of_sets(one: CpuSet, other: CpuSet) -> None:
    """Union, intersection, difference and inclusion are the sets' own."""
    assert one.ids | other.ids == (one | other).ids
    assert one.ids & other.ids == (one & other).ids
    assert one.ids - other.ids == (one - other).ids
    assert (one.ids <= other.ids) == (one <= other)
    assert one.ids.isdisjoint(other.ids) == one.isdisjoint(other)
