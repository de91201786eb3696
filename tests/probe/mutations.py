"""Texts that were read once, with a few letters changed: what a parser may meet."""

from __future__ import annotations

from hypothesis import strategies as st

_CHANGES = ["", "9", "-", "^", "'", "<", ",", "\0", "ü", " ", "\n", "99999999999", "4294967295", "x"]


def mutated(text: str) -> st.SearchStrategy[str]:
    """`text` with up to eight letters replaced, dropped or doubled."""
    places = st.tuples(st.integers(0, len(text) - 1), st.sampled_from([*_CHANGES, None]))
    return st.lists(places, max_size=8).map(lambda changes: _changed(text, changes))


def _changed(text: str, changes: list[tuple[int, str | None]]) -> str:
    letters = list(text)
    for place, letter in changes:
        letters[place] = letters[place] * 2 if letter is None else letter
    return "".join(letters)
