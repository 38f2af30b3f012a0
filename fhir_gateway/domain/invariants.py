"""R4's invariants of severity error as plain Python: `RULES[key, type]` is a function node -> whether it holds.

Each is the FHIRPath expression beside it in `profiles/r4/structures.json`, written by hand because these run on every write. A rule
that needs more than its own node (`dom-*`, `ref-1`, `ele-1`, `bdl-*`) is in `validate` and `bundled`. None is left out; a test asks
fhirpathpy the same of the examples. Nodes may be malformed in other ways: what a rule cannot read is not its business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from . import units
from .primitives import span, whole

Node = dict[str, Any]
Rule = Callable[[Node], bool]
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"


# -- reading a node ---------------------------------------------------------------------------------------------------


def has(node: Node, name: str) -> bool:
    """Whether the element is there, with a value or with extensions only."""
    return name in node or "_" + name in node


def has_choice(node: Node, name: str) -> bool:
    """Whether `name[x]` is there, in whatever type."""
    size = len(name)
    for k in node:  # noqa: SIM110 - a third of the time of any()
        if name in k and (bare := k.lstrip("_")).startswith(name) and bare[size : size + 1].isupper():
            return True
    return False


def choice(node: Node, name: str) -> Any:
    size = len(name)
    return next((v for k, v in node.items() if k.startswith(name) and k[size : size + 1].isupper()), None)


def each(node: Any, name: str) -> list[Any]:
    """The objects of a repeating (or single) element."""
    value = node.get(name) if type(node) is dict else None
    items = value if type(value) is list else [value]
    return [v for v in items if type(v) is dict]


def coded(node: Node, name: str, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept element has one of these codes."""
    return any(
        c.get("system") == system and c.get("code") in codes for concept in each(node, name) for c in each(concept, "coding")
    )


def number(value: Any) -> Decimal | None:
    return Decimal(str(value)) if type(value) in (int, float, Decimal) else None


def distinct(values: list[Any]) -> bool:
    return len(values) == len(set(map(repr, values)))


def below(node: Any) -> Iterator[Node]:
    """Every object at any depth under this one."""
    for value in node.values() if type(node) is dict else node:
        if type(value) is dict:
            yield value
            yield from below(value)
        elif type(value) is list:
            yield from below(value)
    return


# -- the shapes most rules have ---------------------------------------------------------------------------------------


def one_of(*names: str) -> Rule:
    """At least one is there. `name[x]` for a choice."""
    tests = [(n[:-3], has_choice) if n.endswith("[x]") else (n, has) for n in names]
    return lambda node: any(test(node, n) for n, test in tests)


def never_both(a: str, b: str) -> Rule:
    return lambda node: not (one_of(a)(node) and one_of(b)(node))


def just_one(*names: str) -> Rule:
    tests = [one_of(n) for n in names]
    return lambda node: sum(test(node) for test in tests) == 1


def needs(a: str, b: str) -> Rule:
    """When `a` is there, `b` is too."""
    return lambda node: not one_of(a)(node) or one_of(b)(node)


def unless(a: str, values: tuple[Any, ...], *gone: str) -> Rule:
    """Unless `a` has one of these values, none of `gone` is there."""
    return lambda node: node.get(a) in values or not any(one_of(g)(node) for g in gone)


def when(a: str, value: Any, *there: str) -> Rule:
    """When `a` has this value, all of `there` are there."""
    return lambda node: node.get(a) != value or all(one_of(t)(node) for t in there)


def never_when(a: str, value: Any, *gone: str) -> Rule:
    return lambda node: node.get(a) != value or not any(one_of(g)(node) for g in gone)


# -- rules with a body ------------------------------------------------------------------------------------------------


def _in_order(node: Node, start: str, end: str) -> bool:
    first, last = node.get(start), node.get(end)
    if type(first) is not str or type(last) is not str:
        return True
    a, b = span(first), span(last)
    if a is None or b is None:
        return True
    if ("T" in first) == ("T" in last) and ("T" in first or len(first) == len(last)):
        return a[0] <= b[0]
    return a[1] < b[0]  # of different precision: FHIRPath cannot tell where they overlap, and what it cannot tell does not hold


def _measured(node: Node) -> bool:
    """age-1 and its kind: a value has a code, the system is UCUM."""
    return (has(node, "code") or not has(node, "value")) and node.get("system", UCUM) == UCUM


