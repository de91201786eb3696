"""`python -m tests.lab [--build] [HOST…]`: boots hosts of the lab and keeps them until Ctrl-C, to look around.

With `--build` it only makes what is missing in the cache.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from tests.lab.debian import LabError
from tests.lab.lab import Lab, saved_state
from tests.lab.shapes import SHAPES


def main(names: list[str]) -> int:
    """Boot, say how each is reached, wait."""
    build_only = "--build" in names
    names = [name for name in names if name != "--build"] or list(SHAPES)
    if unknown := set(names) - set(SHAPES):
        print(f"unknown: {', '.join(sorted(unknown))}; the hosts are {', '.join(SHAPES)}", file=sys.stderr)
        return 2
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        if build_only:
            for name in names:
                saved_state(SHAPES[name])
            return 0
        with Lab() as lab, suppress(KeyboardInterrupt):
            lab.start(*names)
            _describe(lab)
            while True:
                time.sleep(1)
                for host in lab.hosts.values():
                    host.machine.check_alive()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _describe(lab: Lab) -> None:
    print(f"\nIn another shell:\n  export PATH={lab.bin}:$PATH")
    for name, host in lab.hosts.items():
        print(f"  ssh root@{name}")
        print(f"  virsh -c {host.libvirt_uri} list --all")
        print(f"  numaplace probe --host {host.libvirt_uri}")
    print("Ctrl-C ends them; nothing of what was done there is kept.", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
