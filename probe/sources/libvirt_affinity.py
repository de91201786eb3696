"""Which pCPUs the vCPUs of a running domain may really use: `virDomainGetVcpus`.

libvirt-python's `vcpus()` asks `virNodeGetCPUMap` for the number of pCPUs first, which the Xen
driver does not have, so it fails there for every domain (seen with libvirt 9.0 on Xen 4.17). The
C function that it stands for works, and on Xen nothing else tells the truth.
"""

from __future__ import annotations

import ctypes
from typing import Any

from probe.cpuset import CpuSet

_MAP_BYTES = 1024
"""Room for 8,192 pCPUs; what libvirt does not fill stays zero."""


class _VcpuInfo(ctypes.Structure):
    """`virVcpuInfo` (libvirt-domain.h)."""

    _fields_ = (
        ("number", ctypes.c_uint),
        ("state", ctypes.c_int),
        ("cpu_time", ctypes.c_ulonglong),
        ("cpu", ctypes.c_int),
    )


def vcpu_affinities(libvirt: Any, domain: Any) -> tuple[CpuSet, ...]:
    """The affinity of each vCPU, in their order.

    Raises:
        libvirt.libvirtError: the call failed.
    """
    count = domain.info()[3]
    infos, maps = (_VcpuInfo * count)(), (ctypes.c_ubyte * (count * _MAP_BYTES))()
    found = ctypes.CDLL("libvirt.so.0").virDomainGetVcpus(domain_pointer(domain), infos, count, maps, _MAP_BYTES)
    if found < 0:
        raise libvirt.libvirtError("virDomainGetVcpus() failed")
    raw = bytes(maps)
    return tuple(_cpus(raw[vcpu * _MAP_BYTES : (vcpu + 1) * _MAP_BYTES]) for vcpu in range(found))


def domain_pointer(domain: Any) -> ctypes.c_void_p:
    """The `virDomainPtr` inside libvirt-python's object."""
    of_capsule = ctypes.pythonapi.PyCapsule_GetPointer
    of_capsule.restype, of_capsule.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.c_void_p(of_capsule(domain._o, b"virDomainPtr"))


def _cpus(mask: bytes) -> CpuSet:
    """A mask with the lowest CPU in the lowest bit of the first byte."""
    bits = int.from_bytes(mask, "little")
    return CpuSet(frozenset(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1))
