"""Runs one command to its end, capped and with a time limit; the one way in which anything is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probe.errors import SourceUnreadableError
from probe.limits import ReadLimits

if TYPE_CHECKING:
    from subprocess import Popen

COMMAND_TIMEOUT_S = 60.0
_COMPLAINT_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that came to its end.

    Attributes:
        status: its exit status; negative where a signal ended it.
        complaint: the beginning of its standard error, which says nothing of success: xl warns there.
    """

    status: int
    output: str
    complaint: str


class CommandUnfinishedError(SourceUnreadableError):
    """It was started and then ended by us, too slow or too talkative: what it did is not known."""


def run_command(
    argv: Sequence[str], *, limits: ReadLimits, timeout_s: float = COMMAND_TIMEOUT_S, missing: str = ""
) -> str:
    """The standard output of `argv`, in the C locale.

    `missing` is the advice when the program is not installed.

    Raises:
        SourceUnreadableError: not installed, failed, too slow, or more than `limits.file_bytes`.
    """
    ended = run_to_end(argv, limits=limits, timeout_s=timeout_s, missing=missing)
    if ended.status != 0:
        lines = ended.complaint.splitlines()
        last = lines[-1] if lines else f"exit status {ended.status}"
        raise SourceUnreadableError(" ".join(argv), last, advice=advice_on(ended.complaint))
    return ended.output


def run_to_end(
    argv: Sequence[str],
    *,
    limits: ReadLimits,
    timeout_s: float = COMMAND_TIMEOUT_S,
    missing: str = "",
    stdin: bytes = b"",
) -> Ended:
    """How `argv` ended, in the C locale, whatever its exit status.

    Raises:
        SourceUnreadableError: it is not installed, so nothing was run.
        CommandUnfinishedError: too slow, or more than `limits.file_bytes`.
    """
    import subprocess
    import tempfile
    from threading import Timer

    origin = " ".join(argv)
    if shutil.which(argv[0]) is None:
        raise SourceUnreadableError(origin, f"{argv[0]} is not installed", advice=missing)
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            argv,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "LC_ALL": "C"},
            process_group=0,
        )
        clock = Timer(timeout_s, _kill, [process])
        clock.start()
        try:
            with process:
                output = process.stdout.read(limits.file_bytes + 1) if process.stdout else b""
                if len(output) > limits.file_bytes:
                    _kill(process)
        except BaseException:
            _kill(process)
            raise
        finally:
            too_slow = clock.finished.is_set()
            clock.cancel()
        errors.seek(0)
        complaint = errors.read(_COMPLAINT_BYTES).decode("utf-8", "replace").strip()
    if len(output) > limits.file_bytes:
        raise CommandUnfinishedError(origin, f"it printed more than {limits.file_bytes} bytes")
    if too_slow:
        raise CommandUnfinishedError(origin, f"no end after {timeout_s:g} s")
    return Ended(status=process.returncode, output=output.decode("utf-8", "replace"), complaint=complaint)


def _kill(process: Popen[bytes]) -> None:
    """End it with all that it started: a shell's own child would hold its output open."""
    with suppress(ProcessLookupError):
        if process.returncode is None:
            os.killpg(process.pid, 9)


def advice_on(complaint: str) -> str:
    text = complaint.lower()
    if "permission denied (" in text or "host key verification failed" in text:
        return "Maybe try it by hand once: `ssh HOST true` must work without a password."
    if "permission denied" in text or "privcmd" in text or "libxl_ctx" in text:
        return "Maybe it needs root, and a host that was booted with Xen."
    if "could not resolve" in text or "connection refused" in text or "timed out" in text:
        return "Maybe the host's name or port is wrong, or it is down."
    return ""
