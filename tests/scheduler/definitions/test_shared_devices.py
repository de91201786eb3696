"""Two guests of a batch share no writable disk and no MAC, whatever their definitions call it."""

from __future__ import annotations

import pytest

from scheduler.definitions.shared_devices import SharedDeviceError, check_shared_devices
from scheduler.executors.port import DefinitionKind, DomainDefinition
from tests.scheduler.definitions.made import KVM, XL, definition

WRITABLE = {
    "file": "<disk type='file'><source file='/srv/a'/></disk>",
    "block": "<disk type='block' device='lun'><source dev='/dev/sdb'/></disk>",
    "folder": "<disk type='dir' device='floppy'><source dir='/srv/fat'/></disk>",
    "volume": "<disk type='volume'><source pool='p' volume='v'/></disk>",
    "rbd": "<disk type='network'><source protocol='rbd' name='p/i'><host name='m1'/></source></disk>",
    "nbd": "<disk type='network'><source protocol='nbd'><host name='n' port='10809'/></source></disk>",
    "nbd socket": "<disk type='network'><source protocol='nbd'><host transport='unix' socket='/s'/></source></disk>",
    "nvme": "<disk type='nvme'><source type='pci' namespace='1'><address domain='0x0' bus='0x1'/></source></disk>",
    "vhost-user": "<disk type='vhostuser'><source type='unix' path='/run/a.sock'/></disk>",
    "vdpa": "<disk type='vhostvdpa'><source dev='/dev/vhost-vdpa-0'/></disk>",
    "MAC": "<interface><mac address='52:54:00:AA:00:01'/></interface>",
}
HARMLESS = {
    "shareable": "<disk type='file'><source file='/srv/a'/><shareable/></disk>",
    "read-only": "<disk type='file'><source file='/srv/a'/><readonly/></disk>",
    "CD": "<disk type='file' device='cdrom'><source file='/srv/a.iso'/></disk>",
    "empty CD": "<disk type='file' device='cdrom'/>",
    "transient": "<disk type='file'><source file='/srv/a'/><transient shareBacking='yes'/></disk>",
    "backing": "<disk><source file='/srv/{}'/><backingStore><source file='/base'/></backingStore></disk>",
    "no MAC": "<interface type='user'/>",
    "another volume": "<disk type='volume'><source pool='p' volume='{}'/></disk>",
    "another server": "<disk type='network'><source protocol='nbd'><host name='{}'/></source></disk>",
}


def domain(name: str, devices: str) -> DomainDefinition:
    return definition(name, f"<domain><devices>{devices}</devices></domain>")


def check(*definitions: DomainDefinition, hosts: tuple[str, str] = ("h", "h")) -> None:
    check_shared_devices(zip(hosts, definitions, strict=True))


@pytest.mark.parametrize("device", WRITABLE.values(), ids=WRITABLE.keys())
def test_every_kind_of_writable_disk_has_one_guest(device: str) -> None:
    """Files, devices, volumes, names on servers, sockets; and MACs."""
    with pytest.raises(SharedDeviceError, match=r"guests a and b share the (writable disk|MAC address) "):
        check(domain("a", device), domain("b", device))
    check(domain("a", device * 2), domain("b", ""))


@pytest.mark.parametrize("device", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_may_be_shared_is_no_error(device: str) -> None:
    """Read-only, shareable, empty, or not the same."""
    check(domain("a", device.format("a")), domain("b", device.format("b")))


@pytest.mark.parametrize("harmless", ["shareable", "read-only"])
def test_a_disk_that_one_guest_writes_alone_is_not_anothers_to_read(harmless: str) -> None:
    """In either order."""
    guests = domain("a", WRITABLE["file"]), domain("b", HARMLESS[harmless])
    for pair in (guests, guests[::-1]):
        with pytest.raises(SharedDeviceError):
            check(*pair)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WRITABLE["file"], "<disk type='block'><source dev='/srv//./a'/></disk>"),
        (WRITABLE["MAC"], "<interface><mac address='52:54:0:aa:0:1'/></interface>"),
        (WRITABLE["rbd"], WRITABLE["rbd"].replace("m1", "m2")),
    ],
)
def test_one_device_written_in_two_ways_is_one_device(one: str, other: str) -> None:
    """Paths with slashes too many, MACs with short octets, another monitor of one Ceph cluster."""
    with pytest.raises(SharedDeviceError):
        check(domain("a", one), domain("b", other))


def test_paths_are_shared_between_hosts_and_pci_addresses_are_not() -> None:
    """Storage may be mounted on both; an NVMe drive is in one."""
    check(domain("a", WRITABLE["nvme"]), domain("b", WRITABLE["nvme"]), hosts=("h1", "h2"))
    with pytest.raises(SharedDeviceError):
        check(domain("a", WRITABLE["file"]), domain("b", WRITABLE["file"]), hosts=("h1", "h2"))


def test_the_firmwares_variables_are_a_writable_disk() -> None:
    """Two guests would write one NVRAM file."""
    guests = [definition(n, "<domain><os><nvram template='/t'>/srv/a.fd</nvram></os></domain>") for n in "ab"]
    with pytest.raises(SharedDeviceError, match=r"writable disk /srv/a\.fd"):
        check(*guests)


@pytest.mark.parametrize(
    ("disk", "shared"),
    [
        ("phy:/dev/x,xvda,w", True),
        ("phy:/dev/x,xvda,r", False),
        ("/a,raw,xvda", True),
        ("/a,raw,xvda,ro", False),
        ("file:/a,hdc:cdrom,w", False),
        ("vdev=xvda, target=rbd:pool/a:id=admin", True),
        ("drbd:web,xvda,w", True),
    ],
)
@pytest.mark.parametrize("form", ["disk = ['{}']\n", "disk = []\ndisk += [\n '{}', # c\n]\n"])
def test_xl_disks_and_macs(disk: str, shared: bool, form: str) -> None:
    """All forms of xl's disks, also where `+=` adds them."""
    guests = [definition(name, form.format(disk), XL) for name in "ab"]
    if shared:
        with pytest.raises(SharedDeviceError):
            check(*guests)
    else:
        check(*guests)


def test_two_of_xls_disks_that_only_end_alike_are_two() -> None:
    """`id=admin` is not the disk."""
    check(*[definition(n, f"disk = ['vdev=xvda, target=rbd:pool/{n}:id=admin']\n", XL) for n in "ab"])


@pytest.mark.parametrize(
    ("kind", "text"), [(KVM, "<domain><devices>{}</devices></domain>"), (XL, "vif = ['mac={}']\n")]
)
def test_a_mac_is_one_guests_on_either_hypervisor(kind: DefinitionKind, text: str) -> None:
    """A KVM guest and a Xen guest with one MAC: refused."""
    mac = "00:16:3e:00:00:01"
    written = f"<interface><mac address='{mac}'/></interface>" if kind is KVM else mac
    with pytest.raises(SharedDeviceError, match="MAC"):
        check(
            definition("a", text.format(written), kind), definition("b", f"vif = ['bridge=x, mac={mac.upper()}']\n", XL)
        )
