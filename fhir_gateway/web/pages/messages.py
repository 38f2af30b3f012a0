"""Messages of a record in plain words: who said what to whom, when, how and about what. docs/messages.md"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ...around import messages
from ...domain.problem import not_found
from ...gate import Context
from .alerts import words_of
from .frame import Pages, show
from .names import bodies, called, names, own_id, own_ids
from .people import ID
from .plan_items import Item, Line, lines, list_of, thing
from .things import title
from .words import _, day, moment

HOW: Final[Mapping[str, str]] = {  # http://terminology.hl7.org/CodeSystem/v3-ParticipationMode, those that come without words
    "PHONE": "By phone", "VIDEOCONF": "By video", "EMAILWRIT": "By email", "SMSWRIT": "By text message", "FACE": "Face to face", "MAILWRIT": "By letter",
    "FAXWRIT": "By fax", "VERBAL": "Spoken", "WRITTEN": "In writing", "ELECTRONIC": "By computer", "ONLINEWRIT": "By computer",
}  # fmt: skip
STATES: Final[Mapping[str, tuple[str, str]]] = {
    "preparation": ("Not sent yet", "grey"), "in-progress": ("On its way", "blue"), "on-hold": ("On hold", "yellow"), "stopped": ("Stopped", "grey"), "not-done": ("Not sent", "grey"),
}  # fmt: skip
NAMED: Final = ("RelatedPerson", "CareTeam", "HealthcareService", "Device", "Patient")  # who sends or gets one and is in no directory
RESOLVED: Final = 50  # things of one kind that messages are about, by name
SHORT: Final = 120


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what stands above it with its lines, and what it says, paragraph by paragraph."""

    item: Item
    says: tuple[str, ...]
    files: tuple[Line, ...]
    person: str  # whose record it is in, an id
    about: str  # their name
    sender: str
    on: str

    @property
    def short(self) -> str:
        """The first words of what it says."""
        text = " ".join((self.says or (self.item.text,))[0].split())
        return text if len(text) <= SHORT else text[: SHORT - 1].rstrip() + "…"


async def mine(pages: Pages, request: Request, ctx: Context) -> Response:
    """What was said to the person and about them."""
    return await _page(pages, request, ctx, own_ids(ctx).split(","), own_id(ctx), own=True)


async def theirs(pages: Pages, request: Request, ctx: Context) -> Response:
    """The same as far as this reader may see it. Problem not-found, the same for hidden and absent."""
    id = str(request.path_params["id"])
    if not ID.fullmatch(id):
        raise not_found()
    return await _page(pages, request, ctx, [id], id, own=False)


async def _page(pages: Pages, request: Request, ctx: Context, ids: Sequence[str], person: str, *, own: bool) -> Response:
    record = await messages.of_person(ctx, ids)
    name = called(record.person) if record.person else ""
    known = await _known(ctx, record.found, {f"Patient/{id}": _("Me") if own else name or _("The person") for id in ids})
    shown = [told(m, known) for m in record.found]
    refs = {f"Communication/{m.item.id}": f"Communication/{m.item.id}" for m in shown}
    return await show(
        pages, request, "messages.html", ctx=ctx, own=own, person=person, name=name, messages=shown, more=record.more, most=messages.MOST, refs=refs,
    )  # fmt: skip


async def for_me(ctx: Context) -> list[Message]:
    """For the team's page: what others wrote to this worker, or to where they work, of late."""
    found = await messages.for_me(ctx)
    people = await _bodies(ctx, "Patient", sorted({_person(m) for m in found} - {""}))
    known = await _known(ctx, found, {f"Patient/{p['id']}": called(p) or _("Somebody without a name") for p in people})
    return [told(m, known) for m in found]


