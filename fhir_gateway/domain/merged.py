"""One person with several records, as operators merged them: what ends or narrows access in one does so in all (consent.md 1.4).

Consents of merged records are joined by `rules`; here are the facts beside them. What opens (lost capacity, a relationship, an
emergency) stays with the record it was written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .standing import Link, Standing


def as_one(standing: Standing, standings: Mapping[str, Standing]) -> Standing:
    """The same record with death, birth, opt-out, suspended proxies, danger and silence of every record merged with it, and with links
    to all of those. A link that is no merge carries none of it: the person would learn from it what is recorded of another. Doing it
    twice changes nothing.

    A merged record that is not in `standings` may be that of somebody at risk.
    """
    if not standing.links:
        return standing
    links = _reached(standing, standings)
    near = [standings.get(k.other) for k in links]
    same = [standing, *(s for k, s in zip(links, near, strict=True) if k.merged and s is not None)]
    deaths = [s.died for s in same if s.died is not None]
    births = [s.born for s in same if s.born is not None] if standing.born is not None else []
    ages = [s.age for s in same if s.age is not None] if standing.age is not None else []
    practices = frozenset().union(*(s.practices or {s.practice} for s in same)) - {frozenset[str]()}
    return replace(
        standing, links=links, died=min(deaths, default=None), born=min(births, default=None), age=max(ages, default=None),
        ndoo=any(s.ndoo for s in same), safeguarding=frozenset[str]().union(*(s.safeguarding for s in same)),
        no_notify=any(s.no_notify for s in same), practice=frozenset[str]().union(*practices), practices=practices,
        at_risk=any(s.at_risk for s in same) or any(k.merged and s is None for k, s in zip(links, near, strict=True)),
    )  # fmt: skip


def _reached(standing: Standing, standings: Mapping[str, Standing]) -> tuple[Link, ...]:
    """Links to every record that merges lead to, from one to the next, and to those that are linked to one of these in another way.
    What a deleted Patient on the way was merged with only closes, unless another way leads there."""
    found: dict[str, Link] = {}
    waiting = [(standing, False)]
    while waiting:
        one, shut = waiting.pop()
        for k in one.links:
            link = Link(k.other, k.merged, k.merged and (shut or one.gone or k.shut))
            known = found.get(k.other)
            if k.other == standing.patient or (known is not None and (known.merged, not known.shut) >= (link.merged, not link.shut)):
                continue
            found[k.other] = link
            if link.merged and k.other in standings:
                waiting.append((standings[k.other], link.shut))
    return tuple(found[other] for other in sorted(found))


def records_of(standing: Standing) -> frozenset[str]:
    """`Patient/…` of every record of this person, where `as_one` has put them together."""
    return frozenset({standing.patient, *(k.other for k in standing.links if k.merged)})


__all__ = ["as_one", "records_of"]
