"""Folders and archives that nobody vouches for: nothing outside is read, nothing is unpacked without end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from probe.errors import SourceError, SourceMalformedError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.archive_tree import read_archive
from probe.sources.filetree import DirectoryTree, MemoryTree

MIB = 1024**2
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """An archive of these members; each that has a size holds the begin of `content`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for each in members:
            archive.addfile(each, io.BytesIO(content))
    return buffer.getvalue()


def read(content: bytes, folder: Path, limits: ReadLimits = DEFAULT_LIMITS) -> MemoryTree:
    path = folder / "a.tar"
    path.write_bytes(content)
    return read_archive(path, limits=limits)


HONEST = tar(
    member("a", kind=tarfile.DIRTYPE), member("a/b", size=5), member("a/link", kind=tarfile.SYMTYPE, link="./b"),
    member("a/hard", kind=tarfile.LNKTYPE, link="a/b"), member("./c//d", size=5), member("/e", size=5),
    content=b"hello",
)  # fmt: skip


@pytest.mark.parametrize("packer", PACKERS)
def test_every_packing_gives_the_same_tree(tmp_path: Path, packer: str) -> None:
    """Told apart by the first bytes, not by name; links and odd but harmless spellings are followed."""
    tree = read(PACKERS[packer](HONEST), tmp_path)
    assert tree.list_dir("") == ("a", "c", "e")
    assert tree.list_dir("a") == ("b", "hard", "link")
    assert {tree.read_text(path) for path in ("a/b", "a/link", "a/hard", "c/d", "e")} == {"hello"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "a/..", ".."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_names_that_climb_out_are_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    """Even where the path would end inside; of hard links the target too."""
    with pytest.raises(SourceMalformedError, match="stay inside the archive"):
        read(tar(member(name, kind=kind)), tmp_path)
    with pytest.raises(SourceMalformedError, match="stay inside the archive"):
        read(tar(member("a", kind=tarfile.LNKTYPE, link=name)), tmp_path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "a", "../b/a", "", "x\0y"])
def test_links_lead_nowhere_but_inside(tmp_path: Path, target: str) -> None:
    """Out of the root, round in circles, to nothing: no such file, and no error of Python's."""
    tree = read(tar(member("b/a", kind=tarfile.SYMTYPE, link=target)), tmp_path)
    assert (tree.read_text("b/a"), tree.exists("b/a/x"), tree.list_dir("b/a/x")) == (None, False, ())


