"""The kernel's files of a host's QEMU processes: of this machine, or of another over ssh.

Both run the same fixed command in a shell (sh, grep, sed and tr: busybox has them all), once for all
guests; nothing is installed there. Each line comes with its file before it, so that nothing inside a
file can pass for another one. What comes back is untrusted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.commands import run_command
from probe.sources.ssh import SshTarget, ssh_argv

TIMEOUT_S = 300.0
"""The kernel walks the page tables of all guests for numa_maps: seconds for each TiB in small pages."""

MAX_LINES = 20_000
"""Of one file; a QEMU has a few hundred mappings, and what a hostile one adds is cut off."""

_END = "numaplace-end"
_ANY_UUID = "[0-9a-f]???????-????-????-????-????????????"
_CPUSET_FILES = "mems.effective effective_mems"
"""cgroup v2 says `cpuset.mems.effective`, v1 `cpuset.effective_mems`."""


def kernel_command(wanted: str = _ANY_UUID) -> str:
    """What is run: fixed words without a single quote, and at most one checked uuid.

    The shell's `read` leaves out NUL bytes, so "-uuid" and its value stand side by side. The path
    of a cgroup may hold backslashes (`machine-qemu\\x2d1\\x2dNAME.scope`).
    """
    group = (
        f"for k in {_CPUSET_FILES}; do "
        'grep -am1 ^ "sys/fs/cgroup$m${l#*:*:}/cpuset.$k" | sed "s|^|$q/cpuset.$k:|"; done'
    )
    return (
        "exec 2>/dev/null; cd /; LC_ALL=C; export LC_ALL; for q in proc/[0-9]*; do "
        f"a=; read -r a < $q/cmdline; case $a in *-uuid*{wanted}*) ;; *) continue;; esac; "
        'tr "\\0\\n" "\\n " < $q/cmdline | sed "s|^|$q/cmdline:|"; echo; '
        'grep -aHE "^(Name|Cpus_allowed_list|Mems_allowed_list):" $q/task/*/status; '
        f"for f in cgroup maps numa_maps; do grep -aHm{MAX_LINES} ^ $q/$f; done; "
        "while IFS= read -r l; do "
        f"case $l in 0::*) m=;; *:cpuset:*|*:cpuset,*|*,cpuset:*|*,cpuset,*) m=/cpuset;; *) continue;; esac; {group}; "
        f"done < $q/cgroup; done; echo {_END}"
    )


_LINE = re.compile(
    r"proc/(\d{1,10})/(cmdline|cgroup|maps|numa_maps|cpuset\.[a-z._]{1,20}|task/\d{1,10}/status):(.*)",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuFiles:
    """The files of one QEMU process, as they were read.

    Attributes:
        origin: where they were read: "ssh://root@h1: /proc/271".
        lines: name below /proc/PID to its lines; `cpuset.*` are files of its cgroup. A file that
            is not there, is empty, or may not be read, is absent.
    """

    origin: str
    lines: Mapping[str, list[str]] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        lines = self.lines.get(name)
        return None if lines is None else "\n".join(lines)

    @property
    def arguments(self) -> list[str]:
        return self.lines.get("cmdline", [])

    @property
    def uuid(self) -> str | None:
        """libvirt passes `-uuid UUID` (recorded/kvm/*/dom/*.cmdline)."""
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        return next((value for name, value in pairs if name == "-uuid"), None)


def read_qemu_files(
    target: SshTarget | None, uuids: Collection[str], *, limits: ReadLimits = DEFAULT_LIMITS
) -> dict[str, tuple[QemuFiles, ...]]:
    """uuid to the processes that bear it, with one command; `target` None is this machine.

    Raises:
        ValueError: one of `uuids` is none.
        SourceUnreadableError: no ssh, no login there, too slow, too much.
        SourceMalformedError: it sent something else, or only a part.
    """
    wanted = {str(UUID(uuid)) for uuid in uuids}
    command = kernel_command(*wanted) if len(wanted) == 1 else kernel_command()
    argv = ["sh", "-c", command] if target is None else ssh_argv(target, command)
    origin = "this machine" if target is None else f"ssh://{target}"
    found = parse_qemu_files(run_command(argv, limits=limits, timeout_s=TIMEOUT_S), origin=origin)
    return {uuid: tuple(files for files in found if files.uuid == uuid) for uuid in wanted}


def parse_qemu_files(output: str, *, origin: str) -> tuple[QemuFiles, ...]:
    """The processes that `kernel_command` printed.

    Raises:
        SourceMalformedError: a line is of another form, or the end is missing.
    """
    lines = output.split("\n")
    if lines[-2:] != [_END, ""]:
        raise SourceMalformedError(
            origin, "the files of QEMU processes, to their end", output[-80:], advice="Maybe the connection broke off."
        )
    found: dict[int, dict[str, list[str]]] = {}
    for line in filter(None, lines[:-2]):
        match = _LINE.fullmatch(line)
        if match is None:
            advice = "Maybe the login there prints something: ~/.bashrc must be silent without a terminal."
            raise SourceMalformedError(origin, "FILE:LINE of a process", line, advice=advice)
        found.setdefault(int(match[1]), {}).setdefault(match[2], []).append(match[3])
    return tuple(QemuFiles(origin=f"{origin}: /proc/{pid}", lines=files) for pid, files in found.items())