async def _bodies(ctx: Context, type: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    return await bodies(ctx, type, [("_id", ",".join(ids[:RESOLVED])), ("_count", str(RESOLVED))]) if ids else []


async def _known(ctx: Context, found: Iterable[Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """By reference, what those are called who sent or got these messages, and what they are about: as far as this reader may see it."""
    who = {_ref(r) for m in found for r in (thing(m.get("sender")), *list_of(dict(m), "recipient"))}
    what = {_ref(r) for m in found for r in _about(m)}
    out = dict(known) | await names(ctx, who)
    wanted: dict[str, list[str]] = {}
    for ref in sorted((what | {w for w in who if w.split("/")[0] in NAMED}) - out.keys()):
        type, _slash, id = ref.partition("/")
        if type[:1].isupper() and id and not {"/", ",", "|"} & set(id):
            wanted.setdefault(type, []).append(id)
    for type, ids in wanted.items():
        for body in await _bodies(ctx, type, ids):
            out[f"{type}/{body['id']}"] = _device(body) if type == "Device" else called(body) if type in NAMED else title(body)
    return out


def _device(device: Mapping[str, Any]) -> str:
    return next((str(n["name"]) for n in list_of(dict(device), "deviceName") if n.get("name")), "") or words_of(device.get("type")) or _("A device")


def _ref(reference: Mapping[str, Any]) -> str:
    """`Type/id` or `system|value`; "" where it says neither."""
    identifier = thing(reference.get("identifier"))
    if isinstance(reference.get("reference"), str):
        return str(reference["reference"]).split("/_history/")[0]
    return f"{identifier.get('system')}|{identifier.get('value')}" if identifier.get("value") else ""


def _about(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """References to what it is about: as it says, what it is based on, what it answers, and what it sends along."""
    held = dict(message)
    along = [thing(p.get("contentReference")) for p in list_of(held, "payload") if p.get("contentReference")]
    return [*list_of(held, "about"), *list_of(held, "basedOn"), *list_of(held, "inResponseTo"), *along]


def _person(message: Mapping[str, Any]) -> str:
    subject = str(thing(message.get("subject")).get("reference", ""))
    return subject.removeprefix("Patient/") if subject.startswith("Patient/") else ""


# -- in words ---------------------------------------------------------------------------------------------------------


def told(message: dict[str, Any], known: Mapping[str, str]) -> Message:
    def who(reference: Mapping[str, Any]) -> str:
        return known.get(_ref(reference)) or str(reference.get("display") or "") or _("Somebody")

    sender = thing(message.get("sender"))
    sender_name = who(sender) if sender else ""
    about = [known.get(_ref(r)) or str(r.get("display") or "") for r in _about(message)]
    how = [words_of(m) or next((_(HOW[c["code"]]) for c in list_of(m, "coding") if c.get("code") in HOW), "") for m in list_of(message, "medium")]
    state, colour = STATES.get(str(message.get("status")), ("", "grey"))
    urgent = message.get("priority") in messages.URGENT
    sort = ", ".join(t for t in map(words_of, list_of(message, "category")) if t)
    heading = words_of(message.get("topic")) or (_("From {name}").format(name=sender_name) if sender_name else _("A message"))
    item = Item(
        str(message.get("id", "")), heading, _(state) if state else _("Urgent") if urgent else "", colour if state else "red" if urgent else "grey",
        lines(
            (_("From"), sender_name),
            (_("To"), ", ".join(dict.fromkeys(who(r) for r in list_of(message, "recipient")))),
            (_("When"), _moment(messages.when(message))),
            (_("Received"), _moment(message.get("received")) if message.get("sent") else ""),
            (_("How"), ", ".join(dict.fromkeys(t for t in how if t))),
            (_("What kind"), sort),
            (_("What it is about"), "\n".join(dict.fromkeys(t for t in about if t))),
            (_("Why not"), words_of(message.get("statusReason"))),
            (_("Notes"), "\n".join(str(n["text"]) for n in list_of(message, "note") if n.get("text"))),
        ),
    )  # fmt: skip
    payload = list_of(message, "payload")
    says = tuple(str(p["contentString"]) for p in payload if p.get("contentString"))
    files = tuple(_file(thing(p["contentAttachment"])) for p in payload if p.get("contentAttachment"))
    person = _person(message)
    return Message(item, says, files, person, known.get(f"Patient/{person}", "") or _("Somebody"), sender_name, _moment(messages.when(message)))


def _file(attachment: Mapping[str, Any]) -> Line:
    """What is sent along, by its title, and where it is: an address to type, never one to follow from here."""
    return Line(str(attachment.get("title") or _("A file")), str(attachment.get("url") or _("It is kept in the record, and this page does not show it.")))


def _moment(value: Any) -> str:
    text = str(value or "")
    return moment(text) if "T" in text else day(text)

