"""JSON documents in which one value was changed: what a reader may meet."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

WRONG = [None, -1, 2**70, 1.5, True, "", "x", "0-", "9-1", [], [None], {}, {"x": 1}, "\ud800"]
Path = tuple[str | int, ...]


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Every place in a document, the whole of it first."""
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*here, key))


def damaged(document: Any) -> st.SearchStrategy[Any]:
    """`document` with one value replaced by a wrong one, or taken out."""
    return st.tuples(st.sampled_from(list(paths(document))), st.sampled_from([*WRONG, "gone"])).map(
        lambda change: _changed(document, *change)
    )


def _changed(document: Any, path: Path, wrong: Any) -> Any:
    if not path:
        return wrong
    changed = copy.deepcopy(document)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    if wrong == "gone":
        del inner[path[-1]]
    else:
        inner[path[-1]] = wrong
    return changed
