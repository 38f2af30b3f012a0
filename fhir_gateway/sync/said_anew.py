"""A Consent of theirs that is kept here has changed there, or can be read now: it takes the place of what is kept of it, whole. docs/consents.md"""

from __future__ import annotations

from typing import Any

from .. import gate
from ..domain import strict
from ..domain.problem import Problem
from ..domain.reconcile import content
from ..domain.types import Linked, Op, Stored
from ..gate import Context, House
from .ahead import Ahead
from .links import changed, etag_of
from .partner import Partner, incoming, sides
from .tally import Tally
from .uniting import refused, waits_no_more
from .whose import as_agreed, held_by_name, names_of, only_shared, whose


async def said_anew(house: House, partner: Partner, ctx: Context, link: Linked, stored: Stored, there: dict[str, Any], ahead: Ahead, tally: Tally) -> Tally:
    """Nothing of both is united: a consent is not half of one and half of the other. Where it only says yes now, of the same person, which is not theirs to
    say here, what was kept of it ends, and that waits in quarantine. `tally`: what went before, and then this, too. Far, Again."""
    sent, body, was = strict.dump(there), there, strict.decode(stored.body or b"{}")
    names: dict[str, str] = {}
    seen = changed(link, etag=etag_of(there), remote_updated=str(there.get("meta", {}).get("lastUpdated", "")))
    over = waits_no_more(partner, link.remote_id)
    try:
        names = await whose(house, partner, ctx, there, ahead) | ahead.ours
        names |= await as_agreed(house, partner, link, stored, there, ahead)
        every = await names_of(house, partner, there, None)
        names |= {their: ours for their, ours in every.items() if not ours.startswith("Patient/")}
        body = incoming(there, link.ref, names | every, (), sides(house, partner))
        await only_shared(house, partner, body, names.values())
        body = await held_by_name(house, body, body)
        if content(body) == content(was):
            await house.store.commit(changed(seen, version=stored.version, base_sent=sent, base_received=sent), over)
            return tally

        def agreed(written: gate.Written) -> list[Op]:
            return [changed(seen, version=written.version, base_sent=sent, base_received=sent), over]

        await gate.keep_foreign(ctx, body, frozenset(names.values()), over=stored, also=agreed)
    except Problem as p:
        yes = p.kind == "business-rule" and gate.only_opens(body) and _whose(body) == _whose(was) in names.values()  # of the same person: nobody else's yes ends a no
        ended = await gate.over_foreign(ctx, stored, "it only says yes there now") if yes and was.get("status") == "active" else []
        tally.add(await refused(house, partner, ctx, link.remote_id, body, p, [seen, *ended]))
    else:
        tally.pulled += 1
    return tally


def _whose(consent: dict[str, Any]) -> str:
    return str((consent.get("patient") or {}).get("reference", ""))
