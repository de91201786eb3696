"""The kinds of value that stand in fleet and hosts files: sizes, CPU sets, ratios."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from policies.asked import PCI_ADDRESS
from probe.cpuset import CpuSet
from probe.units import parse_size_kib


class Entry(BaseModel):
    """A mapping in a file: unknown keys are errors, and `1` is not "1"."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


def _size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a size such as '8GiB'")
    if value == 0:
        return 0
    return parse_size_kib(value)


def _cpus(value: Any) -> CpuSet:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected CPUs such as '0-3,8'")
    try:
        return CpuSet.parse(str(value))
    except ValueError as error:
        raise ValueError("expected CPUs such as '0-3,8'") from error


def _ratio(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a ratio such as 1.5")
    ratio = Fraction(str(value))
    if not 0 < ratio <= 1000 or ratio.denominator > 1000:
        raise ValueError("expected a ratio over 0 and at most 1000, with at most three decimals")
    return ratio


class DeviceEntry(Entry):
    """One PCI device under `devices`."""

    address: str = Field(pattern=PCI_ADDRESS.pattern, description="PCI address, e.g. 0000:3b:00.0")
    near: Literal["node", "package"] = Field(default="node", description="the device's node, or its package")
    must: bool = Field(default=True, description="false: a wish")


def _page_size(value: Any) -> int | str:
    return "largest" if value == "largest" else _size(value)


_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> int:
    text = str(value).strip()
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_S or not number.isdecimal() or not 0 < int(number) <= 10_000_000:
        raise ValueError("expected a duration such as 90m, 12h or 30d")
    return int(number) * _UNITS_S[unit]


def _source(value: Any) -> Any:
    """YAML reads a bare `sysfs:` as a mapping with the key `sysfs` and no value."""
    if isinstance(value, dict) and len(value) == 1 and None in value.values():
        return f"{next(iter(value))}:"
    return value


Source = Annotated[str, BeforeValidator(_source)]
SizeKib = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+ ?([KMGT]iB|[KMGT])$"}),
]
PageSize = Annotated[
    int | Literal["largest"],
    BeforeValidator(_page_size),
    WithJsonSchema({"enum": ["4KiB", "2MiB", "1GiB", "largest"]}),
]
DurationS = Annotated[int, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+[smhd]$"})]
Cpus = Annotated[CpuSet, BeforeValidator(_cpus), WithJsonSchema({"type": "string", "examples": ["0-3,8"]})]
Ratio = Annotated[Fraction, BeforeValidator(_ratio), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
