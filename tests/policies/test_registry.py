"""Policies by name: ours, a file's, a package's; and the ten lines of policies/README.md."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from policies import registry
from policies.check import violations
from policies.fleet import Fleet
from policies.plan import Placement
from policies.policy import Effort
from policies.registry import BUILTIN, describe_policies, load_policy
from policies.request import GuestName, GuestRequest
from probe.errors import BadInputError
from tests.policies.hosts import GIB_KIB, host_of

README = Path(registry.__file__).with_name("README.md")
FLEET = Fleet.of([host_of("small", memory_gib=4), host_of("large", memory_gib=8)])


def ask(name: str = "a") -> GuestRequest:
    return GuestRequest(name=GuestName(name), vcpus=1, memory_kib=GIB_KIB)


def test_every_builtin_policy_loads_and_places_a_guest():
    """By the name that `numaplace policies` prints, in the order of the README's table."""
    assert list(BUILTIN) == list(describe_policies())[: len(BUILTIN)]
    for name in BUILTIN:
        (decision,) = load_policy(name)([ask()], FLEET, Effort(time_limit_s=5)).decisions
        assert isinstance(decision, Placement), name
        assert f"`{name}`" in README.read_text()


def test_an_unknown_name_is_answered_with_the_known_ones():
    """A typo never becomes another policy."""
    with pytest.raises(BadInputError, match="no policy is called 'best_fit'; known are solver, first-fit, best-fit"):
        load_policy("best_fit")


def test_the_ten_lines_of_the_readme_are_a_policy(tmp_path: Path):
    """Loaded from a file as `FILE.py:NAME`; sound, and it does what it says."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    file = tmp_path / "mine.py"
    file.write_text(code)
    answer = load_policy(f"{file}:most_room")([ask("a"), ask("b")], FLEET, Effort())
    assert violations(answer.decisions, [ask("a"), ask("b")], FLEET) == ()
    assert ["large", "large"] == [d.host for d in answer.decisions if isinstance(d, Placement)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "no such policy file"),
        ("def other(): ...\n", "there is no policy called 'mine'"),
        ("mine = 3\n", "there is no policy called 'mine'"),
        ("1 / 0\n", "the policy file does not run: ZeroDivisionError"),
        ("def mine(:\n", "the policy file does not run: SyntaxError"),
    ],
)
def test_a_file_that_holds_no_policy_is_a_typed_error(tmp_path: Path, text: str | None, complaint: str):
    """It names the file and what is wrong with it."""
    file = tmp_path / "p.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInputError, match=complaint) as caught:
        load_policy(f"{file}:mine")
    assert str(file) in str(caught.value)


def test_a_file_may_define_dataclasses(tmp_path: Path):
    """They look their module up by name while they are made."""
    file = tmp_path / "p.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass(slots=True)\nclass Weight:\n    of: int\n\ndef mine(requests, fleet, effort): ...\n"
    )
    assert callable(load_policy(f"{file}:mine"))


def test_an_installed_package_offers_policies(monkeypatch: pytest.MonkeyPatch):
    """Through the entry-point group; one that does not load is a typed error."""
    good = EntryPoint(name="theirs", value="policies.greedy:worst_fit", group=registry.ENTRY_POINTS)
    bad = EntryPoint(name="broken", value="no_such_module_anywhere:x", group=registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [good, bad])
    assert describe_policies()["theirs"] == "from policies.greedy:worst_fit"
    assert callable(load_policy("theirs"))
    with pytest.raises(BadInputError, match="policy 'broken' cannot be loaded from no_such_module_anywhere:x"):
        load_policy("broken")