def _positive(node: Node) -> bool:
    value = number(node.get("value"))
    return value is None or value > 0


def _count(node: Node) -> bool:
    value = number(node.get("value"))
    whole = value is None or "." not in str(node["value"])
    return _measured(node) and node.get("code", "1") == "1" and whole


def _ratio(node: Node) -> bool:
    both = has(node, "numerator") == has(node, "denominator")
    return both and (has(node, "numerator") or "extension" in node)


def _range(node: Node) -> bool:
    """rng-2; without codes the units must be written alike to be compared."""
    low, high = node.get("low"), node.get("high")
    if type(low) is not dict or type(high) is not dict:
        return True
    a, b = number(low.get("value")), number(high.get("value"))
    if a is None or b is None:
        return True
    if "code" not in low and "code" not in high:
        return low.get("unit") == high.get("unit") and a <= b
    return units.compare(low, high) != 1


def _resolved(node: Node) -> bool:
    over = f"{HL7}/condition-clinical"
    return not has_choice(node, "abatement") or coded(node, "clinicalStatus", over, "resolved", "remission", "inactive")


def _observed_once(node: Node) -> bool:
    """obs-7"""
    if not has_choice(node, "value"):
        return True
    own = {(c.get("system"), c.get("code")) for c in each(node.get("code"), "coding")}
    parts = [c for part in each(node, "component") for c in each(part.get("code"), "coding")]
    return all((c.get("system"), c.get("code")) not in own for c in parts)


def _percent(node: Node) -> bool:
    value = number(node.get("probabilityDecimal"))
    return value is None or value <= 100


def _percents(node: Node) -> bool:
    return all(s.get("code") == "%" and s.get("system") == UCUM for s in (*each(node, "low"), *each(node, "high")))


def _offset(node: Node) -> bool:
    times = node.get("when") or []
    return not has(node, "offset") or (bool(times) and not {"C", "CM", "CD", "CV"} & set(times))


def _not_negative(name: str) -> Rule:
    def check(node: Node) -> bool:
        value = number(node.get(name))
        return value is None or value >= 0

    return check


def _trigger(node: Node) -> bool:
    kind = str(node.get("type"))
    return (
        (kind != "named-event" or has(node, "name"))
        and (kind != "periodic" or has_choice(node, "timing"))
        and (not kind.startswith("data-") or has(node, "data"))
    )


def _parameter(node: Node) -> bool:
    value, resource = has_choice(node, "value"), "resource" in node
    return not (value or resource) if "part" in node else value != resource


def _group_has_items(node: Node) -> bool:
    kind = node.get("type")
    return (kind != "group" or "item" in node) and (kind != "display" or "item" not in node)


CHOOSING = ("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity")
LENGTHY = ("boolean", "decimal", "integer", "string", "text", "url", "open-choice")


def _link_ids(node: Node) -> bool:
    return distinct([n["linkId"] for n in below(node) if "linkId" in n and not has(n, "question")])


def _retired(node: Node) -> bool:
    return node.get("status") in ("proposed", "cancelled", "waitlist") or (has(node, "start") and has(node, "end"))


def _all_have(node: Node, name: str, *wanted: str) -> bool:
    return all(has(part, w) for part in each(node, name) for w in wanted)


def _elements(node: Node) -> list[Node]:
    return [e for part in ("snapshot", "differential") for view in each(node, part) for e in each(view, "element")]


def _unique(name: str, *keys: str) -> Rule:
    return lambda node: distinct([tuple(str(part.get(k)) for k in keys) for part in each(node, name)])


def _first_path(view: str) -> Rule:
    def check(node: Node) -> bool:
        paths = [str(e.get("path")) for part in each(node, view) for e in each(part, "element")]
        return node.get("kind") == "logical" or not paths or paths[0] == node.get("type")

    return check


def _below_first(node: Node) -> bool:
    """sdf-8, sdf-8a: every path begins with the first one's root."""
    paths = [str(e.get("path")) for e in each(node, "element")]
    return not paths or all(p.startswith(paths[0].partition(".")[0] + ".") for p in paths[1:])


def _codes_once(node: Node) -> bool:
    codes = [c["code"] for c in _concepts(node) if type(c.get("code")) is str]
    return len(codes) == len(set(codes))


def _concepts(node: Node) -> Iterator[Node]:
    for c in each(node, "concept"):
        yield c
        yield from _concepts(c)


