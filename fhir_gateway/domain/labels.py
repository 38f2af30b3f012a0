"""Which confidentiality and sensitivity a resource carries, and that nobody lowers it by writing.

Labels are made on every write from the codes in the resource (`profiles/labels.json`), joined with those it came
with and those it had. https://hl7.org/fhir/R4/security-labels.html,
the implied level https://profiles.ihe.net/ITI/PCF/volume-1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

import msgspec

from . import strict
from .types import CONFIDENTIALITY
from .vocabulary import (
    ACT_CODE,
    CONFIDENTIALITY_SYSTEM,
    HANDLING,
    HIDDEN_FROM_SELF,
    LEGAL_SUFFIX,
    SENSITIVITIES_DENIED,
    SENSITIVITY_SETS,
    SENSITIVITY_SYSTEM,
)  # fmt: skip

_LEVEL_NAMES: Final = {
    "U": "unrestricted",
    "L": "low",
    "M": "moderate",
    "N": "normal",
    "R": "restricted",
    "V": "very restricted",
}

FORM: Final = 2  # of what is made of a resource when it is labelled: another number has it all made again

Coding = dict[str, Any]
Code = tuple[str, str]  # (system, code)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The value sets of `profiles/labels.json`, ready to look codes up in.

    `digest` names them; it is empty when there are none, and then nothing counts as labelled.
    """

    exact: Mapping[Code, tuple[Code, ...]] = field(default_factory=dict)  # a resource's coding -> labels
    patterns: Mapping[str, tuple[tuple[re.Pattern[str], Code], ...]] = field(default_factory=dict)  # by system
    words: Mapping[Code, str] = field(default_factory=dict)  # label -> display
    digest: str = ""

    @classmethod
    def load(cls, raw: bytes | str | Mapping[str, Any]) -> LabelSets:
        """From a Bundle of ValueSets, as JSON text or parsed. ValueError, in one sentence, for what cannot be computed.

        A set's `useContext` with the code `focus` is the label it gives. `compose.include` lists concepts, or has one filter of
        the property `code` with the operator `regex`; a rule that would need a terminology server is refused, not passed over.
        """
        data: Mapping[str, Any] = raw if isinstance(raw, Mapping) else strict.decode(raw.encode() if isinstance(raw, str) else raw)
        exact: dict[Code, list[Code]] = {}
        patterns: dict[str, list[tuple[re.Pattern[str], Code]]] = {}
        words: dict[Code, str] = {}
        try:
            for value_set in (entry["resource"] for entry in data["entry"]):
                label, words_of = _given_by(value_set)
                words[label] = words_of
                if "exclude" in value_set.get("compose", {}):
                    raise ValueError(f"the value set {value_set['id']} excludes codes, which is not computed here")
                for include in value_set.get("compose", {}).get("include", ()):
                    system = str(include["system"])
                    for concept in include.get("concept", ()):
                        exact.setdefault((system, str(concept["code"])), []).append(label)
                    for rule in _rules(value_set["id"], include):
                        patterns.setdefault(system, []).append((rule, label))
        except (KeyError, TypeError, AttributeError, re.error) as wrong:
            raise ValueError(f"the label sets are no Bundle of ValueSets as expected ({wrong!r})") from None
        digest = sha256(msgspec.json.encode([FORM, data], order="sorted")).hexdigest()[:16]
        return cls({k: tuple(v) for k, v in exact.items()}, {k: tuple(v) for k, v in patterns.items()}, words, digest)

    @property
    def ready(self) -> bool:
        return bool(self.digest)

    def of(self, system: str, code: str) -> tuple[Code, ...]:
        """The labels that this code brings."""
        found = self.exact.get((system, code), ())
        rules = self.patterns.get(system)
        return found if rules is None else (*found, *(label for rule, label in rules if rule.fullmatch(code)))


