"""What a plan says beyond needs, goals and actions: how it came to be, what is in the way, medicines, referrals, wheels, risk, and the plan about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Any

from ...domain.medicines import OVER, Told, by_name, forbidden, in_doubt, otherwise, taken, told
from ...domain.written_down import standing as as_it_stands
from .pictures import planned_wheel
from .plan_items import Item, Line, lines, list_of, note, span, texts, thing, undescribed
from .words import _, day, short

Name = Callable[[Any], str]
REFERRED = {"sent": "blue", "done": "green", "declined": "red", "withdrawn": "grey", "proposed": "grey", "on hold": "yellow"}


def media(plan: dict[str, Any]) -> tuple[Line, ...]:
    """Photos and recordings about the person. The address is text: the page loads nothing from elsewhere."""
    return lines(*((_("Photo or recording"), _media(m)) for m in list_of(plan, "media")))


def _media(m: dict[str, Any]) -> str:
    said = [str(m[k]) for k in ("title", "text", "link", "where") if m.get(k)]
    return "\n".join(said)


def story(f: dict[str, Any], name: Name) -> Item:
    """A formulation."""
    return Item(
        str(f.get("id", "")), str(f.get("text") or _("Not described")), "", "grey",
        lines((_("Talked about on"), day(f.get("on"))), *written(thing(f.get("written")), name)),
    )  # fmt: skip


def in_the_way(plan: dict[str, Any], goal: dict[str, Any], name: Name) -> str:
    """What stands in the way of this goal."""
    mine = [b for b in list_of(plan, "barriers") if goal.get("id") in texts(b.get("goals"))]
    return "\n".join(note({**b, "by": b.get("said_by")}, name) for b in mine)


def medicines(mine: Sequence[dict[str, Any]], name: Name, beside: Sequence[dict[str, Any]] = (), today: date | None = None, theirs: Sequence[Item] = ()) -> tuple[Item, ...]:
    """All of them but mistakes, those that are over by `today` last. `beside`: of the record; one of the plan says where the record says otherwise of it.
    `theirs`: of other records of the person, as `taken_elsewhere` gives them."""
    now, over = _now_and_over(mine, name, beside, today)
    return (*now, *theirs, *over)


def taken_elsewhere(mine: Sequence[dict[str, Any]], name: Name, beside: Sequence[dict[str, Any]], today: date, where: str) -> tuple[Item, ...]:
    """Of another record of the person those that are not over. An id that it has there means another thing here."""
    return tuple(replace(m, id="", where=where) for m in _now_and_over(mine, name, beside, today)[0])


def _now_and_over(mine: Sequence[dict[str, Any]], name: Name, beside: Sequence[dict[str, Any]], today: date | None) -> tuple[list[Item], list[Item]]:
    every = [*mine, *beside]
    called = {str(m.get("id")): str(m.get("text") or "") for m in every}
    record = by_name(told(m) for m in beside)
    says = {id(m): "\n".join(as_told(t) for t in otherwise(told(m, today), record)) for m in mine} if record else {}
    meant = [(taken(m, today) in OVER, medicine(m, name, called, says.get(id(m), ""), today)) for m in every if taken(m) != "a mistake"]
    return [i for over, i in meant if not over], [i for over, i in meant if over]


def as_told(t: Told) -> str:
    """How the record has it: whether it is taken, how if it is, and why it was changed."""
    state = _("Not to be taken") if t.never else _states().get(t.taken) or _("Taken now")
    return "\n".join(s for s in (state, t.how if t.taken == "now" and not t.never else "", t.why) if s)


def _states() -> dict[str, str]:
    return {"not yet": _("Not begun yet"), "paused": _("Paused"), "stopped": _("Stopped"), "finished": _("Finished"), "not taken": _("Not taken")}


def medicine(m: dict[str, Any], name: Name, called: Mapping[str, str] = MappingProxyType({}), otherwise: str = "", today: date | None = None) -> Item:
    """How it is taken, and what was changed: the word for that stands where others have their state. `otherwise`: what the record says otherwise."""
    change = thing(m.get("change"))
    kinds = {"new": _("New"), "changed": _("Changed"), "unchanged": _("As before")}
    how = taken(m, today)
    state = _("Taken or stopped: ask") if in_doubt(m, today) else _states().get(how, "") or kinds.get(str(change.get("kind")), "")
    colour = {"new": "green", "changed": "yellow", "stopped": "red", "not taken": "red", "paused": "orange"}.get(how if how != "now" else str(change.get("kind")), "grey")
    what = str(m.get("text") or thing(m.get("code")).get("display") or _("A medicine that is not named"))
    said = ", ".join(t for t in (name(change.get("by")), day(change.get("on"))) if t)
    order = thing(m.get("prescription"))
    amounts = [f"{short(q['amount'])} {q.get('unit') or ''}".strip() for q in (thing(order.get("quantity")), thing(order.get("lasts"))) if q.get("amount") is not None]
    return Item(
        str(m.get("id", "")), forbidden(what, _) if m.get("do_not") is True else what, state, colour,
        lines(
            (_("The record says otherwise"), otherwise), (_("How to take it"), m.get("how")), (_("Before"), change.get("was")), (_("Why it was changed"), change.get("reason") or m.get("status_reason")),
            (_("What was changed"), "\n".join(t for t in (_states().get(str(change.get("kind")), "") if in_doubt(m, today) else "", str(change.get("what") or "")) if t)), (_("Changed by"), said), (_("Instead of"), called.get(str(order.get("instead_of")))), (_("Prescribed by"), name(order.get("by"))), (_("Prescribed on"), day(order.get("on"))),
            (_("How much"), ", ".join(amounts)), (_("Pharmacy"), thing(order.get("pharmacy")).get("name")), (_("What it is for"), m.get("why")), (_("When"), span(m.get("from"), m.get("to"))),
            (_("Notes"), "\n".join(note(n, name) for n in list_of(m, "notes"))),
        ),
        codes=undescribed(m.get("code")),
    )  # fmt: skip


def referral(r: dict[str, Any], name: Name, goals: dict[Any, Any]) -> Item:
    """Where the person was sent, and what came of it."""
    status = str(r.get("status") or "")
    return Item(
        str(r.get("id", "")), str(r.get("text") or thing(r.get("service")).get("name") or thing(r.get("code")).get("display") or _("A referral")),
        as_it_stands(r, _), REFERRED.get(status, "grey"),
        lines(
            (_("Service"), thing(r.get("service")).get("name")), (_("Asked of"), name(r.get("sent_to"))), (_("Sent by"), name(r.get("sent_by"))),
            (_("Sent on"), day(r.get("on"))), (_("When"), span(r.get("from"), r.get("to"))), (_("Why"), r.get("status_reason")),
            (_("For the goal"), "\n".join(str(goals[g]) for g in texts(r.get("goals")) if g in goals)),
            (_("Notes"), "\n".join(note(n, name) for n in list_of(r, "notes"))),
        ),
        codes=undescribed(r.get("code")),
    )  # fmt: skip


def unmet(u: dict[str, Any], needs: dict[Any, Any]) -> Item:
    """What was wanted and could not be had."""
    return Item(
        str(u.get("id", "")), str(u.get("wanted") or _("Not described")), "", "grey",
        lines((_("Why not"), u.get("reason")), (_("For"), needs.get(str(u.get("need")))), (_("Asked on"), day(u.get("on")))),
    )  # fmt: skip


def wheel(w: dict[str, Any], name: Name) -> Item:
    """The person's own spokes, each as numbers from 0 to 10, and as a picture."""
    who = ", ".join(t for t in (name(w.get("by")), day(w.get("on"))) if t)
    spokes = [(str(s.get("name") or _("Not described")), spoke_words(s.get("now"), s.get("next"), s.get("why"))) for s in list_of(w, "spokes")]
    return Item(str(w.get("id", "")), str(w.get("title") or _("My wheel")), "", "grey", lines(*spokes, (_("Filled in"), who)), wheel=planned_wheel(w))