def _least_most(node: Node) -> bool:
    low, high = node.get("min"), node.get("max")
    return type(low) is not int or type(high) is not str or (most := whole(high)) is None or low <= most


def _one_action(node: Node) -> bool:
    """tst-7, 8, 9"""
    named = sum(has(node, n) for n in ("targetId", "url", "params"))
    kind = node.get("type")
    free = type(kind) is dict and kind.get("code") in ("capabilities", "search", "transaction", "history")
    return has(node, "sourceId") or named == 1 or free


ASSERTED = (
    "contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod", "resource", "responseCode",
    "response", "validateProfileId",
)  # fmt: skip


def _one_assertion(node: Node) -> bool:
    """tst-5, 6"""
    return "extension" in node or sum(has(node, n) for n in ASSERTED) <= 1


def _compared(node: Node) -> bool:
    """tst-10, 11"""
    return has(node, "compareToSourceId") == (has(node, "compareToSourceExpression") or has(node, "compareToSourcePath"))


def _directed(node: Node) -> bool:
    """tst-12, 13"""
    said = has(node, "response") or has(node, "responseCode")
    return not has(node, "direction") or node.get("direction") == "response" or not said


def _refers_only(node: Node) -> bool:
    """eld-5"""
    return not has(node, "contentReference") or not one_of(
        "type", "defaultValue[x]", "fixed[x]", "pattern[x]", "example", "minValue[x]", "maxValue[x]", "maxLength", "binding"
    )(node)


def _bindable(node: Node) -> bool:
    """eld-11"""
    codes = {t["code"] for t in each(node, "type") if "code" in t}
    return not has(node, "binding") or not codes or not codes.isdisjoint(_BINDABLE)


def _matches(name: str, pattern: str) -> Rule:
    """As FHIRPath has it: anywhere in the text, unless the pattern says where."""
    find = re.compile(pattern).search
    return lambda node: type(node.get(name)) is not str or find(node[name]) is not None


def _view(node: Node, view: str) -> list[Node]:
    return [e for part in each(node, view) for e in each(part, "element")]


def _roots(elements: list[Node]) -> list[Node]:
    return [e for e in elements if "." not in str(e.get("path"))]


def _untyped_root(view: str) -> Rule:
    """sdf-15, sdf-15a"""

    def check(node: Node) -> bool:
        first = _view(node, view)[:1]
        return node.get("kind") == "logical" or not _roots(first) or not has(first[0], "type")

    return check


def _own_ids(view: str) -> Rule:
    """sdf-16, sdf-17"""

    def check(node: Node) -> bool:
        ids = [e.get("id") for e in _view(node, view)]
        return None not in ids and distinct(ids)

    return check


def _from_hl7(node: Node) -> bool:
    return str(node.get("url", "")).startswith("http://hl7.org/fhir/StructureDefinition")


def _plain_types(node: Node) -> bool:
    """sdf-19"""
    if not _from_hl7(node):
        return True
    given = [(t["code"], view) for view in ("differential", "snapshot") for e in _view(node, view) for t in each(e, "type") if "code" in t]
    return all(_SYSTEM_TYPE.search(code) or (_PLAIN if view == "differential" else _DOTTED).search(code) for code, view in given)


def _no_defaults(node: Node) -> bool:
    """sdf-22"""
    return not _from_hl7(node) or not any(has_choice(e, "defaultValue") for e in _elements(node))


def _in_groups(node: Node) -> bool:
    """ig-1"""
    known = {g.get("id") for g in each(node, "grouping")}
    return all(r["groupingId"] in known for r in each(node, "resource") if "groupingId" in r)


def _of_its_versions(node: Node) -> bool:
    """ig-2"""
    known = set(node.get("fhirVersion") or ())
    return all(v in known for d in each(node, "definition") for r in each(d, "resource") for v in r.get("fhirVersion", ()))


_MOST = re.compile(r"\*|\d{1,9}")
_BINDABLE = ("code", "Coding", "CodeableConcept", "Quantity", "string", "uri")
_SYSTEM_TYPE = re.compile(r"^http://hl7\.org/fhirpath/System\.[A-Z][A-Za-z]+$")
_PLAIN, _DOTTED = re.compile("^[a-zA-Z0-9]+$"), re.compile(r"^[a-zA-Z0-9.]+$")
_DESCRIBED = one_of("description", "software", "implementation")
_INSTANCE = when("kind", "instance", "implementation")
_CAPABLE: Rule = lambda n: n.get("kind") != "capability" or (not has(n, "implementation") and has(n, "software"))  # noqa: E731
_REQUIRED = never_when("kind", "requirements", "implementation", "software")
_ALLERGY = f"{HL7}/allergyintolerance-verification"
_CONDITION = f"{HL7}/condition-ver-status"
_ACTION = just_one("operation", "assert")

