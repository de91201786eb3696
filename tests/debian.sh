#!/bin/sh
# The Debian packages that the tests use: a real libvirtd with QEMU, Xen's reader of xl.cfg, and what builds
# libvirt-python. With the word `lab`: those that build and run the labs too.
# As root, or with sudo that asks nothing, they are installed; else it is said what to install.
set -eu
packages="libvirt-daemon-system libvirt-clients libvirt-daemon-driver-xen libxml2-utils libvirt-dev qemu-system-x86 gcc pkg-config python3-dev openssh-client openssh-server busybox"
[ "${1:-}" != lab ] || packages="$packages mmdebstrap kmod e2fsprogs cpio qemu-utils"

if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system: the tests of a real libvirtd need these packages' likes: $packages" >&2
    exit 0
fi
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then as_root=""
elif sudo -n true 2>/dev/null; then as_root="sudo"
else
    echo "Not root and no sudo: the tests of a real libvirtd are skipped. To run them: apt-get install$missing" >&2
    exit 0
fi
echo "Installing Debian packages:$missing …"
log=$(mktemp)
if ! { $as_root apt-get update -q && DEBIAN_FRONTEND=noninteractive \
       $as_root apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get failed; the tests of a real libvirtd will be skipped, or fail under CI." >&2
fi
rm -f "$log"
