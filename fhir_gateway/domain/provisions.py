"""FHIR Consent to a tree of rules. What cannot be represented faithfully is refused: `Uncomputable`.

https://hl7.org/fhir/R4/consent.html; how each element is read: consent.md 1.3 to 1.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .grants import RESEARCH, Grant, Labels, Rule, Verdict
from .groups import quoting
from .periods import bounds
from .types import CONFIDENTIALITY
from .vocabulary import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY_SYSTEM,
    CONSENT_ACTION,
    CONSENT_SCOPE,
    CUSTODIAN_ROLES,
    HANDLING,
    IMPLICIT_POLICIES,
    LEGAL_SUFFIX,
    POLICY_SYSTEM,
    PROFILE_SYSTEM,
    PROXY_BASIS_SUFFIX,
    REQUESTER_ROLES,
    RESOURCE_TYPES,
    ROLE_AT,
    SECTOR_CODES,
    SECTOR_SYSTEM,
    SENSITIVITY_SYSTEM,
    UK_DIRECT_CARE,
    purposes_denied,
    purposes_permitted,
    sensitivities_below,
)  # fmt: skip

ENVIRONMENT: Final = "https://g.co/fhir/medicalrecords/Environment"
DATA_SOURCE: Final = "https://g.co/fhir/medicalrecords/DataSource"
ACTIONS: Final = frozenset({"access", "disclose", "use", "collect", "correct"})
PROVISION: Final = frozenset(
    {
        "id",
        "extension",
        "type",
        "period",
        "actor",
        "action",
        "securityLabel",
        "purpose",
        "class",
        "code",
        "dataPeriod",
        "data",
        "provision",
    }
)
_NAME: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
A_ROLE_AT: Final = re.compile(r"Organization/[A-Za-z0-9.-]{1,64} [^\s|]*\|\S(?:.*\S)?")  # see `ROLE_AT`
# The id of a rule that our pages wrote, of the whole plan: its choice, its place, its kinds (`sharing.OUR_RULE`). And what the whole plan came to hold
# after such rules were kept: a no to all of it is a no to that, too. A yes opens what it named on its day, also one within a no.
_WHOLE_PLAN: Final = re.compile(r"[A-Za-z0-9-]+\.\d+:(?:[a-z]+\+)*plan(?:\+[a-z]+)*")
_SINCE: Final = frozenset({"MedicationStatement", "MedicationRequest"})


class Uncomputable(Exception):
    """`where` is a FHIRPath, `why` a sentence. Such a consent denies and raises a task (consent.md 1.4)."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


def parse(consent: Mapping[str, Any], id: str, version: int) -> Grant:
    """The rules of a Consent. Uncomputable says where and why not."""
    try:
        return _parse(consent, id, version)
    except Uncomputable:
        raise
    except (TypeError, AttributeError, KeyError, ValueError) as wrong:
        raise Uncomputable("Consent", f"its shape cannot be read ({wrong})") from None


def _parse(consent: Mapping[str, Any], id: str, version: int) -> Grant:
    if "implicitRules" in consent:
        raise Uncomputable("Consent.implicitRules", "rules that are not in the consent itself are not known here")
    _no_modifiers(consent, "Consent")
    scope = _scope(consent.get("scope"))
    proxy, implied = _policy(consent)
    body = consent.get("provision")
    research = scope == "research"
    root = _rule(body or {}, "Consent.provision", research, implied if isinstance(implied, str) else "")
    if not root.type:
        if implied is None:
            raise Uncomputable("Consent.provision.type", "neither the provision nor the policy says whether it permits or denies")
        if set(body or {}) - {"id", "extension", "period", "type", "provision"} or root.env or root.sources:
            raise Uncomputable("Consent.provision.type", "it has criteria, but does not say whether they permit or deny")
    elif not (body or {}).get("type") and set(body or {}) - {"id", "extension", "period", "provision"}:
        raise Uncomputable("Consent.provision.type", "it has criteria, but does not say whether they permit or deny")
    patient = (consent.get("patient") or {}).get("reference")
    return Grant(id, version, consent.get("status", ""), root, scope, proxy, patient, _under(consent.get("policy", [])))


def _under(policies: Any) -> frozenset[str]:
    """What its `policy` quotes (https://hl7.org/fhir/R4/consent-definitions.html#Consent.policy.uri); one that cannot be read could be an agreement."""
    if not isinstance(policies, list):
        raise Uncomputable("Consent.policy", "it is no list")
    for i, policy in enumerate(policies):
        if not isinstance(policy, dict) or not isinstance(policy.get("uri", ""), str):
            raise Uncomputable(f"Consent.policy[{i}]", "it is no policy with a `uri` in words")
    return frozenset[str]().union(*(quoting(p["uri"]) for p in policies if p.get("uri")))