def _given_by(value_set: Mapping[str, Any]) -> tuple[Code, str]:
    """The label that a code of this set brings, and its words."""
    for context in value_set["useContext"]:
        if context["code"]["code"] == "focus":
            label = context["valueCodeableConcept"]["coding"][0]
            return (str(label["system"]), str(label["code"])), str(label["display"])
    raise ValueError(f"the value set {value_set['id']} does not say which label it gives (useContext focus)")


def _rules(id: str, include: Mapping[str, Any]) -> list[re.Pattern[str]]:
    rules = include.get("filter", ())
    if "valueSet" in include or len(rules) > 1 or not (rules or include.get("concept")):
        raise ValueError(f"the value set {id} includes codes by a rule that is not computed here")
    for rule in rules:
        if (rule["property"], rule["op"]) != ("code", "regex"):
            raise ValueError(f"the value set {id} has a filter `{rule['property']} {rule['op']}`, which needs a terminology server")
    return [re.compile(str(rule["value"])) for rule in rules]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a resource carries. `confidentiality` one of N R V; `sensitivity` with every set its codes belong to.

    `security` is the list for `meta.security`: what came in, what was there and what was found, at most one
    confidentiality; an ordinary resource that came without labels gets none, and is N.
    """

    confidentiality: str = "R"  # until labelling has run
    sensitivity: frozenset[str] = frozenset()
    legal: frozenset[str] = frozenset()
    other: frozenset[str] = frozenset()  # system|code: NOPAT, NODSCLCD, purposes of use …
    security: list[Coding] = field(default_factory=list)
    labelled: str = ""  # by which sets; empty: labelling has not run, and it counts as restricted
    declassified: frozenset[str] = frozenset()  # system|code that somebody with the right took off: its codes do not bring it back


RESTRICTED_TYPES = frozenset({"Consent"})  # it names what it hides: for the person and their proxy (leak list L50)


def label(
    resource: Mapping[str, Any], sets: LabelSets, *, earlier: Iterable[Mapping[str, Any]] | None = None,
    declassified: frozenset[str] = frozenset(),
) -> Labels:  # fmt: skip
    """Label a resource. `earlier` is `meta.security` of the version it replaces: labels only rise.

    `declassified` are labels that its codes no longer bring; whoever puts one on again by hand ends that.
    """
    given = _security(resource)
    came = [*(earlier or ()), *given]
    said = {f"{c.get('system', '')}|{c.get('code')}" for c in given}
    off = declassified - said
    found = dict.fromkeys(lab for coding in _codings(resource) for lab in sets.of(*coding) if "|".join(lab) not in off)
    made = [{"system": s, "code": c, **({"display": sets.words[s, c]} if (s, c) in sets.words else {})} for s, c in found]
    if resource.get("resourceType") in RESTRICTED_TYPES:
        made.append({"system": CONFIDENTIALITY_SYSTEM, "code": "R", "display": _LEVEL_NAMES["R"]})
    out = replace(read([*came, *made]), labelled=sets.digest, declassified=off)
    if sets.ready:
        return out
    return replace(out, confidentiality=max(out.confidentiality, "R", key=CONFIDENTIALITY.__getitem__))


def read(security: Iterable[Mapping[str, Any]]) -> Labels:
    """What these security labels mean together."""
    kept: dict[Code, Coding] = {}
    levels: dict[str, Coding] = {}
    for coding in security:
        if not isinstance(coding, Mapping) or not isinstance(coding.get("code"), str):
            continue
        system, code = str(coding.get("system", "")), coding["code"]
        if system == CONFIDENTIALITY_SYSTEM and code in CONFIDENTIALITY:
            levels.setdefault(code, dict(coding))
        else:
            kept.setdefault((system, code), dict(coding))
    legal = frozenset(c for s, c in kept if s.endswith(LEGAL_SUFFIX))
    sensitive = frozenset(c for s, c in kept if (s == ACT_CODE and c not in HANDLING) or s == SENSITIVITY_SYSTEM)
    other = frozenset(f"{s}|{c}" for s, c in kept if c not in sensitive and not s.endswith(LEGAL_SUFFIX))
    level = _level(levels, bool(sensitive or legal))
    said = levels.get(level) or {"system": CONFIDENTIALITY_SYSTEM, "code": level, "display": _LEVEL_NAMES[level]}
    first = [said] if levels or level != "N" else []
    # Whoever writes cannot make it less than normal (and PDS calls every ordinary patient U).
    return Labels(max(level, "N", key=CONFIDENTIALITY.__getitem__), expand(sensitive), legal, other, [*first, *kept.values()])


def _level(levels: Iterable[str], implied: bool) -> str:
    """The highest of those given; a sensitivity or legal restriction implies R at least; none at all is normal."""
    found = [*levels, *(["R"] if implied else [])]
    return max(found, key=CONFIDENTIALITY.__getitem__, default="N")


def expand(codes: Iterable[str]) -> frozenset[str]:
    """These sensitivities with every set they belong to: ETHUD is SUD and ETH, SUD is BH, BH is SPI."""
    mine = frozenset(codes)
    return mine | frozenset(s for s in SENSITIVITY_SETS if not mine.isdisjoint(_members(s)))


def _members(code: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    below = SENSITIVITIES_DENIED[code]
    deeper = (_members(c, seen | {code}) for c in below if c in SENSITIVITY_SETS and c not in seen | {code})
    return below.union(*deeper)


def with_labels(shown: dict[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """For a partner, who is to keep to them: what leaves carries all its labels."""
    security = (whole.get("meta") or {}).get("security")
    if not security or (shown.get("meta") or {}).get("security") == security:
        return shown
    return {**shown, "meta": {**shown.get("meta", {}), "security": security}}


def joined(ours: Iterable[Coding], theirs: Iterable[Coding]) -> list[Coding]:
    """Both, each once: ours first."""
    out: dict[Code, Coding] = {}
    for coding in (*ours, *theirs):
        if isinstance(coding, dict) and isinstance(coding.get("code"), str):
            out.setdefault((str(coding.get("system", "")), coding["code"]), coding)
    return list(out.values())


def lowered(old: Labels, new: Labels) -> bool:
    """Would `new` be seen by anyone from whom `old` was kept."""
    return (
        CONFIDENTIALITY[new.confidentiality] < CONFIDENTIALITY[old.confidentiality]
        or not old.sensitivity <= new.sensitivity
        or not old.legal <= new.legal
        or not old.other <= new.other
    )


def raised(shown: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Does what was sent carry a label by hand, in itself or in what it contains, that is more than what its writer was shown carries."""
    return lowered(read(_security(sent)), read(_security(shown)))


