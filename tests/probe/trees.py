"""Made-up Linux trees in a folder, for what no recording has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SYSTEM = "sys/devices/system"


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write each file below `root`; gives back `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
    return root


def host_files(*, nodes: int, cpus_per_node: int, memory_kib: int = 1024**2) -> dict[str, str]:
    """A host of single-thread cores, a package and an L3 a node, CPU ids counted through the nodes."""
    count = nodes * cpus_per_node
    files = {f"{SYSTEM}/cpu/{name}": f"0-{count - 1}" for name in ("online", "present")}
    files[f"{SYSTEM}/node/online"] = f"0-{nodes - 1}"
    for cpu in range(count):
        node, folder = cpu // cpus_per_node, f"{SYSTEM}/cpu/cpu{cpu}"
        first = node * cpus_per_node
        files |= {
            f"{folder}/topology/physical_package_id": str(node),
            f"{folder}/topology/thread_siblings_list": str(cpu),
            f"{folder}/cache/index3/level": "3",
            f"{folder}/cache/index3/size": "16384K",
            f"{folder}/cache/index3/shared_cpu_list": f"{first}-{first + cpus_per_node - 1}",
        }
    for node in range(nodes):
        folder, first = f"{SYSTEM}/node/node{node}", node * cpus_per_node
        files |= {
            f"{folder}/cpulist": f"{first}-{first + cpus_per_node - 1}",
            f"{folder}/distance": " ".join("10" if other == node else "20" for other in range(nodes)),
            f"{folder}/meminfo": f"Node {node} MemTotal: {memory_kib} kB\nNode {node} MemFree: {memory_kib // 2} kB",
        }
    return files
