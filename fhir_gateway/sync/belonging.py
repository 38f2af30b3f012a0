"""Is what bears the tag of a resource about the same person, and the same thing? A tag alone joins no two records. docs/notes/0024"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from ..domain import strict
from ..domain.compartment import patients
from ..domain.identity import unlike as no_longer
from ..domain.masked import HELD_BACK, held_back
from ..domain.problem import Problem
from ..domain.reasons import because
from ..domain.rendering import rendered
from ..domain.spelling import named
from ..domain.types import VIEW, Cut, Ref, Stored
from ..domain.withheld import is_stub
from ..gate import House, may_send
from ..remote.client import Refusal, Unknown
from . import missing, tags
from .ahead import Ahead, Far
from .partner import Partner, as_owner, incoming, local_references
from .shapes import misshapen

LOOKED_BACK: Final = 20  # versions of ours
NOBODY: Final = "Patient/-"  # whoever it is, none of ours


async def another(house: House, partner: Partner, people: Collection[str], there: Mapping[str, Any]) -> bool:
    """Is this about somebody else than `people` (our `Patient/id`), as far as its Patients are known here, or by what is there of them? Not
    asked of a Patient. Down."""
    if there.get("resourceType") == "Patient":
        return False
    known = await about(house, partner, there)
    if not people or known:
        return bool(people) and known.isdisjoint(people)
    return await _strangers(house, partner, people, there)


async def same(house: House, partner: Partner, people: Collection[str], there: Mapping[str, Any], under_way: Ahead | None = None) -> bool:
    """Is it surely about them, and about nobody else? What is nobody's, a Patient, and a stub, which names nobody, are not asked about. It is not
    sure of what leads to more people than are looked at for one change. Down."""
    if not people or there.get("resourceType") == "Patient" or is_stub(there):
        return True
    ahead, names, asked = under_way or Ahead(), dict[str, str](), set(patients(there))
    for target in (r for r in local_references(there) if str(r) in asked):
        try:
            names[str(target)] = await _ours(house, partner, people, target, ahead)
        except Far:
            return False
        if names[str(target)] not in people:
            return False
    about = patients(incoming(there, None, names, _held_back(there)))
    return bool(about) and set(about) <= set(people)


async def _strangers(house: House, partner: Partner, people: Collection[str], there: Mapping[str, Any]) -> bool:
    """Of the Patients whom this is about none has a link: do those who can be read there bear the tag of somebody else here, or say who they
    are, and it is none of `people`. Who cannot be read says nothing, and nothing is held back for them."""
    ahead, asked, others = Ahead(), set(patients(there)), False
    stored = await house.store.get_many([Ref(*person.split("/")) for person in people])
    ours = [strict.decode(s.body) for s in stored.values() if s.body is not None]
    for target in (r for r in local_references(there) if str(r) in asked):
        with suppress(Refusal, Unknown, Far):
            body = await _read(house, partner, ahead, target)
            if body is None:
                continue
            tagged = await tags.ours(house, body)
            if str(tagged) in people or (tagged is None and any(no_longer(mine, body) != "changed" for mine in ours)):
                return False
            others = True
    return others


async def about(house: House, partner: Partner, there: Mapping[str, Any]) -> set[str]:
    """Ours of the Patients that this names: by their links, or by our own name where the Patient is not there."""
    links = [await house.store.link_by_remote(partner.name, str(r)) for r in local_references(there) if r.type == "Patient"]
    return {str(link.ref) for link in links if link is not None} | _held_back(there)


async def _ours(house: House, partner: Partner, people: Collection[str], target: Ref, ahead: Ahead) -> str:
    """Who this Patient there is here: by a link, or as a copy of one of them; else nobody whom we know. Far."""
    link = await house.store.link_by_remote(partner.name, str(target))
    if link is not None:
        return str(link.ref)
    with suppress(Refusal, Unknown):
        body = await _read(house, partner, ahead, target)
        ours = str(await tags.ours(house, body)) if body is not None else ""
        if ours in people:
            return ours
    return NOBODY


async def _read(house: House, partner: Partner, ahead: Ahead, target: Ref) -> dict[str, Any] | None:
    """Who is there under this name now; None where nobody is, or nothing of the shape of a person. Refusal, Unknown, Far, Down."""
    body = await ahead.bounded(missing.now(house, partner, str(target)))
    return body if body is not None and misshapen(house, body) is None else None


def _held_back(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for n in node for name in _held_back(n)}
    if not isinstance(node, dict):
        return set()
    here = {named(str(node.get("value")))} if node.get("system") == HELD_BACK and str(node.get("value", "")).startswith("Patient/") else set()
    return here | {name for v in node.values() for name in _held_back(v)}


def wrong() -> Problem:
    return because("strange", "meta.tag")


async def vouched(house: House, partner: Partner, stored: Stored, there: Mapping[str, Any]) -> dict[str, Any] | None:
    """What both sides began with, where ours, which somebody else gave us as a copy of this record of theirs, is that: all that it said when
    it came, or says now, their gateway says there, or once said. None where it never did. Of a Patient who it is counts instead. Down."""
    if there.get("resourceType") == "Patient":
        return {}
    return await _once_said(partner, there, await _states(house, stored, (1, stored.version)), lambda ours, theirs: all(theirs.get(k) == v for k, v in ours.items()))


async def alike(house: House, partner: Partner, stored: Stored, there: Mapping[str, Any]) -> dict[str, Any] | None:
    """What both sides last said alike, each now or at some time, as others see it, where neither is a copy of the other's; None where they
    never did. Where nothing of theirs is taken, theirs must say it now: else ours would go over what they changed. Down."""
    versions = range(stored.version, max(0, stored.version - LOOKED_BACK), -1)
    ours, now = await _states(house, stored, versions, Cut(VIEW)), partner.terms.direction == "out"
    return await _once_said(partner, there, ours, lambda ours, theirs: ours == theirs, now=now)


async def once_ours(house: House, stored: Stored, there: Mapping[str, Any]) -> bool:
    """Did one of our versions, as others see it, say just this: then nothing of theirs is in it that is not here."""
    versions = range(stored.version, max(0, stored.version - LOOKED_BACK), -1)
    return _words(there) in await _states(house, stored, versions, Cut(VIEW))


async def _states(house: House, stored: Stored, versions: Iterable[int], shown: Cut | None = None) -> list[dict[str, Any]]:
    found = [stored if v == stored.version else await house.store.version(stored.ref, v) for v in versions]
    bodies = [strict.decode(s.body) for s in found if s is not None and s.body is not None]
    return [_words(rendered(body, shown) if shown is not None else body) for body in bodies]


async def _once_said(
    partner: Partner, there: Mapping[str, Any], ours: Sequence[dict[str, Any]], agree: Callable[[dict[str, Any], dict[str, Any]], bool],
    now: bool = False,
) -> dict[str, Any] | None:  # fmt: skip
    """The first of ours with which theirs of now agrees, or (but for `now`) a state of it that their server shows."""

    def among(bodies: Iterable[Any]) -> dict[str, Any] | None:
        theirs = [_words(body) for body in bodies if isinstance(body, dict)]
        return next((said for said in ours if any(agree(said, by) for by in theirs)), None)

    if (agreed := among([there])) is not None or now:
        return agreed
    try:
        async for page in partner.server.history(f"{there['resourceType']}/{there['id']}", None):
            return among(e.value.get("resource") for e in page.entries if not e.broken)
    except (Refusal, Unknown):  # it shows no versions: what it says now counts
        pass
    return None


def _words(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a resource says but for whom and what it names, which is called otherwise at each gateway."""
    return {k: found for k, v in body.items() if k not in ("resourceType", "id", "meta", "text", "contained") and (found := _wordy(v)) not in ({}, [])}


