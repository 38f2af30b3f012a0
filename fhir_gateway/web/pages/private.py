"""What in my plan is about something private: the person says so in the words that they share and hide by, and can undo it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...domain import labels, speaking
from ...domain.mapping.foreign import asks_membership
from ...domain.problem import Problem, not_found
from ...domain.sharing import LABELS, MARKS, sensitivity_system
from ...domain.types import Ref
from ...domain.vocabulary import CONFIDENTIALITY_SYSTEM, HANDLING_SYSTEM, LOCATION_PROTECTED, sensitivities_below
from ...gate import Context
from .draft import PRIVATE
from .frame import Pages, go, show
from .names import bodies, own_id, own_ids
from .things import title
from .words import _

# word -> (label that saying it puts on, labels that count as it): what a yes by the same word on the sharing pages opens
WORDS: Final[Mapping[str, tuple[tuple[str, str], frozenset[str]]]] = {
    word: ((sensitivity_system(code), code), sensitivities_below(LABELS[word], denied=False)) for word, code in MARKS.items()
}
SAID: Final = {"general": "General", **PRIVATE}
OTHER: Final = "Private"  # a sensitivity that none of the words covers
KINDS: Final = {  # type -> (heading, where its words are)
    "Goal": ("My goals", ("description", "text")), "Condition": ("What I need help with", ("code", "text")),
    "Task": ("What we will do", ("description",)), "CarePlan": ("Plans", ("title",)), "DocumentReference": ("Papers", ("description",)),
    "AllergyIntolerance": ("Allergies", ("code", "text")), "Flag": ("Warnings", ("code", "text")),
    "ClinicalImpression": ("How it came to be like this", ("summary",)), "RiskAssessment": ("Risk, as professionals see it", ("method", "text")),
    "MedicationStatement": ("My medicines", ("medicationCodeableConcept", "text")),
    "MedicationRequest": ("Medicines that were prescribed", ("medicationCodeableConcept", "text")), "Communication": ("Messages", ("topic", "text")),
}  # fmt: skip
MOST: Final = "200"


@dataclass(frozen=True, slots=True)
class Thing:
    """One item: what it says, what it is said to be about, what of that the person said, what its words may be about."""

    ref: str
    text: str
    about: tuple[str, ...]
    may_be: tuple[str, ...]
    private: bool = False

    @property
    def words(self) -> str:
        """What it is about, in the words of the page."""
        return ", ".join(_(SAID[w]) for w in self.about) or _(OTHER if self.private else SAID["general"])


def thing(resource: Mapping[str, Any]) -> Thing:
    """A resource as the page lists it."""
    node: Any = resource
    for step in () if asks_membership(resource) else KINDS[str(resource["resourceType"])][1]:
        node = node.get(step) if isinstance(node, dict) else None
    node = None if node is resource else node
    security = resource.get("meta", {}).get("security", ())
    codes, carried = {c.get("code") for c in security}, labels.read(security)
    about = tuple(w for w, (_label, counts) in WORDS.items() if counts & codes)
    may_be = tuple(speaking.topics(resource)) if not about else ()
    return Thing(f"{resource['resourceType']}/{resource['id']}", str(node or title(resource)), about, may_be, bool(carried.sensitivity or carried.legal))


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    """Every item of the plan and what it is about."""
    groups = []
    for type, (heading, _path) in KINDS.items():
        found = await bodies(ctx, type, [("patient", own_ids(ctx)), ("_count", MOST)])
        if found:
            groups.append((_(heading), [thing(r) for r in found]))
    protected = await at_risk(ctx)
    return await show(
        pages, request, "private/overview.html", ctx=ctx, groups=groups, protected=protected, done=request.query_params.get("done", "")
    )


async def at_risk(ctx: Context) -> bool:
    """Is everybody kept from seeing where the person is."""
    meta = await gate.meta_of(ctx, Ref("Patient", own_id(ctx)))
    return any(c.get("system") == HANDLING_SYSTEM and c.get("code") == LOCATION_PROTECTED for c in meta.get("security", ()))


async def change(pages: Pages, request: Request, ctx: Context) -> Response:
    """What is this about? Saying it takes effect at once; "general" takes back what the person said before."""
    ref = Ref(str(request.path_params["type"]), str(request.path_params["id"]))
    if ref.type not in KINDS:
        raise not_found()
    found = await bodies(ctx, ref.type, [("_id", ref.id), ("patient", own_ids(ctx))])
    if not found:
        raise not_found()
    mine = await gate.own_labels(ctx, ref)
    now = thing(found[0])
    fixed = tuple(w for w in now.about if not any(code in WORDS[w][1] for _system, code in mine))
    errors: dict[str, str] = {}
    if request.method == "POST":
        chosen = str(request.state.form.get("about", ""))
        if chosen in SAID:
            await _say(ctx, ref, chosen, now.about, mine)
            return go("/my-plan/private?done=said")
        errors["about"] = _("Choose what this is about.")
    return await show(
        pages, request, "private/change.html", ctx=ctx, thing=now, fixed=[_(SAID[w]) for w in fixed], errors=errors,
        chosen=now.about[0] if now.about else "general", choices=[(w, _(text)) for w, text in SAID.items()],
        action=f"/my-plan/private/{ref.type}/{ref.id}",
    )  # fmt: skip


async def _say(ctx: Context, ref: Ref, chosen: str, about: tuple[str, ...], mine: frozenset[tuple[str, str]]) -> None:
    keep = WORDS[chosen][1] if chosen in WORDS else frozenset()
    back = [label for label in mine if label[1] not in keep and (label[0] == CONFIDENTIALITY_SYSTEM or any(label[1] in c for _l, c in WORDS.values()))]
    if chosen in WORDS:
        if chosen not in about:
            await gate.put_on(ctx, ref, {"security": [_coding(WORDS[chosen][0])]})
        back = [label for label in back if label[0] != CONFIDENTIALITY_SYSTEM]
    if back:
        await gate.take_off(ctx, ref, {"security": [_coding(label) for label in back]})


def _coding(label: tuple[str, str]) -> dict[str, str]:
    return {"system": label[0], "code": label[1]}


async def where_i_am(pages: Pages, request: Request, ctx: Context) -> Response:
    """Show nobody where I am, or show it again."""
    me = Ref("Patient", own_id(ctx))
    mark = {"security": [_coding((HANDLING_SYSTEM, LOCATION_PROTECTED))]}
    if str(request.state.form.get("hide", "")) == "yes":
        await gate.put_on(ctx, me, mark)
        return go("/my-plan/private?done=hidden")
    try:
        await gate.take_off(ctx, me, mark)
    except Problem as p:
        if p.kind != "forbidden":
            raise
        return go("/my-plan/private?done=not-yours")
    return go("/my-plan/private?done=shown")
