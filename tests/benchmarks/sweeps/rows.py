"""Rows, as no policy ever made them."""

from __future__ import annotations

from hypothesis import strategies as st

from benchmarks.metrics import METRICS
from benchmarks.rows import Row
from benchmarks.sweeps.columns import SERIES

names = st.text(min_size=1, max_size=12)
counts: st.SearchStrategy[object] = st.integers(0, 2**53)
numbers: st.SearchStrategy[object] = st.floats(-1e99, 1e99)


@st.composite
def series(draw: st.DrawFn) -> dict[str, list[object]]:
    """Some of the columns, equally long."""
    long = draw(st.integers(0, 4))
    of = dict.fromkeys(SERIES, counts) | {"at_s": numbers}
    of["node_load"] = st.lists(st.floats(0, 100), min_size=(nodes := draw(st.integers(0, 3))), max_size=nodes)
    some = draw(st.sets(st.sampled_from([*SERIES])))
    return {name: draw(st.lists(of[name], min_size=long, max_size=long)) for name in sorted(some)}


metrics = st.dictionaries(
    st.sampled_from([*METRICS]) | st.builds("{}[{}]".format, st.sampled_from(["refused", "room"]), names), numbers
)
rows = st.builds(
    Row,
    scenario=names,
    policy=names,
    seed=st.integers(-(2**63), 2**63 - 1),
    digest=names,
    metrics=metrics,
    series=series(),
    distances=st.dictionaries(st.integers(0, 255).map(str), counts, max_size=4),
    options=st.dictionaries(names, names, max_size=2),
    limited_by_clock=st.booleans(),
    versions=st.dictionaries(names, names, max_size=3),
    command=st.text(max_size=20),
)
