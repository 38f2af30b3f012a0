"""One function for each parser that reads what strangers send. Bytes in; it ends quietly, or raises because a law is broken.

Quietly means: read, or refused in the parser's own words (`Problem`, `Uncomputable`, `Bad`, `TableError`), which can be sent as JSON.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

from joserfc.jwk import ECKey

from fhir_gateway.auth import jose
from fhir_gateway.definitions import load_r4, read_definitions
from fhir_gateway.domain import (
    answers,
    consent,
    mapping,
    narrative,
    patch,
    pathpatch,
    periods,
    plan,
    primitives,
    problem,
    provisions,
    scopes,
    standing,
    strict,
)
from fhir_gateway.domain.mapping import TableError
from fhir_gateway.domain.mapping.partner import from_plan, to_plan
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.rendering import rendered
from fhir_gateway.domain.search import matches, parse
from fhir_gateway.domain.search.indexing import keys
from fhir_gateway.domain.search.values import date_span
from fhir_gateway.domain.types import Actor
from fhir_gateway.domain.validate import check, policy
from fhir_gateway.gate.context import Context, House
from fhir_gateway.gate.paging import seal, unseal
from fhir_gateway.tables import load_tables, read_partner
from fhir_gateway.web.messages import pairs
from fhir_gateway.web.pages import words
from fhir_gateway.web.pages.plan_view import plan_view

from .. import inert
from ..unparsing import unparse
from ..worlds import P1, Dice, a_resource, a_standing, an_ask
from . import seeds

R4, TABLES = load_r4(), load_tables()
NOW = datetime(2026, 11, 26, tzinfo=UTC)
AS_JSON = {"parse_float": Decimal, "parse_int": Decimal}


@dataclass(frozen=True, slots=True)
class Harness:
    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


def quietly(read: Callable[[], Any]) -> Any:
    """What it reads; None when it is refused, in words that can be sent."""
    try:
        return read()
    except Problem as refused:
        said = strict.dump(problem.outcome(refused.issues))
        assert len(said) < 20_000 and json.loads(said)["issue"], "a refusal that is longer than its reader has patience for"
        return None


def body(data: bytes) -> Any:
    """A body as every route reads it; {} for what is refused there already."""
    return quietly(lambda: strict.read(data)) or {}


def faults(resource: dict[str, Any], **more: Any) -> list[problem.Issue]:
    """What keeps it from being stored. Said in words that can be sent."""
    said = check(resource, R4, definitions=_definitions(), **more) + policy(resource, R4)
    strict.dump(problem.outcome(said))
    return [i for i in said if i.severity in ("fatal", "error")]


@cache
def _definitions() -> Any:
    return read_definitions(None)


# -- bodies -----------------------------------------------------------------------------------------------------------


def strict_json(data: bytes) -> None:
    """What it reads is what any reader reads, and stamping changes nothing else."""
    quietly(lambda: strict.read_list(data))
    value = quietly(lambda: strict.read(data))
    if value is None:
        return
    assert json.loads(data, **AS_JSON) == json.loads(strict.dump(value), **AS_JSON)
    stamped = strict.stamp(data, id="x", version="7", updated="2026-11-26T00:00:00Z") if isinstance(value.get("meta", {}), dict) else None
    if stamped is not None:
        again = strict.read(stamped)
        assert again["id"] == "x" and again["meta"]["versionId"] == "7"
        assert strict.unstamp(stamped) == strict.unstamp(data)


def resource(data: bytes) -> None:
    """Any JSON object is judged; what is in order can be indexed and shown in every view."""
    held = body(data)
    if not faults(held) and held.get("resourceType"):
        held = {**held, "id": "x"}
        keys(held, R4)
        for views in range(4):
            strict.dump(rendered(held, views))


def json_patch(data: bytes) -> None:
    """A patch makes a resource or says why not, and leaves what it was given as it was."""
    operations = quietly(lambda: strict.read_list(data))
    if operations is None:
        return
    before = strict.dump(seeds.GOAL)
    done = quietly(lambda: patch.patched(seeds.GOAL, operations))
    assert strict.dump(seeds.GOAL) == before
    if done is not None:
        faults(done)


def fhirpath_patch(data: bytes) -> None:
    """The same of a FHIRPath Patch: a Parameters resource, or else a path alone, of which is made one."""
    asked = body(data) if data[:1] == b"{" else _one_path(data)
    before = strict.dump(seeds.GOAL)
    done = quietly(lambda: pathpatch.patched(seeds.GOAL, asked, R4))
    assert strict.dump(seeds.GOAL) == before
    if done is not None:
        faults(done)


def _one_path(data: bytes) -> dict[str, Any]:
    path = data.decode("utf-8", "replace")
    part = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}


def response(data: bytes) -> None:
    """Answers against their questions, whichever of the two is odd: `{"q": Questionnaire, "r": QuestionnaireResponse}`."""
    both = body(data)
    asked, got = both.get("q"), both.get("r")
    if isinstance(asked, dict) and isinstance(got, dict) and not faults({**asked, "resourceType": "Questionnaire"}):
        faults({**got, "resourceType": "QuestionnaireResponse"}, questionnaire=asked)
        answers.check(got, asked, R4, lambda *_, **__: None)


def a_plan(data: bytes) -> None:
    """Any plan is judged and can be shown; one that is in order comes back from FHIR as it was."""
    held = body(data)
    plan_view(held, date(2026, 11, 26), own=True)
    said = plan.check(held, TABLES)
    strict.dump(problem.outcome(said))
    if not any(i.severity == "error" for i in said):
        made = strict.read(strict.dump(mapping.bundle(held, TABLES)))
        assert mapping.from_fhir(made["entry"], TABLES) == held


# -- consent ----------------------------------------------------------------------------------------------------------


def a_consent(data: bytes) -> None:
    """Rules or `Uncomputable`, whatever its shape; what is in order says the same when written back, and decides."""
    held = body(data)
    try:
        grant = provisions.parse(held, "c", 1)
    except provisions.Uncomputable as why:
        strict.dump({"where": why.where, "why": why.why})
        return
    if faults({**held, "resourceType": "Consent"}):
        return
    assert provisions.parse(unparse(grant), "c", 1) == grant
    for seed in range(3):
        dice = Dice(seed)
        known = {P1: replace(a_standing(dice), grants=(grant,))}
        assert consent.decide(an_ask(dice), a_resource(dice), known).basis
        consent.scope(an_ask(dice), known)


def scope_words(data: bytes) -> None:
    """The scopes of a token: never an error, and spelt out they are the same again."""
    found = scopes.Scopes.parse(data.decode("utf-8", "replace"))
    assert scopes.Scopes.parse(str(found)) == found
    assert isinstance(str(found.narrow(found)), str)


# -- addresses --------------------------------------------------------------------------------------------------------


def search(data: bytes) -> None:
    """`Goal?patient=p1`: understood or refused; what it says it used, asked again, is the same search."""
    text = data.decode("utf-8", "surrogateescape")
    type, _, query = text.partition("?")
    params = quietly(lambda: pairs(query))
    if params is None or (type and not R4.has_type(type)):
        return
    for exact in (False, True):
        found = quietly(lambda exact=exact: parse(type or None, params, R4, strict=exact, base="https://example.org/fhir"))
        if found is not None:
            again = parse(type or None, found.used, R4, strict=True, base="https://example.org/fhir")
            assert (again.terms, again.sort, again.count) == (found.terms, found.sort, found.count)
            matches(found, seeds.GOAL, filtered=0, r4=R4)


def moments(data: bytes) -> None:
    """`type value`: what passes as a date, dateTime, instant or time can be read by everything that compares them."""
    name, _, text = data.decode("utf-8", "replace").partition(" ")
    if name not in ("date", "dateTime", "instant", "time", "decimal", "base64Binary", "id", "uri", "canonical", "oid", "uuid", "code", "string"):
        return
    said = primitives.wrong(name)(text)
    assert isinstance(said, str)
    strict.dump(said)
    primitives.span(text)
    date_span(text)
    if not said and name in ("date", "dateTime", "instant"):
        assert text.isascii(), "digits that are not 0 to 9"
        low, high = periods.interval(text)
        assert low <= high
        for at in (low, high):
            periods.instant(at).astimezone(periods.LONDON)
            standing.birthday(at, 16)
        words.day(text), words.moment(text), words.plain_date(text)
        if (span := date_span(text)) is not None:
            assert span[0] <= span[1]
        assert span is not None and primitives.span(text) is not None, "passes, and nothing can compare it"


def page_token(data: bytes) -> None:
    """No token that we did not give opens anything."""
    house = House(store=cast(Any, None), clock=lambda: NOW, new_id=str, r4=R4, label_sets=cast(Any, None), secret=b"s" * 32)
    ctx = Context(house, Actor("patient", frozenset(), "Patient/p1"), NOW)
    given = seal(ctx, "search Goal", {"q": [["_count", "2"]], "at": [1, "x"]})
    token = data.decode("utf-8", "replace")
    opened = quietly(lambda: unseal(ctx, "search Goal", token))
    assert opened is None or bytes.fromhex(token) == bytes.fromhex(given)


# -- tokens and keys --------------------------------------------------------------------------------------------------

KEY = ECKey.import_key({
    "kty": "EC", "crv": "P-256", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
})  # fmt: skip


def _signed() -> bytes:
    from joserfc import jws

    return jws.serialize_compact({"alg": "ES256", "kid": "k"}, b'{"iss":"a","exp":1}', KEY, algorithms=["ES256"]).encode()


def jws_token(data: bytes) -> None:
    """Opened with a known key, or `Bad`; nothing but the very token that was signed is opened."""
    token = data.decode("utf-8", "replace")
    known = jose.public_key({**KEY.as_dict(private=False), "kid": "k"})
    for read in (lambda: jose.peek(token)[1], lambda: jose.open_signed(token, [known]).claims):
        try:
            claims = read()
            for name in ("exp", "iat", "nbf"):
                jose.instant(claims, name)
        except jose.Bad:
            continue


def key_set(data: bytes) -> None:
    """The keys of another issuer, whatever stands in their set."""
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(held, dict):
        try:
            jose.public_keys(held)
        except jose.Bad:
            pass


def _sets() -> list[bytes]:
    one = {**KEY.as_dict(private=False), "kid": "k", "use": "sig", "alg": "ES256", "key_ops": ["verify"]}
    return [seeds.dumped({"keys": [one, {"kty": "oct", "k": "AAAA"}, {**one, "kid": "l", "crv": "P-384"}]}), seeds.dumped({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]})]


# -- what people show and operators write -----------------------------------------------------------------------------

def a_narrative(data: bytes) -> None:
    """What passes as narrative has nothing in it that acts, also when it is read as HTML."""
    div = data.decode("utf-8", "replace")
    said = narrative.wrong(div)
    strict.dump(said)
    if not said:
        more = narrative.active(div)
        strict.dump(more)
        if not more:
            assert inert.acting(div) == []


def partner_file(data: bytes) -> None:
    """A partner's mapping file: read, or `TableError`; what is read maps a document there and back."""
    path = _folder() / "partner.yaml"
    path.write_bytes(data)
    try:
        partner = read_partner(path)
    except TableError as wrong:
        str(wrong)
        return
    theirs = {"patient": {"surname": "B", "number": 1}, "jobs": [{"what": "x", "state": "todo", "extra": [1]}, {}], "odd": None}
    made, _ = to_plan(theirs, partner)
    from_plan(made, partner)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


