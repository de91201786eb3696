"""Where output goes: files that are none, readers that leave, terminals that lack characters."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from probe.errors import BadInputError
from scheduler.cli.output import write_file
from tests.conftest import ROOT
from tests.scheduler.cli.conftest import Run

PROBE = [sys.executable, "-m", "scheduler.cli.main", "probe", "--host", "synthetic:node:2 core:4 memory:4GiB"]


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run with "$@" as the probe of a made-up host."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", script, "bash", *PROBE], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """A device, such as /dev/null, stays too; it is never replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_file(pipe, "plan")
    assert b"plan" == reader.communicate(timeout=30)[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it points to is written."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", "new")
    assert ("new", True) == ((tmp_path / "real").read_text(), (tmp_path / "link").is_symlink())


def test_a_dash_is_no_file(tmp_path: Path) -> None:
    """Standard output has the document with --output json."""
    with pytest.raises(BadInputError, match="--output json"):
        write_file(Path("-"), "plan")
    with pytest.raises(BadInputError, match="cannot be written"):
        write_file(tmp_path, "plan")


def test_a_reader_that_leaves_ends_us_as_the_signal_would() -> None:
    """141, and no complaint."""
    done = shell('"$@" --output json | sleep 0; echo ${PIPESTATUS[0]}')
    assert ("141\n", "") == (done.stdout, done.stderr)


def test_a_full_disk_is_said() -> None:
    """One line, no traceback."""
    done = shell('"$@" > /dev/full')
    assert (1, "numaplace: output: No space left on device\n") == (done.returncode, done.stderr)


def test_without_standard_output_nothing_breaks() -> None:
    """As from a daemon that closed it."""
    done = shell('"$@" >&-')
    assert "Traceback" not in done.stderr


def test_a_terminal_without_the_pictures_characters_gets_others() -> None:
    """Latin-1, and no traceback."""
    done = shell('"$@" | iconv -f latin1 -t utf8', PYTHONIOENCODING="latin-1")
    assert (0, "") == (done.returncode, done.stderr)
    assert "2 NUMA nodes" in done.stdout


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_an_error_is_a_document_too(run: Run, tmp_path: Path, output: str) -> None:
    """Where one was asked for; for people it is on standard error only."""
    (tmp_path / "fleet.yaml").write_text("schema: 1\nguests:\n  - {name: db, vcpus: none}\n")
    words = ("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB")
    refused = run(*words, "--output", output)
    error = yaml.safe_load(refused.out)["error"]
    assert (2, 2, "FileInvalidError") == (refused.status, error["exit_status"], error["kind"])
    assert "fleet.yaml:3" in error["message"]
    assert error["message"] in refused.err
    assert "" == run(*words).out


def test_xml_and_sim_create_answer_in_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home and the whole definition; where there is none, why."""
    made = run("sim", "create", "h1.sim", "--from", "synthetic:node:2 core:4 memory:4GiB", "--output", "json").json
    assert {"schema": 1, "source": "sim:h1.sim", "flavour": "kvm", "nodes": 2, "cpus": 8} == made
    text = "<domain type='kvm'><name>db</name><vcpu>2</vcpu><memory unit='GiB'>{}</memory></domain>"
    for gib, status in ((1, 0), (64, 3)):
        monkeypatch.setattr("sys.stdin", io.StringIO(text.format(gib)))
        answer = run("xml", "--host", "sim:h1.sim", "--output", "json")
        assert (status, "db") == (answer.status, answer.json["decision"]["guest"])
        assert (status == 0) == ("numatune" in answer.json.get("definition", ""))