def kept_from_them(shown: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Does what was sent carry a label, in itself or in what it contains, that hides it from the person themselves, and what was shown did not."""
    return not _from_them(sent) <= _from_them(shown)


def _from_them(resource: Mapping[str, Any]) -> frozenset[str]:
    found = read(_security(resource))
    return HIDDEN_FROM_SELF & (found.sensitivity | {code for code in HIDDEN_FROM_SELF if f"{ACT_CODE}|{code}" in found.other})


def _security(resource: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Labels of the resource and of everything it contains or carries: the high-water mark."""
    out: list[Mapping[str, Any]] = []
    for node in _resources(resource):
        meta = node.get("meta")
        given = meta.get("security") if isinstance(meta, dict) else None
        out += given if isinstance(given, list) else []
    return out


def _resources(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _resources(item)
    elif isinstance(node, Mapping):
        if "resourceType" in node:
            yield node
        for key in ("contained", "entry", "resource"):
            if key in node:
                yield from _resources(node[key])


def _codings(node: Any) -> Iterator[Code]:
    """Every (system, code) anywhere in the resource but in `meta`."""
    if isinstance(node, list):
        for item in node:
            yield from _codings(item)
    elif isinstance(node, Mapping):
        system, code = node.get("system"), node.get("code")
        if type(system) is str and type(code) is str:
            yield system, code
        for key, value in node.items():
            if key != "meta" and type(value) in (dict, list):
                yield from _codings(value)
