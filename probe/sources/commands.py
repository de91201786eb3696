"""Runs one fixed command and gives its output, capped and with a time limit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from probe.errors import SourceUnreadableError
from probe.limits import ReadLimits

COMMAND_TIMEOUT_S = 60.0


def run_command(
    argv: Sequence[str], *, limits: ReadLimits, timeout_s: float = COMMAND_TIMEOUT_S, missing: str = ""
) -> str:
    """The standard output of `argv`, in the C locale.

    `missing` is the advice when the program is not installed.

    Raises:
        SourceUnreadableError: not installed, failed, too slow, or more than `limits.file_bytes`.
    """
    import subprocess
    import tempfile
    from threading import Timer

    origin = " ".join(argv)
    if shutil.which(argv[0]) is None:
        raise SourceUnreadableError(origin, f"{argv[0]} is not installed", advice=missing)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "LC_ALL": "C"},
        )
        clock = Timer(timeout_s, process.kill)
        clock.start()
        with process:
            output = process.stdout.read(limits.file_bytes + 1) if process.stdout else b""
            if len(output) > limits.file_bytes:
                process.kill()
        too_slow = clock.finished.is_set()
        clock.cancel()
        errors.seek(0)
        complaint = errors.read(4096).decode("utf-8", "replace").strip()
    if len(output) > limits.file_bytes:
        raise SourceUnreadableError(origin, f"it printed more than {limits.file_bytes} bytes")
    if too_slow:
        raise SourceUnreadableError(origin, f"no end after {timeout_s:g} s")
    if process.returncode != 0:
        last = complaint.splitlines()[-1] if complaint else f"exit status {process.returncode}"
        raise SourceUnreadableError(origin, last, advice=_advice(complaint))
    return output.decode("utf-8", "replace")


def _advice(complaint: str) -> str:
    text = complaint.lower()
    if "permission denied (" in text or "host key verification failed" in text:
        return "Maybe try it by hand once: `ssh HOST true` must work without a password."
    if "permission denied" in text or "privcmd" in text or "libxl_ctx" in text:
        return "Maybe it needs root, and a host that was booted with Xen."
    if "could not resolve" in text or "connection refused" in text or "timed out" in text:
        return "Maybe the host's name or port is wrong, or it is down."
    return ""