def test_a_link_that_climbs_above_the_root_does_not_come_back(tmp_path: Path) -> None:
    """One `..` too many leads out, though a file of that name is inside; an absolute link starts at the root."""
    links = {"b/up": "../../etc/f", "b/in": "../etc/f", "b/abs": "/etc/f"}
    members = (member(name, kind=tarfile.SYMTYPE, link=target) for name, target in links.items())
    tree = read(tar(member("etc/f", size=2), *members, content=b"ok"), tmp_path)
    assert [tree.read_text(name) for name in links] == [None, "ok", "ok"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_in_an_archive_are_no_files(tmp_path: Path, kind: bytes) -> None:
    """They are left out; what stands beside them is read."""
    tree = read(tar(member("dev", kind=kind), member("ok", size=2), content=b"ok"), tmp_path)
    assert (tree.read_text("dev"), tree.read_text("ok")) == (None, "ok")


def pax_bomb(key: str) -> bytes:
    """A PAX header of 600 MiB, which gzip packs to less than one."""
    size, buffer = 600 * MIB, io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as packed:
        packed.write(member("h", kind=tarfile.XHDTYPE, size=size).tobuf(tarfile.USTAR_FORMAT))
        packed.write(f"{size} {key}=".encode())
        for _ in range(600):
            packed.write(b"a" * MIB)
    return buffer.getvalue()


def deep_names(count: int) -> bytes:
    return tar(*(member(f"{i}/" + "a/" * 1000 + "f") for i in range(count)))


SMALL = ReadLimits(file_bytes=1000, archive_bytes=5000, archive_members=50)
BOMBS = {
    "a member": (lambda: tar(member("a", size=1001), content=b"a" * 1001), SMALL, "a: expected at most 1000 bytes"),
    "their sum": (lambda: tar(*(member(f"{i}", size=900) for i in range(6)), content=b"a" * 900), SMALL, "5000 unp"),
    "their number": (lambda: tar(*(member(f"{i}") for i in range(51))), SMALL, "at most 50 members"),
    "folders": (lambda: tar(*(member(f"{i}", kind=tarfile.DIRTYPE) for i in range(51))), SMALL, "at most 50 members"),
    "names": (lambda: tar(*(member("a" * 90 + f"{i}") for i in range(49))), ReadLimits(archive_bytes=4000), "4000 unp"),
    "deep names": (lambda: deep_names(300), DEFAULT_LIMITS, "at most 536870912 unpacked bytes"),
    "a long name": (lambda: tar(member("a" * 4097)), DEFAULT_LIMITS, "paths of at most 4096"),
    "a long link": (lambda: tar(member("a", kind=tarfile.SYMTYPE, link="b" * 4097)), DEFAULT_LIMITS, "at most 4096"),
    "a claimed size": (lambda: member("a", size=8**11 - 1).tobuf(tarfile.USTAR_FORMAT), DEFAULT_LIMITS, "unpacked"),
    "a PAX header": (lambda: pax_bomb("comment"), DEFAULT_LIMITS, "bytes of headers"),
    "a PAX path": (lambda: pax_bomb("path"), DEFAULT_LIMITS, "bytes of headers"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_is_read_up_to_its_limits(tmp_path: Path, bomb: str) -> None:
    """Refused with the limit's name, before it has taken 8 MiB more than its packed form."""
    make, limits, expected = BOMBS[bomb]
    content = make()
    tracemalloc.start()
    try:
        with pytest.raises(SourceMalformedError, match=expected):
            read(content, tmp_path, limits)
        assert tracemalloc.get_traced_memory()[1] < len(content) + 8 * MIB
    finally:
        tracemalloc.stop()


def test_what_is_within_the_limits_is_read(tmp_path: Path) -> None:
    """They are inclusive."""
    members = [member(f"{i}", size=1000) for i in range(4)]
    tree = read(tar(*members, content=b"a" * 1000), tmp_path, ReadLimits(file_bytes=1000, archive_bytes=4004))
    assert [len(tree.read_text(f"{i}") or "") for i in range(4)] == [1000] * 4


@pytest.mark.parametrize("packer", PACKERS)
@settings(max_examples=30)
@given(st.data())
def test_damage_gives_a_typed_error_or_a_tree(
    tmp_path_factory: pytest.TempPathFactory, packer: str, data: st.DataObject
) -> None:
    """Bytes changed, the end cut off, noise added: nothing but our errors."""
    content = bytearray(PACKERS[packer](HONEST))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try:
        tree = read(bytes(content[:cut]) + data.draw(st.binary(max_size=20)), tmp_path_factory.getbasetemp())
    except SourceError:
        return
    for folder in tree.folders():
        for name in tree.list_dir(folder):
            tree.read_text(f"{folder}/{name}")


def test_no_archive_at_all_is_a_typed_error(tmp_path: Path) -> None:
    """Absent, a folder, an impossible name; noise and an endless device are malformed or empty."""
    for path in (tmp_path / "absent", tmp_path, Path("a\0b")):
        with pytest.raises(SourceUnreadableError):
            read_archive(path, limits=DEFAULT_LIMITS)
    with pytest.raises(SourceMalformedError, match="a whole tar archive"):
        read(b"not an archive" * 99, tmp_path)
    assert read_archive(Path("/dev/zero"), limits=SMALL).list_dir("") == ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that could hurt, beside a file that must stay unread."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "plain").write_text("plain")
    (root / "sub/in").symlink_to("../plain")
    for name, target in {"abs": tmp_path / "secret", "rel": "../secret", "up": "..", "loop": "loop"}.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    return root


def test_a_folder_is_read_inside_only(folder: Path) -> None:
    """Links are followed within; out of it, in circles, to pipes and folders there is no file, and no waiting."""
    tree = DirectoryTree(root=folder, limits=DEFAULT_LIMITS)
    assert (tree.read_text("plain"), tree.read_text("sub/in")) == ("plain", "plain")
    for path in ("abs", "rel", "up/secret", "../secret", "sub/../../secret", "loop", "pipe", "sub", "", "no", "a\0b"):
        assert tree.read_text(path) is None, path
    assert not tree.exists("up/secret")
    assert tree.list_dir("up") == tree.list_dir("..") == tree.list_dir("plain") == ()
    assert tuple(tree.folders()) == ("", "sub")


def test_a_folder_beside_one_of_like_name_is_outside(tmp_path: Path) -> None:
    """`root2` begins with `root`, and is another folder."""
    for name in ("root", "root2"):
        (tmp_path / name).mkdir()
    (tmp_path / "root2/file").write_text("other")
    assert DirectoryTree(root=tmp_path / "root", limits=DEFAULT_LIMITS).read_text("../root2/file") is None


def test_a_huge_file_in_a_folder_is_one_typed_error(folder: Path) -> None:
    """Sparse, so that it costs nothing to make; it is not read to its end."""
    with (folder / "huge").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SourceMalformedError, match="huge: expected at most 1000 bytes"):
        DirectoryTree(root=folder, limits=SMALL).read_text("huge")


def test_a_chain_of_links_is_followed_as_far_as_linux_does() -> None:
    """40 hops, and no more (MAXSYMLINKS)."""
    links = {f"l{i}": f"l{i + 1}" for i in range(41)}
    tree = MemoryTree("t", {"l41": b"end"}, links)
    assert (tree.read_text("l1"), tree.read_text("l0")) == ("end", None)
