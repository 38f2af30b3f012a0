"""A preview in words: what somebody would see, what they would no longer see, what stays closed and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...gate import Preview, Sight
from .because import because
from .things import plural, title
from .words import _

NAMED = 8  # titles said of one kind; the rest is counted


@dataclass(frozen=True, slots=True)
class Group:
    """Things of one kind: how many, the first by title, how many more; `why` for what stays closed."""

    kind: str
    count: int
    titles: tuple[str, ...]
    more: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What the summary shows. Counts are of things that the person sees themselves. `fuller` and `barer`: seen before and after, but
    more or less of it."""

    opens: tuple[Group, ...]
    keeps: tuple[Group, ...]
    closes: tuple[Group, ...]
    closed: tuple[Group, ...]
    fuller: tuple[Group, ...]
    barer: tuple[Group, ...]
    now: int
    then: int
    total: int
    whole: bool


def view_of(preview: Preview, *, only_named: bool = False, team: bool = False) -> View:
    """A preview by kinds. `only_named` and `team` as for `because`."""
    seen = preview.sights
    kinds = {
        "opens": [s for s in seen if s.after.permit and not s.before.permit],
        "keeps": [s for s in seen if s.after.permit and s.before.permit],
        "fuller": [s for s in seen if s.after.permit and s.before.permit and s.shown[0] & ~s.shown[1]],
        "barer": [s for s in seen if s.after.permit and s.before.permit and s.shown[1] & ~s.shown[0]],
        "closes": [s for s in seen if s.before.permit and not s.after.permit],
    }
    closed = [s for s in seen if not (s.before.permit or s.after.permit)]

    def why(s: Sight) -> str:
        new = s.after.basis == "explicit" and s.before.basis != "explicit"  # a no that is only being thought of closed nothing yet
        return because(s.before if new else s.after, s.facts, only_named=only_named, team=team)

    return View(
        **{name: tuple(groups(found)) for name, found in kinds.items()}, closed=tuple(groups(closed, why)),
        now=sum(s.before.permit for s in seen), then=sum(s.after.permit for s in seen), total=len(seen), whole=preview.whole,
    )  # fmt: skip


def groups(sights: Iterable[Sight], why: Callable[[Sight], str] = lambda _: "") -> list[Group]:
    """By kind, and by reason where one is given; in the order in which they come."""
    found: dict[tuple[str, str], list[Sight]] = {}
    for s in sights:
        found.setdefault((plural(s.ref.type), why(s)), []).append(s)
    out = []
    for (kind, reason), members in found.items():
        titles = tuple(dict.fromkeys(title(s.resource) for s in members))
        titles = tuple(t for t in titles if t != kind)
        out.append(Group(kind, len(members), titles[:NAMED], max(0, len(titles) - NAMED), reason))
    return sorted(out, key=lambda g: (g.kind, g.why))


def as_team(who: str, name: str) -> str:
    """A team by its name, as what is said of it is meant: of its members for being in it, whatever each may see besides."""
    return _("{name}, as members of the team,").format(name=name) if is_team(who) else name


def is_team(who: str) -> bool:
    """Is whoever a choice names a team or a group."""
    return who.startswith(("CareTeam/", "Group/"))


def sentence(view: View, name: str) -> str:
    """`Rosa Lind can see 3 of 20 things now. With this choice they could see 9.`"""
    if view.now == view.then:
        text = _("{name} can see {now} of the {total} things in your record. This choice does not change that number.")
    else:
        text = _("{name} can see {now} of the {total} things in your record now, and {then} after this.")
    return text.format(name=name, now=view.now, then=view.then, total=view.total)


__all__ = ["Group", "View", "as_team", "groups", "is_team", "sentence", "view_of"]
