"""Guests for the lab, as templates."""

from __future__ import annotations

KVM = """\
<domain type='qemu'>
  <name>{name}</name>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>/lab/touch.elf</kernel></os>
  <on_crash>destroy</on_crash>
  <devices>
    <serial type='file'><source path='/tmp/{name}.log'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
"""Writes to all of its memory, says so in /tmp/NAME.log of the host, and idles."""

KERNEL = "/lab/touch.elf"
"""The same as a PVH guest of Xen, which places all memory at creation: it idles. (GRUB alone would spin.)"""