def spoke_words(now: Any, next: Any, why: Any = "") -> str:
    """Where one is and hopes to be, as far as that is said, and why."""
    said = [_("now {n} out of 10").format(n=now)] if now not in (None, "") else []
    said += [_("I would like {n}").format(n=next)] if next not in (None, "") else []
    return "\n".join(t for t in (", ".join(said), str(why or "")) if t)


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as one thing: the question, what mattered, every option with what speaks for and against it, and which was chosen."""

    item: Item
    options: tuple[Item, ...]


def decision(d: dict[str, Any], name: Name, goals: dict[Any, Any]) -> Decision:
    """What was decided together. An option that was not chosen stays, and says so."""
    who = ", ".join(t for t in (name(d.get("with")), day(d.get("on"))) if t)
    about = lines(
        (_("What mattered"), d.get("matters")), (_("Why this one"), d.get("why")), (_("Decided with"), who), (_("What helped to decide"), d.get("helped_by")),
        (_("For the goal"), "\n".join(str(goals[g]) for g in texts(d.get("goals")) if g in goals)),
    )  # fmt: skip
    return Decision(Item(str(d.get("id", "")), str(d.get("question") or _("A decision that is not described")), lines=about), tuple(_option(o) for o in list_of(d, "options")))


def _option(o: dict[str, Any]) -> Item:
    chosen = o.get("chosen") is True
    said = lines((_("For it"), o.get("good")), (_("Against it"), o.get("bad")))
    return Item("", str(o.get("text") or _("Not described")), _("Chosen") if chosen else _("Not chosen"), "green" if chosen else "grey", said)


def risk(r: dict[str, Any], plan: dict[str, Any], name: Name) -> Item:
    """A tier, how it was found, and what it stands in place of."""
    before = next((o for o in list_of(plan, "risks") if o.get("id") == r.get("instead_of") and o.get("id")), {})
    what = str(r.get("of") or _("Risk"))
    return Item(
        str(r.get("id", "")), f"{what}: {r['tier']}" if r.get("tier") else what, "", "grey",
        lines((_("How it was found"), r.get("method")), (_("Why"), r.get("reason")), (_("Said by"), name(r.get("by"))), (_("On"), day(r.get("on"))),
              (_("Instead of"), before.get("tier")), (_("What helps"), r.get("what_helps"))),
    )  # fmt: skip


def written(w: dict[str, Any], name: Name) -> tuple[tuple[str, Any], ...]:
    """Who led the conversation and who wrote it down, when and where."""
    place = ", ".join(str(t) for t in (w.get("where"), thing(w.get("site")).get("name")) if t)
    return (_("Talked through with"), name(w.get("led_by"))), (_("Written down by"), name(w.get("by"))), (_("Written down on"), day(w.get("on"))), (_("Where"), place)


def standing(p: dict[str, Any], name: Name) -> tuple[tuple[str, Any], ...]:
    """Of the plan or one beside it: agreed by whom, last and next looked at, by whom, and who wrote it."""
    review = thing(p.get("review"))
    agreed = "\n".join(", ".join(t for t in (name(a.get("by")), day(a.get("on"))) if t) for a in list_of(p, "agreement"))
    return (
        (_("Agreed by"), agreed), (_("Last looked at"), day(p.get("reviewed_on"))), (_("Look at it again"), day(review.get("next"))),
        (_("How often"), review.get("every")), (_("Who sees to that"), name(review.get("responsible"))), *written(thing(p.get("written")), name),
    )  # fmt: skip


def itself(plan: dict[str, Any], name: Name) -> tuple[Line, ...]:
    """The plan about itself."""
    funding = thing(plan.get("funding"))
    payer = ", ".join(str(t) for t in (funding.get("source"), thing(funding.get("organisation")).get("name")) if t)
    return lines(
        (_("Responsible for this plan"), thing(plan.get("responsible_organisation")).get("name")), *standing(plan, name), (_("Who pays"), payer),
        (_("Notes"), "\n".join(note(n, name) for n in list_of(plan, "notes"))),
    )  # fmt: skip


def wishes(c: dict[str, Any], name: Name) -> tuple[Line, ...]:
    """How the advance statement came about."""
    a = thing(c.get("advance"))
    return lines((_("Said on"), day(a.get("on"))), (_("Where the paper is"), a.get("document")), *written({**thing(a.get("written")), **a}, name)) if a else ()
