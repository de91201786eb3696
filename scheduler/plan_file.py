"""The plan file: everything `apply` needs except how hosts are reached.

It holds the plan, the requests, the texts of the templates and, for each host, a name with the
fingerprint and the age of the snapshot that was planned on. It holds no URI: those come from the
hosts file or `--host` only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from policies.objective import DEFAULT_OBJECTIVE, Objective, ObjectiveInvalidError, parse_objective
from policies.plan import Plan
from policies.plan_json import plan_from_json, plan_to_json
from policies.request import HostName, RequestInvalidError
from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from scheduler.files.document import read_own_file
from scheduler.files.fleet_file import FleetGuest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHost:
    """A host that was planned on.

    Attributes:
        fingerprint: `HostTopology.fingerprint()`; `apply` refuses a host with another.
        taken_at: when its snapshot was taken, aware UTC.
    """

    name: HostName
    fingerprint: str
    taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A plan with its questions.

    Attributes:
        templates: the name in `FleetGuest.template` to its text.
        hypothetical: the changes (`--what-if`) after which the fleet would be as it was planned on; such a plan
            is not applied. Empty for a plan of the fleet as it is.
    """

    plan: Plan
    guests: tuple[FleetGuest, ...]
    hosts: tuple[PlanHost, ...]
    templates: Mapping[str, str] = field(default_factory=dict)
    hypothetical: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        """What the plan aimed at, by the names of its tiers; the default where these are no terms of ours.

        Reference flavours are not kept: the largest guest stands for them.
        """
        try:
            return parse_objective(", ".join(tier.name for tier in self.plan.objective))
        except ObjectiveInvalidError:
            return DEFAULT_OBJECTIVE


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="ignore"))
class _Questions:
    guests: tuple[FleetGuest, ...]
    hosts: tuple[PlanHost, ...]
    templates: dict[str, str]
    hypothetical: tuple[str, ...] = ()


_QUESTIONS = TypeAdapter(_Questions)


def plan_file_to_json(file: PlanFile) -> dict[str, Any]:
    """The contract of `plan --output json`, and beside it "guests", "hosts" and "templates".

    "hypothetical" stands there only where it says something: the hash of any other plan is as it was without it.
    """
    questions = _Questions(
        guests=file.guests, hosts=file.hosts, templates=dict(file.templates), hypothetical=file.hypothetical
    )
    told = _QUESTIONS.dump_python(questions, mode="json")
    if not file.hypothetical:
        del told["hypothetical"]
    return {**plan_to_json(file.plan), **told}


def plan_hash(file: PlanFile) -> str:
    """Tells in the books which plan a claim is from."""
    return hashlib.sha256(json.dumps(plan_file_to_json(file), sort_keys=True).encode()).hexdigest()[:16]


def plan_file_from_json(value: Any, *, origin: str) -> PlanFile:
    """Read a plan file back.

    Raises:
        SourceMalformedError: it is not one, or a decision has no request.
    """
    plan = plan_from_json(value, origin=origin)
    try:
        told = {key: value.get(key) for key in ("guests", "hosts", "templates")}
        told |= {key: value[key] for key in ("hypothetical",) if key in value}
        questions = _QUESTIONS.validate_json(json.dumps(told))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(step) for step in first["loc"])
        raise SourceMalformedError(f"{origin}: {key}", first["msg"], first["input"]) from error
    except RequestInvalidError as error:
        raise SourceMalformedError(f"{origin}: guests", "requests that can be placed", error.message) from error
    asked = [guest.request.name for guest in questions.guests]
    decided = [decision.guest for decision in plan.decisions]
    if asked != decided:
        raise SourceMalformedError(f"{origin}: decisions", f"one for each of {asked[:3]} …, in order", decided[:3])
    return PlanFile(
        plan=plan,
        guests=questions.guests,
        hosts=questions.hosts,
        templates=questions.templates,
        hypothetical=questions.hypothetical,
    )


def read_plan_file(path: Path, *, limits: ReadLimits = DEFAULT_LIMITS) -> PlanFile:
    """Read the file that `numaplace plan -o` wrote."""
    text = read_own_file(path, limits=limits)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceMalformedError(str(path), "a plan that `numaplace plan -o` wrote (JSON)", error) from error
    return plan_file_from_json(value, origin=str(path))
