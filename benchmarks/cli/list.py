"""`numaplace bench list`: the scenarios that there are, one of them, or the hosts that a scenario can name."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.output import columns, emit, output_option, terminal_width

if TYPE_CHECKING:
    from benchmarks.scenarios.outline import HostOutline, Outline
    from benchmarks.scenarios.scenario import Scenario


@click.command("list")
@click.argument("scenario", required=False, metavar="[SCENARIO]")
@click.option("--hosts", is_flag=True, help="The named shapes and recordings that a scenario can have as hosts.")
@click.option("--schema", is_flag=True, help="The JSON Schema of scenario files: all keys, and what each means.")
@output_option
def list_scenarios(scenario: str | None, hosts: bool, schema: bool, output: str) -> None:
    """List the built-in scenarios; with SCENARIO (a name, or a file of your own) show that one and its file.

    DATA says whether the public data sets that a scenario reads are here; benchmarks/README.md says where each is had.
    """
    from benchmarks.scenarios import load_scenario, scenario_names
    from benchmarks.scenarios.outline import host_outlines, outline_of

    if hosts + schema + (scenario is not None) > 1:
        raise click.UsageError("Give one of SCENARIO, --hosts and --schema.")
    if schema:
        _print_schema()
    elif hosts:
        found = list(host_outlines())
        emit({"schema": 1, "hosts": [_host_json(host) for host in found]}, output, lambda: _hosts_table(found))
    elif scenario is not None:
        loaded = load_scenario(scenario)
        outline = outline_of(loaded)
        emit({"schema": 1, **_one_json(loaded, outline)}, output, lambda: _one(loaded, outline))
    else:
        outlines = [outline_of(load_scenario(name)) for name in scenario_names()]
        document = {"schema": 1, "scenarios": [outline.to_json() for outline in outlines]}
        emit(document, output, lambda: _table(outlines))


def _print_schema() -> None:
    from benchmarks.scenarios.file import ScenarioFile

    click.echo(json.dumps(ScenarioFile.model_json_schema(by_alias=True), indent=2))


def _table(outlines: list[Outline]) -> str:
    rows = [
        (
            outline.name,
            f"{outline.hosts:,}",
            "?" if outline.nodes is None else f"{outline.nodes:,}",
            outline.guests,
            _data(outline),
            outline.title,
        )
        for outline in outlines
    ]
    return columns(("SCENARIO", "HOSTS", "NODES", "GUESTS", "DATA", "TITLE"), rows)


def _data(outline: Outline) -> str:
    if not outline.origins:
        return "-"
    return "here" if outline.is_there else "missing"


def _one(scenario: Scenario, outline: Outline) -> str:
    from benchmarks.scenarios.data import ADVICE
    from benchmarks.scenarios.outline import is_there

    nodes = "?" if outline.nodes is None else f"{outline.nodes:,}"
    lines = [scenario.title, *textwrap.wrap(scenario.file.about, terminal_width()), ""]
    lines += [f"hosts   {outline.hosts:,}, of {nodes} nodes together", f"guests  {outline.guests}"]
    lines += [f"data    {origin}: {'here' if is_there(origin) else 'missing'}" for origin in outline.origins]
    lines.append(f"digest  {scenario.digest}" if outline.is_there else ADVICE)
    return "\n".join([*lines, "", scenario.text.rstrip()])


def _one_json(scenario: Scenario, outline: Outline) -> dict[str, Any]:
    digest = scenario.digest if outline.is_there else None
    return {**outline.to_json(), "about": scenario.file.about, "digest": digest, "text": scenario.text}


def _hosts_table(hosts: list[HostOutline]) -> str:
    from probe.units import format_kib_rounded

    def memory(host: HostOutline) -> str:
        return "?" if host.memory_kib is None else format_kib_rounded(host.memory_kib)

    rows = [(host.name, host.nodes, host.cpus, memory(host), host.title) for host in hosts]
    return columns(("HOST", "NODES", "PCPUS", "MEMORY", "WHAT IT IS"), rows)


def _host_json(host: HostOutline) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(host)
