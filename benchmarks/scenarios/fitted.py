"""Arrivals and lifetimes fitted to a trace that tells times."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.scenarios.arrivals import HOUR_S, HOURS, Arrivals, Lifetimes
from benchmarks.scenarios.file import ArrivalsEntry, LifetimeEntry, TraceEntry
from benchmarks.scenarios.mix import Floats
from benchmarks.scenarios.traces import TRACES, reader, trace_called
from probe.errors import BadInputError

_OUTLIERS = 0.05
"""Of the arrivals of a trace: the first and last are left aside, who were there already, or came when it was cut."""


def arrivals_of(entry: ArrivalsEntry) -> Arrivals:
    """As told, or as a trace has them: how many in each hour of the day, and how much the times between them vary.

    Raises:
        DataMissingError: the trace is not here.
        BadInputError: it tells no times.
    """
    if entry.like is None:
        return Arrivals(burstiness=entry.burstiness, hours=tuple(entry.hours))
    at_s = np.sort(_times(entry.like)[0])
    cut = int(len(at_s) * _OUTLIERS)
    at_s = at_s[cut : len(at_s) - cut]
    if len(at_s) < 2 or at_s[0] == at_s[-1]:
        return Arrivals()
    hours = np.bincount((at_s // HOUR_S % HOURS).astype(np.int64), minlength=HOURS)
    steps = np.diff(Arrivals(hours=tuple(hours.tolist())).even(at_s))
    burstiness = float(steps.std() / steps.mean())
    return Arrivals(burstiness=min(100.0, max(0.1, burstiness)), hours=tuple(float(weight) for weight in hours))


def lifetimes_of(entry: LifetimeEntry) -> Lifetimes:
    """As told, or fitted to a trace's: by the mean, and for lognormal by mean and deviation of the logarithm.

    Raises: as `arrivals_of`.
    """
    if entry.like is None:
        return Lifetimes(mean_s=float(entry.mean or 1), distribution=entry.distribution, sigma=entry.sigma)
    stays_s = _times(entry.like)[1]
    logarithms = np.log(stays_s)
    sigma = float(logarithms.std())
    mean_s = float(stays_s.mean())
    if entry.distribution == "lognormal":
        mean_s = math.exp(float(logarithms.mean()) + sigma**2 / 2)
    recorded = tuple(np.sort(stays_s).tolist()) if entry.distribution == "recorded" else ()
    return Lifetimes(mean_s=mean_s, distribution=entry.distribution, sigma=sigma, recorded_s=recorded)


def _times(name: str) -> tuple[Floats, Floats]:
    """When the guests of a trace came, and how long they stayed, in seconds."""
    trace = trace_called(name)
    if not trace.is_timed:
        timed = ", ".join(known for known, other in TRACES.items() if other.is_timed)
        raise BadInputError(f"like: {name} does not tell when guests come and go; these do: {timed}.")
    comings = [c for c in reader(trace, "guests")(TraceEntry(name=name)) if c.until_s and c.until_s > c.at_s]
    if not comings:
        raise BadInputError(f"like: nobody of {name} comes and goes.")
    return np.array([c.at_s for c in comings]), np.array([c.until_s - c.at_s for c in comings])
