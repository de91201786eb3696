"""Who a guest is in the books."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the guest is in the books: the domain's uuid, the ledger's and the claim's id."""

    uuid: str
    ledger: str
    claim: str