def _no_modifiers(node: Any, where: str) -> None:
    """Nothing here knows a modifierExtension, and none may be passed over (https://hl7.org/fhir/R4/extensibility.html)."""
    if isinstance(node, dict):
        if "modifierExtension" in node:
            raise Uncomputable(f"{where}.modifierExtension", "an extension that may change the meaning is not known here")
        for key, value in node.items():
            if key not in ("contained", "text"):
                _no_modifiers(value, f"{where}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _no_modifiers(value, f"{where}[{i}]")


def _scope(concept: Mapping[str, Any] | None) -> str:
    codings = _codings(concept)
    for system, code in codings:
        if system == CONSENT_SCOPE:
            if code not in ("patient-privacy", "research", "treatment", "adr"):
                raise Uncomputable("Consent.scope", f"`{code}` is not a known scope")
            return code
    if concept and not codings:
        raise Uncomputable("Consent.scope", "it has no code")
    if codings:
        raise Uncomputable("Consent.scope", f"`{codings[0][0]}` is not a known code system")
    return "patient-privacy"


def _policy(consent: Mapping[str, Any]) -> tuple[str, Verdict | None]:
    """(proxy basis, what the policy makes of a root without type): "" is silent, None is unknown."""
    proxy, implied = "", None
    for system, code in _codings(consent.get("policyRule")):
        if system.endswith(PROXY_BASIS_SUFFIX):
            proxy = code
        elif system == ACT_CODE and code in ("OPTIN", "OPTOUT"):
            implied = "permit" if code == "OPTIN" else "deny"
        elif (system == POLICY_SYSTEM and code == UK_DIRECT_CARE) or code in IMPLICIT_POLICIES:
            implied = ""
    return proxy, implied  # type: ignore[return-value]


def _rule(node: Mapping[str, Any], path: str, research: bool, implied: str = "", *, nested: bool = False) -> Rule:
    unknown = node.keys() - PROVISION
    if {k for k in unknown if not k.startswith("_")}:
        raise Uncomputable(f"{path}.{min(unknown)}", "is not known here")
    type = node.get("type") or implied
    if type not in ("permit", "deny") and (type or nested):
        raise Uncomputable(f"{path}.type", "a nested provision must say permit or deny" if not type else f"`{type}` is not known")
    who, custodians = _actors(node.get("actor", ()), path)
    said = frozenset(_code(p, f"{path}.purpose", ACT_REASON) for p in node.get("purpose", ()))
    low, high = _bounds(node.get("period"), f"{path}.period")
    data_low, data_high = _bounds(node.get("dataPeriod"), f"{path}.dataPeriod")
    env, sources = _extensions(node.get("extension", ()), path)
    types, profiles = _classes(node.get("class", ()), path)
    if type == "deny" and types and not node.get("provision") and _WHOLE_PLAN.fullmatch(str(node.get("id", ""))):
        types |= _SINCE
    instances, related, authored = _data(node.get("data", ()), path)
    labels = _labels(node.get("securityLabel", ()), path, denied=type == "deny")
    codes = frozenset(c for i, cc in enumerate(node.get("code", ())) for c in _concept(cc, f"{path}.code[{i}]"))
    dated = "dataPeriod" in node
    return Rule(
        type=type,  # type: ignore[arg-type]
        path=path, id=node.get("id", ""), who=who, said=said, purposes=_closed(said, type, research),
        low=low, high=high, actions=_actions(node.get("action", ()), path), env=env, labels=labels, types=types, profiles=profiles,
        codes=codes, data_low=data_low, data_high=data_high, dated=dated, instances=instances, related=related, authored=authored,
        custodians=custodians, sources=sources,
        what=bool(labels or types or profiles or codes or dated or instances or related or authored or custodians or sources),
        rules=tuple(_rule(p, f"{path}.provision[{i}]", research, nested=True) for i, p in enumerate(node.get("provision", ()))),
    )  # fmt: skip


def _closed(said: frozenset[str], type: str, research: bool) -> frozenset[str]:
    """The purposes a rule covers. A research consent governs research only."""
    if not said:
        return frozenset(f"{ACT_REASON}|{c}" for c in RESEARCH) if research else frozenset()
    below = purposes_denied if type == "deny" else purposes_permitted
    out: set[str] = set()
    for purpose in said:
        system, _, code = purpose.rpartition("|")
        out |= {f"{system}|{c}" for c in below(code)} if system == ACT_REASON else {purpose}
    return frozenset(out)


def _bounds(period: Mapping[str, Any] | None, where: str) -> tuple[int | None, int | None]:
    try:
        return bounds(period)
    except ValueError as wrong:
        raise Uncomputable(where, str(wrong)) from None


def _codings(concept: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [(c.get("system", ""), c.get("code", "")) for c in (concept or {}).get("coding", ())]


def _code(coding: Mapping[str, Any], where: str, system: str = "") -> str:
    if not coding.get("code"):
        raise Uncomputable(where, "a coding without code cannot be compared")
    return f"{coding.get('system', system)}|{coding['code']}"


def _concept(concept: Mapping[str, Any], where: str) -> list[str]:
    if not concept.get("coding"):
        raise Uncomputable(where, "words without a code cannot be compared")
    return [_code(c, where) for c in concept["coding"]]


def _actors(actors: Iterable[Mapping[str, Any]], path: str) -> tuple[frozenset[str], frozenset[str]]:
    who: set[str] = set()
    custodians: set[str] = set()
    for i, actor in enumerate(actors):
        where = f"{path}.actor[{i}]"
        roles = _codings(actor.get("role"))
        name = _name(actor.get("reference"), f"{where}.reference")
        if any(r in CUSTODIAN_ROLES for r in roles):
            custodians.add(name)
        elif any(r in REQUESTER_ROLES for r in roles):
            who.add(name)
        else:
            said = roles[0][1] if roles else ""
            raise Uncomputable(f"{where}.role", f"`{said}` is not a role this gateway can compute")
    return frozenset(who), frozenset(custodians)


def _name(reference: Mapping[str, Any] | None, where: str) -> str:
    """`Type/id` of this server, or `system|value`."""
    if reference and reference.get("reference"):
        text: str = reference["reference"]
        bare = text.split("/_history/", 1)[0]
        if not _NAME.fullmatch(bare):
            raise Uncomputable(where, f"`{text[:60]}` does not name anything on this server")
        return bare
    identifier = (reference or {}).get("identifier") or {}
    if not identifier.get("value"):
        raise Uncomputable(where, "it names nobody")
    _spelt(identifier.get("system", ""), identifier["value"], f"{where}.identifier.value")
    return f"{identifier.get('system', '')}|{identifier['value']}"


def _spelt(system: str, value: str, where: str) -> None:
    """A sector or a role at a place that nobody can have is a slip of the pen: a no to it would close nothing."""
    if system == SECTOR_SYSTEM and value not in SECTOR_CODES:
        raise Uncomputable(where, f"`{value[:60]}` is not a sector: {', '.join(SECTOR_CODES)}")
    if system == ROLE_AT and not A_ROLE_AT.fullmatch(value):
        raise Uncomputable(where, f"`{value[:60]}` is not a role at a place: write `Organization/id system|code`")


def _actions(concepts: Iterable[Mapping[str, Any]], path: str) -> frozenset[str]:
    out = set()
    for i, concept in enumerate(concepts):
        known = {code for system, code in _codings(concept) if system == CONSENT_ACTION and code in ACTIONS}
        if not known:
            raise Uncomputable(f"{path}.action[{i}]", "is not an action this gateway can compute")
        out |= known
    return frozenset(out)


def _extensions(extensions: Iterable[Mapping[str, Any]], path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Google's two consent directives that narrow a rule; other extensions say nothing that decides."""
    env, sources = set(), set()
    for extension in extensions:
        if extension.get("url") == ENVIRONMENT:
            env |= {f"{s}/{c}" for s, c in _codings(extension.get("valueCodeableConcept"))} or {"?"}
        elif extension.get("url") == DATA_SOURCE:
            sources.add(str(extension.get("valueUri", "?")))
    return frozenset(env), frozenset(sources)


def _classes(codings: Iterable[Mapping[str, Any]], path: str) -> tuple[frozenset[str], frozenset[str]]:
    types, profiles = set(), set()
    for i, coding in enumerate(codings):
        where = f"{path}.class[{i}]"
        _code(coding, where)
        if coding.get("system") == RESOURCE_TYPES:
            types.add(coding["code"])
        elif coding.get("system") == PROFILE_SYSTEM and "/StructureDefinition/" in coding["code"]:
            profiles.add(coding["code"].split("|", 1)[0])
        else:
            raise Uncomputable(where, f"`{coding.get('system', '')}` is not a known system of classes")
    return frozenset(types), frozenset(profiles)


def _labels(codings: Iterable[Mapping[str, Any]], path: str, *, denied: bool) -> Labels | None:
    levels, sensitive, legal = [], set(), set()
    for i, coding in enumerate(codings):
        where = f"{path}.securityLabel[{i}]"
        _code(coding, where)
        system, code = coding.get("system", ""), coding["code"]
        if system == CONFIDENTIALITY_SYSTEM and code in CONFIDENTIALITY:
            levels.append(CONFIDENTIALITY[code])
        elif (system == ACT_CODE and code not in HANDLING) or system == SENSITIVITY_SYSTEM:
            sensitive.add(code)
        elif system.endswith(LEGAL_SUFFIX):
            legal.add(code)
        else:
            raise Uncomputable(where, f"`{system}|{code}` is not a label this gateway can compute")
    if not (levels or sensitive or legal):
        return None
    level = (min(levels) if denied else max(levels)) if levels else None
    return Labels(level, sensitivities_below(sensitive, denied=denied), frozenset(legal))


def _data(data: Iterable[Mapping[str, Any]], path: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    instances, related, authored = set(), set(), set()
    for i, item in enumerate(data):
        where = f"{path}.data[{i}]"
        name = _name(item.get("reference"), f"{where}.reference")
        meaning = item.get("meaning")
        if meaning == "authoredby":
            authored.add(name)
            continue
        if "|" in name:
            raise Uncomputable(f"{where}.reference", "an identifier alone does not say which resource is meant")
        if meaning == "instance":
            instances.add(name)
        elif meaning in ("related", "dependents"):
            related.add(name)
        else:
            raise Uncomputable(f"{where}.meaning", f"`{meaning}` is not known")
    return frozenset(instances), frozenset(related), frozenset(authored)
