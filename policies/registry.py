"""Policies by name: ours, those of installed packages, and a function in a file of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import cast

from policies.policy import Policy
from probe.errors import BadInputError

OURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "solver": (
            "policies.solver.solve:solver",
            "CP-SAT over the whole batch and all hosts: most guests, fewest nodes, nearest, fewest hosts; proven",
        ),
        "first-fit": ("policies.greedy:first_fit", "one guest after the other, the first host that holds it"),
        "best-fit": (
            "policies.greedy:best_fit",
            "one guest after the other, the fewest and nearest nodes, of these the least memory left",
        ),
        "worst-fit": (
            "policies.greedy:worst_fit",
            "one guest after the other, the fewest and nearest nodes, of these the most memory left",
        ),
        "round-robin": ("policies.greedy:round_robin", "one guest after the other, the next node that holds it"),
        "random": ("policies.greedy:at_random", "one guest after the other, any host that holds it (--seed)"),
        "unpinned": (
            "policies.greedy:unpinned",
            "the first host that holds it, bound to nothing: what happens without us",
        ),
    }
)
"""Name to where it is and one line about it. A plan of one of these breaks no hard rule."""

PEERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "libxl": ("policies.peers.libxl:libxl", "Xen's xl create: sums over node sets, fewest runnable vCPUs"),
        "xenopsd": ("policies.peers.xenopsd:xenopsd", "XenServer's best effort: the nearest node set by sums"),
        "numad": ("policies.peers.numad:numad", "libvirt's placement='auto': numad's advice, which books nothing"),
        "nova-pack": ("policies.peers.nova:nova_pack", "OpenStack Nova, the fullest nodes of a host first"),
        "nova-spread": ("policies.peers.nova:nova_spread", "OpenStack Nova's default, the emptiest nodes first"),
        "kubelet-best-effort": (
            "policies.peers.kubelet:kubelet_best_effort",
            "Kubernetes: host by sums, then the kubelet's hints",
        ),
        "kubelet-restricted": ("policies.peers.kubelet:kubelet_restricted", "… refusing what is not preferred"),
        "kubelet-single-numa-node": ("policies.peers.kubelet:kubelet_single_numa_node", "… one node or nothing"),
        "kubelet-closest": ("policies.peers.kubelet:kubelet_closest", "… best effort, the closest of equal sets"),
        "ovirt": ("policies.peers.ovirt:ovirt", "oVirt: dedicated pCPUs on the socket with the most free"),
    }
)
"""How others decide, faithfully: what they place may break our rules, and is an error then."""

BUILTIN: Mapping[str, tuple[str, str]] = MappingProxyType({**OURS, **PEERS})
ENTRY_POINTS = "numaplace.policies"


def describe_policies() -> dict[str, str]:
    """Name to one line about it: ours first, then those of installed packages."""
    known = {name: text for name, (_, text) in BUILTIN.items()}
    return {**known, **{p.name: f"from {p.value}" for p in entry_points(group=ENTRY_POINTS)}}


def is_in_a_file(name: str) -> bool:
    """Whether the name is `FILE.py:NAME`: to load such a policy is to run the file."""
    return name.rpartition(":")[0].endswith(".py")


def load_policy(name: str) -> Policy:
    """The policy of this name, or `FILE.py:NAME` for a function in a file.

    A file runs with the rights of its caller: name only files that you would run.

    Raises:
        BadInputError: there is none.
    """
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name][0].partition(":")
        return cast("Policy", getattr(importlib.import_module(module), attribute))
    if is_in_a_file(name):
        path, _, attribute = name.rpartition(":")
        return _from_file(Path(path), attribute)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return _from_entry_point(point)
    raise BadInputError(
        f"no policy is called {name!r}; known are {', '.join(describe_policies())}.",
        advice="Maybe one of your own is meant: FILE.py:NAME (policies/README.md).",
    )


def _from_entry_point(point: EntryPoint) -> Policy:
    try:
        return cast("Policy", point.load())
    except Exception as error:
        raise BadInputError(f"policy {point.name!r} cannot be loaded from {point.value}: {error!r}.") from error


def _from_file(path: Path, attribute: str) -> Policy:
    spec = importlib.util.spec_from_file_location(f"numaplace_policy_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise BadInputError(f"{path}: no such policy file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadInputError(f"{path}: the policy file does not run: {error!r}.") from error
    if not callable(getattr(module, attribute, None)):
        raise BadInputError(f"{path}: there is no policy called {attribute!r}.")
    return cast("Policy", getattr(module, attribute))
