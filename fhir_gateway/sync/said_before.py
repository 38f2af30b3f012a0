"""How often in a row that server refused an entry alike. It stands in what is kept of the last try, so no outage counts, and every process knows it."""

from __future__ import annotations

import re
from typing import Final

from ..domain.types import Queued
from ..gate import House
from ..remote.client import Refusal
from .partner import Partner
from .turning import MOST

AGAIN: Final = frozenset({404, 409, 410, 412})
_TIMES: Final = re.compile(r"(404|409|410|412)\b.*?(?:, (\d{1,4}) times in a row)?")


async def refusals(house: House, partner: Partner, entry: Queued) -> int:
    """How many of the last tries of this leased entry were answered that it is not as we know it there (409, 412), or not there (404, 410)."""
    leased = await house.store.outbox_items(partner.name, "leased", MOST, patient=entry.patient)
    said = _TIMES.fullmatch(next((str(i["detail"]) for i in leased if i["entry"] == entry.entry), ""))
    return int(said[2] or 1) if said else 0


def in_a_row(e: Refusal, before: int) -> str:
    """For the entry that is tried again: what was said, and how often, where it was said `before`."""
    return f"{e}, {before + 1} times in a row" if before and e.status in AGAIN else str(e)