def _wordy(node: Any) -> Any:
    if isinstance(node, list):
        return [found for n in node if (found := _wordy(n)) not in ({}, [])]
    if not isinstance(node, dict):
        return node
    if "reference" in node or held_back(node) is not None:
        return {}
    attached = "url" in node and not any(k.startswith("value") or k == "extension" for k in node)  # an address, not what an extension is called
    return {k: _wordy(v) for k, v in node.items() if k not in (("url", "_url") if attached else ())}


async def copied_once(house: House, partner: Partner, gone: Ref, people: Collection[str], under_way: Ahead) -> Ref | None:
    """What of ours this, which another gateway has deleted, was a copy of, as far as they may have it: whoever names the old copy there means
    the same as ours that names it, in a record about `people`, ours, alone: no name of theirs leads from one person to another. None where it was none, or is not shown to us any more. Far, Down."""
    if not (await partner.met()).gateway:
        return None
    shown = await under_way.bounded(partner.server.version(gone.type, gone.id, "1"))
    ours = await tags.ours(house, shown) if shown is not None else None
    stored = await house.store.get(ours) if ours is not None else None
    if stored is not None and stored.deleted:  # theirs went with it: as it was last
        stored = await house.store.version(stored.ref, stored.version - 1)
    if shown is None or stored is None or stored.deleted or not set(people).issuperset(stored.facts.patients) or await another(house, partner, stored.facts.patients, shown):
        return None
    ctx = await as_owner(house, partner, "disclose")
    return ours if (await may_send(ctx, partner.terms, stored)).permit else None


def unlike() -> Problem:
    return because("unlike", "meta.tag")