RULES: dict[tuple[str, str], Rule] = {
    # data types
    ("age-1", "Age"): lambda n: _measured(n) and _positive(n),
    ("att-1", "Attachment"): needs("data", "contentType"),
    ("cnt-3", "Count"): _count,
    ("cpt-2", "ContactPoint"): needs("value", "system"),
    ("dis-1", "Distance"): _measured,
    ("drq-1", "DataRequirement"): just_one("path", "searchParam"),
    ("drq-2", "DataRequirement"): just_one("path", "searchParam"),
    ("drt-1", "Duration"): lambda n: not has(n, "code") or (n.get("system") == UCUM and has(n, "value")),
    ("exp-1", "Expression"): one_of("expression", "reference"),
    ("ext-1", "Extension"): just_one("extension", "value[x]"),
    ("per-1", "Period"): lambda n: _in_order(n, "start", "end"),
    ("qty-3", "Quantity"): needs("code", "system"),
    ("rng-2", "Range"): _range,
    ("rat-1", "Ratio"): _ratio,
    ("tim-1", "Timing"): needs("duration", "durationUnit"),
    ("tim-2", "Timing"): needs("period", "periodUnit"),
    ("tim-4", "Timing"): _not_negative("duration"),
    ("tim-5", "Timing"): _not_negative("period"),
    ("tim-6", "Timing"): needs("periodMax", "period"),
    ("tim-7", "Timing"): needs("durationMax", "duration"),
    ("tim-8", "Timing"): needs("countMax", "count"),
    ("tim-9", "Timing"): _offset,
    ("tim-10", "Timing"): never_both("timeOfDay", "when"),
    ("trd-1", "TriggerDefinition"): never_both("data", "timing[x]"),
    ("trd-2", "TriggerDefinition"): needs("condition", "data"),
    ("trd-3", "TriggerDefinition"): _trigger,
    ("eld-1", "ElementDefinition"): one_of("discriminator", "description"),
    ("eld-2", "ElementDefinition"): _least_most,
    ("eld-3", "ElementDefinition"): lambda most: _MOST.fullmatch(str(most)) is not None,  # of `max` itself
    ("eld-5", "ElementDefinition"): _refers_only,
    ("eld-4", "ElementDefinition"): unless("code", ("Reference", "canonical"), "aggregation"),
    ("eld-6", "ElementDefinition"): lambda n: not has_choice(n, "fixed") or len(each(n, "type")) <= 1,
    ("eld-7", "ElementDefinition"): lambda n: not has_choice(n, "pattern") or len(each(n, "type")) <= 1,
    ("eld-8", "ElementDefinition"): never_both("pattern[x]", "fixed[x]"),
    ("eld-11", "ElementDefinition"): _bindable,
    ("eld-12", "ElementDefinition"): lambda n: not has(n, "valueSet") or str(n.get("valueSet")).startswith(("http:", "https", "urn:")),
    ("eld-16", "ElementDefinition"): _matches("sliceName", r"^[a-zA-Z0-9/\-_\[\]@]+$"),
    ("eld-19", "ElementDefinition"): _matches("path", r"""[^\s.,:;'"/|?!@#$%&*()\[\]{}]"""),
    ("eld-13", "ElementDefinition"): _unique("type", "code"),
    ("eld-14", "ElementDefinition"): _unique("constraint", "key"),
    ("eld-15", "ElementDefinition"): never_both("defaultValue[x]", "meaningWhenMissing"),
    ("eld-17", "ElementDefinition"): unless("code", ("Reference", "canonical"), "targetProfile"),
    ("eld-18", "ElementDefinition"): when("isModifier", True, "isModifierReason"),
    ("eld-22", "ElementDefinition"): needs("sliceIsConstraining", "sliceName"),
    # resources
    ("cpb-1", "CapabilityStatement"): one_of("rest", "messaging", "document"),
    ("cpb-2", "CapabilityStatement"): _DESCRIBED,
    ("cpb-3", "CapabilityStatement"): lambda n: n.get("kind") == "instance" or not any(has(m, "endpoint") for m in each(n, "messaging")),
    ("cpb-7", "CapabilityStatement"): _unique("document", "profile", "mode"),
    ("cpb-9", "CapabilityStatement"): _unique("resource", "type"),
    ("cpb-12", "CapabilityStatement"): _unique("searchParam", "name"),
    ("cpb-14", "CapabilityStatement"): _INSTANCE,
    ("cpb-15", "CapabilityStatement"): _CAPABLE,
    ("cpb-16", "CapabilityStatement"): _REQUIRED,
    ("csd-1", "CodeSystem"): _codes_once,
    ("cmd-1", "ConceptMap"): lambda n: n.get("equivalence") not in ("narrower", "inexact") or has(n, "comment"),
    ("cmd-2", "ConceptMap"): when("mode", "fixed", "code"),
    ("cmd-3", "ConceptMap"): when("mode", "other-map", "url"),
    ("ig-1", "ImplementationGuide"): _in_groups,
    ("ig-2", "ImplementationGuide"): _of_its_versions,
    ("md-1", "MessageDefinition"): lambda n: _MOST.fullmatch(str(n.get("max"))) is not None and str(n["max"]).strip("0") != "",
    ("mrp-2", "MeasureReport"): lambda n: all(
        has(m, "value") != has(m, "component") for g in each(n, "group") for s in each(g, "stratifier") for m in each(s, "stratum")
    ),
    ("mea-1", "Measure"): lambda n: all(
        one_of("code", "description", "criteria")(s) != has(s, "component") for g in each(n, "group") for s in each(g, "stratifier")
    ),
    ("msq-3", "MolecularSequence"): lambda n: n.get("coordinateSystem") in (0, 1),
    ("msq-5", "MolecularSequence"): lambda n: has(n, "chromosome") == has(n, "genomeBuild"),
    ("msq-6", "MolecularSequence"): just_one("genomeBuild", "referenceSeqId", "referenceSeqPointer", "referenceSeqString"),
    ("nsd-1", "NamingSystem"): lambda n: n.get("kind") != "root" or all(u.get("type") != "uuid" for u in each(n, "uniqueId")),
    ("nsd-2", "NamingSystem"): lambda n: distinct([u.get("type") for u in each(n, "uniqueId") if u.get("preferred") is True]),
    ("opd-1", "OperationDefinition"): one_of("type", "part"),
    ("opd-2", "OperationDefinition"): unless("type", ("string",), "searchType"),
    ("opd-3", "OperationDefinition"): unless("type", ("Reference", "canonical"), "targetProfile"),
    ("sdf-1", "StructureDefinition"): lambda n: (
        n.get("derivation") == "constraint" or distinct([e.get("path") for e in _view(n, "snapshot")])
    ),
    ("sdf-9", "StructureDefinition"): lambda n: not any(has(e, k) for e in _roots(_elements(n)) for k in ("label", "code", "requirements")),
    ("sdf-10", "StructureDefinition"): lambda n: all(has(b, "valueSet") or has(b, "description") for b in each(n, "binding")),
    ("sdf-15", "StructureDefinition"): _untyped_root("snapshot"),
    ("sdf-15a", "StructureDefinition"): _untyped_root("differential"),
    ("sdf-16", "StructureDefinition"): _own_ids("snapshot"),
    ("sdf-17", "StructureDefinition"): _own_ids("differential"),
    ("sdf-19", "StructureDefinition"): _plain_types,
    ("sdf-20", "StructureDefinition"): lambda n: not any(has(e, "slicing") for e in _roots(each(n, "element"))),
    ("sdf-21", "StructureDefinition"): lambda n: (
        n.get("derivation") == "specialization" or not any(has_choice(e, "defaultValue") for e in _view(n, "differential"))
    ),
    ("sdf-22", "StructureDefinition"): _no_defaults,
    ("sdf-3", "StructureDefinition"): lambda n: _all_have(n, "element", "definition", "min", "max"),
    ("sdf-4", "StructureDefinition"): lambda n: n.get("abstract") is True or has(n, "baseDefinition"),
    ("sdf-5", "StructureDefinition"): lambda n: (
        n.get("type") != "Extension" or n.get("derivation") == "specialization" or has(n, "context")
    ),
    ("sdf-8", "StructureDefinition"): _below_first,
    ("sdf-8a", "StructureDefinition"): _below_first,
    ("sdf-8b", "StructureDefinition"): lambda n: _all_have(n, "element", "base"),
    ("sdf-11", "StructureDefinition"): _first_path("snapshot"),
    ("sdf-14", "StructureDefinition"): lambda n: all(has(e, "id") for e in _elements(n)),
    ("sdf-18", "StructureDefinition"): unless("type", ("Extension",), "contextInvariant"),
    ("sdf-23", "StructureDefinition"): lambda n: all("." in str(e.get("path")) or not has(e, "sliceName") for e in _elements(n)),
    ("smp-1", "StructureMap"): needs("element", "context"),
    ("smp-2", "StructureMap"): needs("context", "contextType"),
    ("tcp-1", "TerminologyCapabilities"): lambda n: len(each(n, "version")) <= 1 or _all_have(n, "version", "code"),
    ("tcp-2", "TerminologyCapabilities"): _DESCRIBED,
    ("tcp-3", "TerminologyCapabilities"): _INSTANCE,
    ("tcp-4", "TerminologyCapabilities"): _CAPABLE,
    ("tcp-5", "TerminologyCapabilities"): _REQUIRED,
    ("tst-3", "TestScript"): lambda n: sum(has(n, k) for k in ("expression", "headerField", "path")) <= 2,
    ("tst-4", "TestScript"): lambda n: any(has(c, "required") or has(c, "validated") for c in each(n, "capability")),
    ("tst-5", "TestScript"): _one_assertion,
    ("tst-6", "TestScript"): _one_assertion,
    ("tst-7", "TestScript"): _one_action,
    ("tst-8", "TestScript"): _one_action,
    ("tst-9", "TestScript"): _one_action,
    ("tst-10", "TestScript"): _compared,
    ("tst-11", "TestScript"): _compared,
    ("tst-12", "TestScript"): _directed,
    ("tst-13", "TestScript"): _directed,
    ("ait-1", "AllergyIntolerance"): lambda n: (
        coded(n, "verificationStatus", _ALLERGY, "entered-in-error") or has(n, "clinicalStatus")
    ),
    ("ait-2", "AllergyIntolerance"): lambda n: (
        not coded(n, "verificationStatus", _ALLERGY, "entered-in-error") or not has(n, "clinicalStatus")
    ),
    ("app-1", "Appointment"): one_of("type", "actor"),
    ("app-2", "Appointment"): lambda n: has(n, "start") == has(n, "end"),
    ("app-3", "Appointment"): _retired,
    ("app-4", "Appointment"): unless("status", ("no-show", "cancelled"), "cancelationReason"),
    ("apr-1", "AppointmentResponse"): one_of("participantType", "actor"),
    ("sev-1", "AuditEvent"): never_both("name", "query"),
    ("cpl-3", "CarePlan"): never_both("detail", "reference"),
    ("ces-1", "CoverageEligibilityResponse"): just_one("category", "productOrService"),
    ("cmp-1", "Composition"): one_of("text", "entry", "section"),
    ("cmp-2", "Composition"): never_both("emptyReason", "entry"),
    ("con-1", "Condition"): one_of("summary", "assessment"),
    ("con-2", "Condition"): one_of("code", "detail"),
    ("con-4", "Condition"): _resolved,
    ("con-5", "Condition"): lambda n: (
        not coded(n, "verificationStatus", _CONDITION, "entered-in-error") or not has(n, "clinicalStatus")
    ),
    ("ppc-1", "Consent"): one_of("policy", "policyRule"),
    ("fhs-1", "FamilyMemberHistory"): never_both("age[x]", "born[x]"),
    ("fhs-2", "FamilyMemberHistory"): needs("estimatedAge", "age[x]"),
    ("gol-1", "Goal"): needs("detail[x]", "measure"),
    ("grp-1", "Group"): lambda n: "member" not in n or n.get("actual") is True,
    ("imm-1", "Immunization"): one_of("documentType", "reference"),
    ("imr-1", "ImmunizationRecommendation"): one_of("vaccineCode", "targetDisease"),
    ("ipn-1", "InsurancePlan"): one_of("identifier", "name"),
    ("lnk-1", "Linkage"): lambda n: len(each(n, "item")) > 1,
    ("lst-1", "List"): never_both("emptyReason", "entry"),
    ("lst-2", "List"): lambda n: n.get("mode") == "changes" or not any(has(e, "deleted") for e in each(n, "entry")),
    ("lst-3", "List"): lambda n: n.get("mode") == "working" or not any(has(e, "date") for e in each(n, "entry")),
    ("mad-1", "MedicationAdministration"): one_of("dose", "rate[x]"),
    ("mdd-1", "MedicationDispense"): lambda n: _in_order(n, "whenPrepared", "whenHandedOver"),
    ("mrp-1", "MeasureReport"): never_when("type", "data-collection", "group"),
    ("obs-3", "Observation"): one_of("low", "high", "text"),
    ("obs-6", "Observation"): never_both("dataAbsentReason", "value[x]"),
    ("obs-7", "Observation"): _observed_once,
    ("org-1", "Organization"): one_of("identifier", "name"),
    ("org-2", "Organization"): lambda n: n.get("use") != "home",
    ("org-3", "Organization"): lambda n: n.get("use") != "home",
    ("inv-1", "Parameters"): _parameter,
    ("pat-1", "Patient"): one_of("name", "telecom", "address", "organization"),
    ("que-1", "Questionnaire"): _group_has_items,
    ("que-2", "Questionnaire"): _link_ids,
    ("que-3", "Questionnaire"): never_when("type", "display", "code"),
    ("que-4", "Questionnaire"): never_both("answerOption", "answerValueSet"),
    ("que-5", "Questionnaire"): unless("type", CHOOSING, "answerOption", "answerValueSet"),
    ("que-6", "Questionnaire"): never_when("type", "display", "required", "repeats"),
    ("que-7", "Questionnaire"): lambda n: n.get("operator") != "exists" or has(n, "answerBoolean"),
    ("que-8", "Questionnaire"): lambda n: n.get("type") not in ("group", "display") or "initial" not in n,
    ("que-9", "Questionnaire"): never_when("type", "display", "readOnly"),
    ("que-10", "Questionnaire"): unless("type", LENGTHY, "maxLength"),
    ("que-11", "Questionnaire"): never_both("answerOption", "initial"),
    ("que-12", "Questionnaire"): lambda n: len(each(n, "enableWhen")) <= 1 or has(n, "enableBehavior"),
    ("que-13", "Questionnaire"): lambda n: n.get("repeats") is True or len(each(n, "initial")) <= 1,
    ("qrs-1", "QuestionnaireResponse"): never_both("answer", "item"),
    ("rqg-1", "RequestGroup"): just_one("resource", "action"),
    ("ras-1", "RiskAssessment"): _percents,
    ("ras-2", "RiskAssessment"): _percent,
    ("spd-1", "SearchParameter"): needs("xpath", "xpathUsage"),
    ("spd-2", "SearchParameter"): unless("type", ("reference",), "chain"),
    ("prr-1", "ServiceRequest"): needs("orderDetail", "code"),
    ("sdf-2", "StructureDefinition"): one_of("name", "uri"),
    ("sdf-6", "StructureDefinition"): one_of("snapshot", "differential"),
    ("inv-1", "Task"): lambda n: _in_order(n, "authoredOn", "lastModified"),
    ("inv-1", "TestReport"): _ACTION,
    ("inv-2", "TestReport"): _ACTION,
    ("tst-1", "TestScript"): _ACTION,
    ("tst-2", "TestScript"): _ACTION,
    ("vsd-1", "ValueSet"): one_of("valueSet", "system"),
    ("vsd-2", "ValueSet"): lambda n: not (has(n, "concept") or has(n, "filter")) or has(n, "system"),
    ("vsd-3", "ValueSet"): never_both("concept", "filter"),
    ("vsd-6", "ValueSet"): one_of("code", "display"),
    ("vsd-9", "ValueSet"): lambda n: has(n, "code") or n.get("abstract") is True,
    ("vsd-10", "ValueSet"): needs("code", "system"),
}

# Checked in `validate` with what they need to know of the rest, or by the reader (ele-1), or without effect in R4 (ppc-2 to 5 name a
# system that does not exist).
ELSEWHERE = frozenset(
    ["ele-1", "dom-2", "dom-3", "dom-4", "dom-5", "ref-1", "txt-1", "txt-2", "ctm-1", "ppc-2", "ppc-3", "ppc-4", "ppc-5", "bdl-1", "bdl-2", "bdl-3", "bdl-4", "bdl-5", "bdl-7", "bdl-8", "bdl-9", "bdl-10", "bdl-11", "bdl-12"]
)