HARNESSES: dict[str, Harness] = {
    h.name: h
    for h in (
        Harness("strict-json", strict_json, lambda: [seeds.dumped(seeds.GOAL), b'{"a":[1.50,-0,1E+3],"_a":[null,{"id":"\\u003a"}]}', *seeds.patches()]),
        Harness("resource", resource, lambda: [seeds.dumped(seeds.GOAL), seeds.dumped(seeds.RESPONSE), *seeds.consents()[:3]]),
        Harness("json-patch", json_patch, seeds.patches),
        Harness("fhirpath-patch", fhirpath_patch, lambda: [*seeds.pathpatches(), b"Goal.note.where(text='a' or (time.exists().not()))[0]"]),
        Harness("response", response, lambda: [seeds.dumped({"q": seeds.QUESTIONNAIRE, "r": seeds.RESPONSE})]),
        Harness("plan", a_plan, seeds.plans),
        Harness("consent", a_consent, seeds.consents),
        Harness("scopes", scope_words, lambda: [b"openid fhirUser patient/Goal.rs user/*.cruds?category=a|b&_tag=x launch/patient system/CarePlan.read"]),
        Harness("search", search, lambda: [s.encode() for s in seeds.SEARCHES]),
        Harness("moments", moments, lambda: [
            b"date 2026-02-28", b"dateTime 2026-11-26T10:00:00.123+01:00", b"instant 0001-01-01T00:00:00+14:00", b"dateTime 9999-12-31T23:59:60-12:00",
            b"date 9999", b"time 23:59:60.5", b"base64Binary AA==", b"oid urn:oid:1.2", b"dateTime 2026-02",
        ]),
        Harness("page-token", page_token, lambda: [b"00" * 40, b"zz", _page()]),
        Harness("jws", jws_token, lambda: [_signed(), b"e30.e30.e30"]),
        Harness("key-set", key_set, _sets),
        Harness("narrative", a_narrative, seeds.narratives),
        Harness("partner-file", partner_file, lambda: [seeds.PARTNER, b"partner: a\nrows:\n  - {theirs: a, plan: title}\n  - theirs: &x b\n    plan: x_a\n"]),
    )
}  # fmt: skip


def _page() -> bytes:
    house = House(store=cast(Any, None), clock=lambda: NOW, new_id=str, r4=R4, label_sets=cast(Any, None), secret=b"s" * 32)
    return seal(Context(house, Actor("patient", frozenset(), "Patient/p1"), NOW), "search Goal", {"q": [["_count", "2"]], "at": [1, "x"]}).encode()
