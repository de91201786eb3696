"""Xen's own reader of xl.cfg and of its disks (libxlutil), which needs no hypervisor."""

from __future__ import annotations

import ctypes
import ctypes.util
import os

import pytest

XlValue = str | list[str | None]


class XlUtil:
    """`libxlutil` of the installed Xen; what it complains of goes nowhere."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._xlu, libc = library, ctypes.CDLL(None)
        libc.fopen.restype = self._xlu.xlu_cfg_init.restype = ctypes.c_void_p
        self._xlu.xlu_cfg_get_listitem.restype = ctypes.c_char_p
        self._nowhere = ctypes.c_void_p(libc.fopen(os.devnull.encode(), b"w"))

    def _config(self, text: str = "") -> ctypes.c_void_p | None:
        config = ctypes.c_void_p(self._xlu.xlu_cfg_init(self._nowhere, b"test"))
        content = text.encode()
        return None if self._xlu.xlu_cfg_readdata(config, content, len(content)) else config

    def takes(self, text: str) -> bool:
        return self._config(text) is not None

    def value(self, text: str, key: str) -> XlValue | None:
        """A string, or a list with None for a list in it; None: the key is not there."""
        config = self._config(text)
        string, items, count = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_int()
        if not self._xlu.xlu_cfg_get_string(config, key.encode(), ctypes.byref(string), 1):
            return (string.value or b"").decode()
        if self._xlu.xlu_cfg_get_list(config, key.encode(), ctypes.byref(items), ctypes.byref(count), 1):
            return None
        found = [self._xlu.xlu_cfg_get_listitem(items, i) for i in range(count.value)]
        return [None if item is None else item.decode() for item in found]

    def number(self, text: str, key: str) -> int | None:
        found = ctypes.c_long()
        failed = self._xlu.xlu_cfg_get_long(self._config(text), key.encode(), ctypes.byref(found), 1)
        return None if failed else found.value

    def disk(self, spec: str) -> tuple[str | None, str, bool] | None:
        """Target, script, and whether it is writable; None: xl does not take it."""
        specs, disk = (ctypes.c_char_p * 1)(spec.encode()), _Disk()
        if self._xlu.xlu_disk_parse(self._config(), 1, specs, ctypes.byref(disk)):
            return None
        target, script = disk.pdev_path, disk.script
        return None if target is None else target.decode(), (script or b"").decode(), bool(disk.readwrite)


class _Disk(ctypes.Structure):
    """The beginning of `libxl_device_disk` (libxl_types.idl), with room for what follows."""

    _fields_ = [
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("pdev_path", ctypes.c_char_p),
        ("vdev", ctypes.c_char_p),
        ("backend", ctypes.c_int),
        ("format", ctypes.c_int),
        ("script", ctypes.c_char_p),
        ("removable", ctypes.c_int),
        ("readwrite", ctypes.c_int),
        ("is_cdrom", ctypes.c_int),
        ("more", ctypes.c_char * 4096),
    ]


@pytest.fixture(scope="session")
def xlutil() -> XlUtil:
    """Xen's parser; the test is skipped, and says so, where it is not installed."""
    name = ctypes.util.find_library("xlutil")
    if name is None:
        pytest.skip("libxlutil (libvirt-daemon-driver-xen) is not installed")
    return XlUtil(ctypes.CDLL(name))
