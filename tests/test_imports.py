"""The import chain holds, and heavy libraries stay out of the commands that do not need them."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "probe": {"probe"},
    "policies": {"probe", "policies"},
    "scheduler": {"probe", "policies", "scheduler"},
    "benchmarks": {"probe", "policies", "scheduler", "benchmarks"},
}
HOMES = {
    "ortools": ("policies/solver/", "policies/patterns/"),
    "networkx": ("probe/graph.py",),
    "sqlalchemy": ("scheduler/ledger/",),
    "libvirt": ("probe/sources/libvirt_live.py", "scheduler/executors/libvirt.py"),
    "pydantic": ("scheduler/files/", "scheduler/plan_file.py", "benchmarks/scenarios/file.py"),
}
HEAVY = ("ortools", "networkx", "numpy", "pandas", "sqlalchemy", "matplotlib", "pydantic", "libvirt")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_downwards_only(package: str) -> None:
    """probe <- policies <- scheduler <- benchmarks; nobody imports upwards."""
    for path in (ROOT / package).rglob("*.py"):
        used = {name.partition(".")[0] for name in imports(path)} & set(MAY_IMPORT)
        assert used <= MAY_IMPORT[package], path


@pytest.mark.parametrize("library", sorted(HOMES))
def test_libraries_are_imported_at_home_only(library: str) -> None:
    """Each heavy library has one home; everything else runs, and is tested, without it."""
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            if library in {name.partition(".")[0] for name in imports(path)}:
                assert str(path.relative_to(ROOT)).startswith(HOMES[library]), path


@pytest.mark.parametrize("arguments", [("--help",), ("probe",), ("probe", "--output", "json")])
def test_light_commands_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    """`numaplace --help` and `numaplace probe` start without solver, arrays, graphs or ledger."""
    code = (
        "import sys\nfrom scheduler.cli.main import main\n"
        f"try:\n    main({list(arguments)!r})\nfinally:\n"
        f"    print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (0, "[]")


def test_help_imports_no_command_of_the_laboratory() -> None:
    """Each is imported when it is called; the group's one line in `--help` needs none of them."""
    code = "import sys, benchmarks.command\nprint([name for name in sys.modules if name.startswith('benchmarks.')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "['benchmarks.command']" == done.stdout.strip()


def test_every_command_of_the_laboratory_is_there() -> None:
    """Those that are imported later, too, under their own names."""
    from benchmarks.command import LATER, bench

    context = click.Context(bench)
    assert {*LATER} < {*bench.list_commands(context)}
    for name in bench.list_commands(context):
        command = bench.get_command(context, name)
        assert command is not None
        assert command.name == name
