"""Scenarios: hosts, and guests that come and go, in small files."""

from __future__ import annotations

from benchmarks.scenarios.library import load_scenario, scenario_names, small_scenarios
from benchmarks.scenarios.scenario import Scenario

__all__ = ["Scenario", "load_scenario", "scenario_names", "small_scenarios"]
