"""The no in a Consent that also says yes, which waits: as rules that only close. docs/consents.md

Each no stands by itself, with what the rules around it ask for and it does not say anew; where the two cannot be one, less is asked for. So all
that the Consent says no to is said no to, perhaps more, and nothing is said yes to. consent.md 1.3
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .provisions import PROVISION
from .vocabulary import ACT_CODE, CUSTODIAN_ROLES

GATES: Final = ("period", "purpose")  # of a rule and of all in it, beside who asks; `action` is not passed on: a no without one is to what is shared
WHAT: Final = ("class", "code", "dataPeriod", "data")  # of a rule, and of what is an exception to it; a yes reads labels the other way round
OWN: Final = PROVISION - {"provision"}


def opts_out(consent: Mapping[str, Any]) -> bool:
    """Is the policy that this Consent is an exception to a no to all? Then a yes in it says no to everybody else, however it is read here.
    https://hl7.org/fhir/R4/consent-definitions.html#Consent.policyRule"""
    return any((c.get("system"), c.get("code")) == (ACT_CODE, "OPTOUT") for c in (consent.get("policyRule") or {}).get("coding", ()))


def noes(root: Mapping[str, Any], type: str) -> dict[str, Any]:
    """The provision of a Consent that only closes, of a `root` that is read as `type` (permit, deny or silent); one without rules where there is no
    no in it. What cannot be computed is not asked about."""
    if type == "deny":
        more = [no for child in _rules(root) for no in _denied(child, _passed(root, "deny", child, {}, gates=False))]
        return {k: v for k, v in root.items() if k in OWN} | {"type": "deny"} | ({"provision": more} if more else {})
    rules = [no for child in _rules(root) for no in _denied(child, _passed(root, type, child, {}))]
    for no in rules:
        if no.get("period") == root.get("period"):
            no.pop("period", None)
    return ({"period": root["period"]} if "period" in root else {}) | ({"provision": rules} if rules else {})


def _denied(rule: Mapping[str, Any], above: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The noes of this rule and of all in it. `above`: what those around it ask for."""
    if rule["type"] == "deny":
        yield {**above, **{k: v for k, v in rule.items() if k in OWN}}
    for child in _rules(rule):
        yield from _denied(child, _passed(rule, rule["type"], child, above))


def _passed(rule: Mapping[str, Any], type: str, child: Mapping[str, Any], above: Mapping[str, Any], *, gates: bool = True) -> dict[str, Any]:
    """What a rule asks for of one in it, beside what those above ask for; the nearer takes the place of the farther."""
    exception = type not in ("", child["type"])
    out = {**above, **{k: rule[k] for k in GATES if gates and k in rule}, **{k: rule[k] for k in WHAT if exception and k in rule}}
    kept = [a for a in rule.get("actor", ()) if (exception if _custodian(a) else gates)]
    return out | ({"actor": kept} if kept else {})


def _custodian(actor: Mapping[str, Any]) -> bool:
    """Does it say whose the record is, and not who asks?"""
    return any((c.get("system", ""), c.get("code", "")) in CUSTODIAN_ROLES for c in actor["role"]["coding"])


def _rules(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = rule.get("provision") or []
    return found


__all__ = ["noes", "opts_out"]
