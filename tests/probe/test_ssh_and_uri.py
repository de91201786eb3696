"""What a person writes as a remote host never becomes an option, a command or a program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.errors import BadInputError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.commands import run_command
from probe.sources.libvirt_uri import check_libvirt_uri
from probe.sources.ssh import SshTarget, parse_ssh_target, ssh_argv


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("//h1", SshTarget(host="h1")),
        ("//root@h1.example.org:2201/", SshTarget(host="h1.example.org", user="root", port=2201)),
        ("//[::1]:22", SshTarget(host="::1", port=22)),
    ],
)
def test_an_ssh_target_is_user_host_and_port(rest: str, expected: SshTarget) -> None:
    """The three parts that a person may choose."""
    assert parse_ssh_target(rest, spec=f"xl+ssh:{rest}") == expected


@pytest.mark.parametrize(
    "rest",
    [
        "", "//", "h1", "//-oProxyCommand=id", "//root@-l", "//-l@h", "//h1/../x", "//h1:0", "//h1:65536",
        "//h1 id", "//h1;id", "//$(id)", "//h1\n", "//h1?command=x", "//a@b@c", "//h1:22:22", "//[::1", "//ü",
    ],
)  # fmt: skip
def test_what_could_be_an_option_or_a_command_is_no_host(rest: str) -> None:
    """`ssh -oProxyCommand=…` runs a program: such a host is refused before ssh is started."""
    with pytest.raises(BadInputError, match=r"expected xl\+ssh://"):
        parse_ssh_target(rest, spec=f"xl+ssh:{rest}")


def test_the_ssh_command_line_is_a_list_of_fixed_words() -> None:
    """No password prompt, no terminal, and `--` before the host."""
    argv = ssh_argv(SshTarget(host="h1", user="root", port=2201), "true")
    assert argv[0] == "ssh"
    assert "BatchMode=yes" in argv
    assert argv[-5:] == ["-p", "2201", "--", "root@h1", "exec sh -c 'true'"]


@given(st.text(max_size=40))
def test_any_text_is_a_target_of_safe_letters_or_refused(text: str) -> None:
    """Whatever passes has no letter that a shell or ssh could take for more than a host."""
    try:
        target = parse_ssh_target(f"//{text}", spec="xl+ssh://")
    except BadInputError:
        return
    assert not str(target).startswith("-")
    assert not set(str(target)) & set(" \t\n;|&$`'\"\\<>(){}*?!#%=")


GOOD = [
    "qemu:///system", "qemu:///session", "xen:///system", "xen:///", "test:///default", "qemu+unix:///system",
    "qemu+ssh://root@h1/system", "qemu+ssh://h1:2201/system?no_tty=1&proxy=native", "qemu+tls://h1/system",
    "qemu://h1/system", "qemu+tcp://127.0.0.1:2301/system", "xen+tcp://localhost/system",
    "qemu+tcp://[::1]:16509/system", "qemu+libssh2://root@127.0.0.1:2201/system?keyfile=/k/id&known_hosts_verify=ignore&sshauth=privkey",
    "qemu+ssh://root@127.0.0.1:2201/system?keyfile=cache/id&no_verify=1", "qemu+ssh://h1/system?keyfile=%7E/id",
]  # fmt: skip


@pytest.mark.parametrize("uri", GOOD)
def test_uris_of_real_hosts_pass(uri: str) -> None:
    """Local, ssh, tls, and tcp on this machine."""
    check_libvirt_uri(uri)


BAD = [
    "qemu+ssh://h1/system?command=/tmp/x", "qemu+ext:///system?command=/tmp/x", "qemu+command://h1/system",
    "qemu+ssh://h1/system?no_tty=1&command=/tmp/x", "qemu+ssh://h1/system?no_tty=1;command=/tmp/x",
    "qemu+ssh://h1/system?%63ommand=/tmp/x", "qemu+ssh://h1/system?COMMAND=/tmp/x", "qemu+ssh://h1/system?netcat=/x",
    "qemu:///system?socket=/tmp/s", "qemu+unix:///system?socket=/tmp/s", "qemu:///embed?root=/tmp",
    "qemu+ssh://-oProxyCommand=id/system", "qemu+ssh://root@-l/system", "qemu+ssh:///system", "qemu+tls:///system",
    "qemu+tcp://h1/system", "qemu+tcp://127.0.0.1.evil.org/system", "qemu+ssh://h1/system?no_verify=1",
    "qemu+ssh://h1/system?known_hosts_verify=ignore", "qemu+ssh://h1/system?keyfile=-oProxyCommand=id",
    "qemu+ssh://h1/system?proxy=/bin/sh", "esx://h1/", "lxc:///system", "vbox:///session", "QEMU:///system",
    "qemu", "", "default", "qemu:system", "qemu:///system#x", "qemu:///system\n", "qemu:///sys tem", "qemu+ssh://h%2f/system",
    "qemu+ssh://h1/system?no_tty=1%00", "qemu+ssh://h1:22:22/system", "qemu+netcat://h1/system", "qemu+socket://h1/system",
]  # fmt: skip


@pytest.mark.parametrize("uri", BAD)
def test_uris_that_could_run_a_program_or_trust_anybody_are_refused(uri: str) -> None:
    """Everything that is not known to be harmless, with advice."""
    with pytest.raises(BadInputError, match="libvirt URI") as error:
        check_libvirt_uri(uri)
    assert error.value.advice.startswith("Maybe")


def test_tcp_to_another_machine_needs_the_explicit_key() -> None:
    """`allow_tcp: true` of hosts.yaml, and nothing else, lets it pass; other rules stay."""
    check_libvirt_uri("qemu+tcp://h1/system", allow_tcp=True)
    with pytest.raises(BadInputError):
        check_libvirt_uri("qemu+tcp://h1/system?command=x", allow_tcp=True)


def test_a_command_gives_its_output_or_one_typed_error() -> None:
    """Missing, failing, slow and endless programs each say what happened."""
    python = sys.executable
    assert run_command([python, "-c", "print('ü')"], limits=DEFAULT_LIMITS) == "ü\n"
    with pytest.raises(SourceUnreadableError, match="not installed") as error:
        run_command(["no-such-program-here"], limits=DEFAULT_LIMITS, missing="Maybe install it.")
    assert error.value.advice == "Maybe install it."
    with pytest.raises(SourceUnreadableError, match="that is why"):
        run_command([python, "-c", "raise SystemExit('first\\nthat is why')"], limits=DEFAULT_LIMITS)
    with pytest.raises(SourceUnreadableError, match=r"no end after 0\.3 s"):
        run_command([python, "-c", "import time; time.sleep(60)"], limits=DEFAULT_LIMITS, timeout_s=0.3)
    with pytest.raises(SourceUnreadableError, match="more than 10 bytes"):
        run_command([python, "-c", "while True: print('x' * 99)"], limits=ReadLimits(file_bytes=10))


def test_a_failed_login_says_what_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh's own words become the reason, with the step that mends it."""
    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\necho 'root@h1: Permission denied (publickey).' >&2; exit 255\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SourceUnreadableError, match="Permission denied") as error:
        run_command(ssh_argv(SshTarget(host="h1"), "xl info -n"), limits=DEFAULT_LIMITS)
    assert "without a password" in error.value.advice
