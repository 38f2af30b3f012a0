"""Which confidentiality and sensitivity a resource carries, and that nobody lowers it by writing.

Labels are made on every write from the codes in the resource (`profiles/labels.json`), joined with those it came
with and those it had. https://hl7.org/fhir/R4/security-labels.html,
the implied level https://profiles.ihe.net/ITI/PCF/volume-1.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .types import CONFIDENTIALITY
from .vocabulary import (
    ACT_CODE,
    CONFIDENTIALITY_SYSTEM,
    HANDLING,
    LEGAL_SUFFIX,
    LEGAL_SYSTEM,
    OURS,
    SENSITIVITIES_DENIED,
    SENSITIVITY_SETS,
)  # fmt: skip

SENSITIVITY_SYSTEM: Final = f"{OURS}/CodeSystem/sensitivity"  # what v3-ActCode has no word for, such as social care
_LEVEL_NAMES: Final = {
    "U": "unrestricted",
    "L": "low",
    "M": "moderate",
    "N": "normal",
    "R": "restricted",
    "V": "very restricted",
}

Coding = dict[str, Any]
Code = tuple[str, str]  # (system, code)


@dataclass(frozen=True, slots=True)
class LabelSets:
    """`profiles/labels.json`, ready to look codes up in."""

    exact: Mapping[Code, tuple[Code, ...]] = field(default_factory=dict)  # a resource's coding -> labels
    begins: Mapping[str, tuple[tuple[str, Code], ...]] = field(default_factory=dict)  # system -> (prefix, label)
    words: Mapping[Code, str] = field(default_factory=dict)  # label -> display

    @classmethod
    def load(cls, raw: bytes | str | Mapping[str, Any]) -> LabelSets:
        """From the JSON text or the parsed document."""
        data: Mapping[str, Any] = raw if isinstance(raw, Mapping) else msgspec.json.decode(raw)
        exact: dict[Code, list[Code]] = {}
        begins: dict[str, list[tuple[str, Code]]] = {}
        words: dict[Code, str] = {}
        for kind, home in (("sensitivities", ACT_CODE), ("legal", LEGAL_SYSTEM)):
            for entry in data[kind]:
                label = (str(entry.get("system", home)), str(entry["code"]))
                words[label] = str(entry["display"])
                for system, codes in entry["codes"].items():
                    for code in codes:
                        if code.endswith("*"):
                            begins.setdefault(system, []).append((code[:-1], label))
                        else:
                            exact.setdefault((system, code), []).append(label)
        return cls({k: tuple(v) for k, v in exact.items()}, {k: tuple(v) for k, v in begins.items()}, words)

    def of(self, system: str, code: str) -> tuple[Code, ...]:
        """The labels that this code brings."""
        found = self.exact.get((system, code), ())
        prefixes = self.begins.get(system)
        return found if prefixes is None else (*found, *(label for p, label in prefixes if code.startswith(p)))


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


RESTRICTED_TYPES = frozenset({"Consent"})  # it names what it hides: for the person and their proxy (leak list L50)


def label(resource: Mapping[str, Any], sets: LabelSets, *, earlier: Iterable[Mapping[str, Any]] | None = None) -> Labels:
    """Label a resource. `earlier` is `meta.security` of the version it replaces: labels only rise."""
    came = [*(earlier or ()), *_security(resource)]
    found = dict.fromkeys(lab for coding in _codings(resource) for lab in sets.of(*coding))
    made = [{"system": s, "code": c, **({"display": sets.words[s, c]} if (s, c) in sets.words else {})} for s, c in found]
    if resource.get("resourceType") in RESTRICTED_TYPES:
        made.append({"system": CONFIDENTIALITY_SYSTEM, "code": "R", "display": _LEVEL_NAMES["R"]})
    return read([*came, *made])


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
