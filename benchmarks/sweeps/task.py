"""What a worker is asked: one row, in names and texts only, so that any machine can measure it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from benchmarks.rows import Key, Row, told_options

POLICY = "policy_file"
"""In `Row.versions`: a hash of the file of a policy of the user's own."""

Setting = int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A row to measure.

    Attributes:
        scenario: its name; of the user's own, the path of its file.
        scenario_text: of that file; "" where the scenario comes with numaplace.
        digest: of the scenario where the sweep was started; a worker whose data differ must not measure.
        policy: as `--policy` takes it, or `place-one`.
        policy_text: of the user's own file; "" where the policy is in none.
        settings: `options_of` makes options of them; those that are not given are as usual.
        options: those that are not as usual, as the row tells them.
        checkpoint: a file from which the row goes on if it was stopped; "" for none.
        command: what measures this row again.
    """

    scenario: str
    scenario_text: str = ""
    digest: str
    policy: str
    policy_text: str = ""
    seed: int
    settings: Mapping[str, Setting] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str = ""
    command: str = ""

    @property
    def key(self) -> Key:
        """Of the row that it comes to."""
        return Key(self.scenario, self.policy, self.seed, told_options(self.options))

    @property
    def versions(self) -> dict[str, str]:
        """What `Row.versions` tells beside what the simulator does."""
        return {POLICY: hashlib.sha256(self.policy_text.encode()).hexdigest()[:16]} if self.policy_text else {}

    def is_measured_by(self, row: Row) -> bool:
        """Whether the row is of this very scenario, policy and options."""
        is_of_policy = row.versions.get(POLICY) == self.versions.get(POLICY)
        return row.key == self.key and row.digest == self.digest and is_of_policy

    def to_text(self) -> str:
        """As `task_of` reads it."""
        return json.dumps(asdict(self))


def task_of(text: str) -> Task:
    """The task of its text."""
    return Task(**json.loads(text))
