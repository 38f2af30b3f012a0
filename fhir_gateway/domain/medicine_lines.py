"""Which medicine of a plan an order of a discharge means, and what of it is to be asked. Pure. docs/partners.md"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .medicines import OVER, Told, by_name, other_strength, otherwise

MOST: Final = 50  # of one commit
Said = tuple[Told, str]  # what an order, or a medicine of a plan, says, and when that was written


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Task asks about: an order, the medicine of the plan that it says otherwise of; none where the plan has none. `look`: it cannot be told
    which of these the order means, or whether it means any, so that a yes changes nothing by itself."""

    order: str
    mine: tuple[str, ...] = ()
    look: bool = False


def proposals(planned: Mapping[str, Said], ordered: Mapping[str, Said]) -> list[Asked]:
    """What these orders say otherwise of the medicines of a plan. Both by their references."""
    out, new = list[Asked](), set[tuple[frozenset[str], bytes]]()
    meant = {o: t for o, (t, _) in ordered.items() if t.names and t.taken not in ("not yet", "a mistake")}
    exact = {o: m for o, t in meant.items() if (m := _word_for_word(planned, t))}
    for order in sorted(meant, key=lambda o: (not meant[o].never, meant[o].taken != "now", o)):
        told, lines = meant[order], _lines(planned, meant[order])
        if not lines:
            if told.taken == "now" and not told.never and (told.names, told.whole) not in new:
                new.add((told.names, told.whole))
                out.append(Asked(order))
        elif found := _of_lines(planned, ordered, meant, exact, order, lines):
            out += [a for a in found if a.look or not any(a.mine == b.mine for b in out)]
    return out[:MOST]


def _of_lines(planned: Mapping[str, Said], ordered: Mapping[str, Said], meant: Mapping[str, Told], exact: Mapping[str, str], order: str, lines: list[str]) -> list[Asked]:
    told = meant[order]
    if told.never:
        return [Asked(order, (m,)) for m in lines if differs(planned[m][0], told)]
    live = [m for m in lines if planned[m][0].taken not in OVER]
    if order in exact:
        return _exactly(planned, ordered, meant, exact, order)
    others = [o for o in meant if o != order and meant[o].names & told.names and not meant[o].never and meant[o].taken == "now"]
    claimed = [o for o in others if exact.get(o) in lines]
    if told.taken != "now":
        if not live or (len(live) == 1 and others):  # of an earlier dose
            return []
        return [Asked(order, tuple(live), len(live) > 1)] if all(differs(planned[m][0], told) for m in live) else []
    mine = tuple(live or lines)
    if any(not differs(planned[m][0], told) for m in mine):
        return []
    loose = [o for o in others if o not in exact]
    return [Asked(order, mine, len(mine) > 1 or bool(claimed or loose) or planned[mine[0]][0].never)]


def _exactly(planned: Mapping[str, Said], ordered: Mapping[str, Said], meant: Mapping[str, Told], exact: Mapping[str, str], order: str) -> list[Asked]:
    """Of an order that says word for word how one medicine of the plan is taken: that it is stopped, say. Where another order has the same go on, the
    later counts, and of two of one day both are to be looked at."""
    told, mine, when = meant[order], exact[order], ordered[order][1]
    if not differs(planned[mine][0], told):
        return []
    on = [ordered[o][1] for o, m in exact.items() if m == mine and not differs(planned[mine][0], meant[o])]
    if told.taken == "finished" and on:
        return []
    look = any(d[:10] == when[:10] for d in on) or (planned[mine][0].never and told.taken == "now")
    return [Asked(order, (mine,), look)] if all(d[:10] <= when[:10] for d in on) else []


def _lines(planned: Mapping[str, Said], told: Told) -> list[str]:
    return [m for m, (t, _) in sorted(planned.items()) if t.names & told.names and t.taken != "a mistake"]


def _word_for_word(planned: Mapping[str, Said], told: Told) -> str:
    """The one medicine of the plan that is taken as this order says, "" where none is, or several are."""
    same = [m for m in _lines(planned, told) if told.whole and planned[m][0].whole == told.whole and not other_strength(planned[m][0], told)]
    return same[0] if len(same) == 1 else ""


def differs(mine: Told, ordered: Told) -> bool:
    return ordered.taken not in ("not yet", "a mistake") and bool(otherwise(mine, by_name([ordered])))


def holds(planned: Mapping[str, Said], said: Mapping[str, Said], asked: Asked) -> bool:
    """Is what was asked still something to say: the plan is not as it would be. `said`: all that is ordered."""
    told = said[asked.order][0]
    if asked.mine and not asked.look:
        return asked.mine[0] in planned and differs(planned[asked.mine[0]][0], told)
    lines = _lines(planned, told)
    if asked.look:
        live = [m for m in asked.mine if m in planned]
        return len(live) == len(asked.mine) and all(differs(planned[m][0], told) for m in (lines if told.taken == "now" else live))
    others = [t for o, (t, _) in said.items() if o != asked.order and o not in planned]
    return told.taken == "now" and not told.never and all(differs(planned[m][0], told) and any(_agree(planned[m][0], t) for t in others) for m in lines)


def _agree(mine: Told, ordered: Told) -> bool:
    """Has the plan this medicine from another order."""
    return bool(mine.names & ordered.names and mine.whole) and mine.whole == ordered.whole and not differs(mine, ordered)


__all__ = ["MOST", "Asked", "Said", "differs", "holds", "proposals"]
