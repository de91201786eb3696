"""What takes minutes to build is built once, outside the tree, and found again by what it is made of."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE = Path(os.environ.get("NUMAPLACE_LAB_CACHE") or Path.home() / ".cache/numaplace-lab")

log = logging.getLogger("lab")


def built(name: str, inputs: str, build: Callable[[Path], None]) -> Path:
    """The folder that `build` filled; `inputs` is all that decides what is in it.

    Processes that want the same thing wait for the one that builds it. A build that fails leaves nothing.
    """
    folder = CACHE / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            unfinished = CACHE / f"{folder.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            log.info("%s: is made, the first time (a minute or two) …", name)
            build(unfinished)
            unfinished.rename(folder)
    return folder
