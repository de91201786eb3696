"""An `xl` and an `ssh` that stand first in PATH: the executor's shell, words and files are real, only Xen is not.

`xl` answers what it was told for its arguments and writes each call down. An answer can change what
is answered afterwards, as `xl create` changes `xl list`. `ssh` runs its last word as sshd does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "data/xl"
"""What the lab's xl printed (tests/data/README.md)."""

IN_PLACE, MISPLACED, SPILLED = (
    "e1d7b8e2-b6dd-5556-865d-90a4f34dc9f9",
    "64be9091-88e8-5476-996b-8b541f7bf3e5",
    "6e6379c1-16cd-5eef-97f5-8b2fee72513e",
)
"""The guests of the recording: `on-n2` runs (domain 5), `string` (6) and `spill` (7) are paused."""

_XL = """\
#!/bin/sh
echo "$*" >> {folder}/calls
answer={folder}/$(echo "$*" | tr ' /' '_-')
[ -d "$answer" ] || {{ echo "xl: unexpected: $*" >&2; exit 99; }}
cat "$answer/out"; cat "$answer/err" >&2; status=$(cat "$answer/status")
[ -d "$answer/then" ] && cp -r "$answer/then/." {folder}
exit "$status"
"""
_SSH = """\
#!/bin/sh
while [ $# -gt 1 ]; do shift; done
exec sh -c "$1"
"""
_SSH_THAT_BREAKS = """\
#!/bin/sh
while [ $# -gt 1 ]; do shift; done
head -c {count} > {folder}/given
[ -n "$(head -c 1)" ] || exec sh -c "$1" < {folder}/given
sh -c "$1" < {folder}/given
echo "client_loop: send disconnect: Broken pipe" >&2
exit 255
"""


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def rows(*uuids: str, pause: bool = False) -> str:
    """The recorded `xl list -v` with dom0 and these guests only; `pause`: all of them paused."""
    heading, dom0, *guests = recorded("xl-list-v.txt").splitlines(keepends=True)
    kept = [row for row in guests if any(uuid in row for uuid in uuids)]
    return heading + dom0 + "".join(row.replace("r-----", "--p---") if pause else row for row in kept)


@dataclass(frozen=True, slots=True)
class FakeXl:
    """`folder` has the programs in `bin`; `definitions` is where the executor keeps its files."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> FakeXl:
        fake = cls(folder)
        (folder / "bin").mkdir()
        fake._program("xl", _XL.format(folder=folder))
        fake._program("ssh", _SSH)
        fake.says("list", rows())
        fake.lists(rows())
        return fake

    @property
    def definitions(self) -> Path:
        return self.folder / "kept" / "xl"

    @property
    def calls(self) -> list[str]:
        """What xl was asked since the last look at this, without the mere looks."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("list")]

    def breaks_after(self, count: int) -> None:
        """From now on a connection is lost when it has carried so many bytes of standard input."""
        self._program("ssh", _SSH_THAT_BREAKS.format(folder=self.folder, count=count))

    def _program(self, name: str, text: str) -> None:
        program = self.folder / "bin" / name
        program.write_text(text)
        program.chmod(0o755)

    def says(
        self, arguments: str, out: str = "", *, err: str = "", status: int = 0, then: FakeXl | None = None
    ) -> None:
        """Answer these arguments so; `then` has the answers that change when it has been asked."""
        answer = self.folder / arguments.replace(" ", "_").replace("/", "-")
        answer.mkdir(parents=True, exist_ok=True)
        (answer / "out").write_text(out)
        (answer / "err").write_text(err)
        (answer / "status").write_text(str(status))
        if then is not None:
            then.folder.rename(answer / "then")

    def lists(self, table: str) -> None:
        """What Xen has: all of it, and each domain alone, as `xl list -v` shows it."""
        self.says("list -v", table)
        heading, *domains = table.splitlines(keepends=True)
        for row in domains:
            self.says(f"list -v {row.split()[1]}", heading + row)

    def later(self, table: str) -> FakeXl:
        """Answers to put into a `then`."""
        fake = FakeXl(self.folder / "later")
        fake.lists(table)
        return fake
