"""The differences we know, and why we keep them: each by what the one that refuses says. The page is docs/validation.md."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

Answer = dict[str, Any]


class Known(NamedTuple):
    why: str
    refuses: str  # "hl7" or "ours"
    says: str  # of every error of the one that refuses, where: its key, a space, its words


KNOWN = [
    # they refuse, we do not
    Known("their validator ends in an exception: answers and conditions it cannot compare, a value it cannot read", "hl7", r"Exception: |_EXCEPTION |HAPI-0676|The integer null|matches more than one slice"),
    Known("extensions of FHIR 5 and code systems under http://hl7.org/fhir/ that R4 lacks (a fault named in its README)", "hl7",
          r"Extension_EXT_Version_Invalid|Unknown Code System 'http://hl7.org/fhir/|CodeSystem could not be found: http://hl7.org/fhir/|Unknown code 'http://hl7.org/fhir/message-events#"),
    Known("an OID of three arcs (a fault named in its README)", "hl7", r"OIDs must be valid \(\d+\.\d+\.\d+\)|DT_OID_Valid"),
    Known("a time of day with fractions of a second: R4 allows it", "hl7", r"DT_Time_Valid"),
    Known("minQuantity, which they compare the wrong way round", "hl7", r"QUESTIONNAIRE_QR_ITEM_QUANTITY_M"),
    Known("options that are dates or times: they compare a date with a string, and find none", "hl7", r"Questionnaire_QR_Item_No(?:Date|Time) "),
    Known("a coding without a code (the older of HL7's versions only)", "hl7", r"#null'|Code null is not valid"),
    Known("a second coding, of a system nobody here knows, beside the required one", "hl7", r"CodeSystem is unknown and can't be validated"),
    Known("codes of systems that the package holds in part, or that only a terminology server knows", "hl7",
          r"Unknown code 'http://terminology.hl7.org/CodeSystem/v3-orderableDrugForm|Unable to expand ValueSet|expression-language#|VALUESET_BAD_FILTER|"
          r"VALUESET_\w*FILTER|time-zones|urn:iso:std:iso:\d+#|IETF_SYSTEM_WRONG|ValueSet_NotFound_CS|Inappropriate CodeSystem URL"),
    Known("an extension in place of a coded value (data-absent-reason): R4 allows it", "hl7", r"Terminology_TX_Code_ValueSet_MISSING"),
    Known("the type of a reference as a whole address: R4 allows it", "hl7", r"resource-types#http"),
    Known("StructureMaps are not run: the contexts, paths and groups that a rule names are not looked up", "hl7", r"^SM_\w+ "),
    Known("profiles that an OperationDefinition names, which nobody gave", "hl7", r"^OPDEF_PROFILE_NOT_FOUND "),
    Known("several versions of one resource in a history: a reference to it is not ambiguous", "hl7", r"^Bundle_BUNDLE_MultipleMatches "),
    Known("what the parts of R4's own extensions may refer to is not checked", "hl7", r"^Reference_REF_WrongTarget .*FamilyMemberHistory\]"),
    Known("expressions of SearchParameters are not run against the types they are for", "hl7", r"^ED_SEARCH_EXPRESSION_ERROR "),
    Known("codes that a ConceptMap maps are not looked up", "hl7", r"^CONCEPTMAP_GROUP_(?:SOURCE|TARGET)_CODE_INVALID "),
    Known("element ids inside a StructureDefinition, whose two lists share theirs, are not compared", "hl7", r"^DUPLICATE_ID "),
    Known("StructureDefinitions of which that build makes no snapshot, for want of a package", "hl7", r"^ERROR_GENERATING_SNAPSHOT .*Unable to resolve package id"),
    Known("what R5 asks of the dependencies of an ImplementationGuide, R4 does not", "hl7", r"^IG_DEPENDENCY_\w+ "),
    Known("a SearchParameter of type composite with less than two components: R4 has no such rule", "hl7", r"^SEARCHPARAMETER_MISSING_COMPONENTS "),
    Known("context invariants of R4 extensions are not evaluated: one of them forbids its extension where it is meant to be used", "hl7",
          r"^Profile_EXT_Not_Here .*based on context invariant"),
    Known("a unit of another system where R4 requires UCUM: the package lists no units", "hl7", r"value set 'UCUM Codes'"),
    Known("codes of a value set that nobody gave: LOINC's answer lists", "hl7", r"value set 'LOINC Answer Codes for "),
    Known("British Sign Language (`bfi`), which RFC 5646 has", "hl7", r"value set 'All Languages'.*#bfi"),
    Known("a slice told apart by what a reference leads to, elsewhere: nothing is fetched", "hl7", r"^Validation_VAL_Profile_Minimum_SLICE Slice 'CarePlan\.goal:SupportedGoals'"),
    # we refuse, they do not
    Known("control characters in a string (a fault named in its README)", "ours", r"control character"),
    Known("a value set is no code system (HL7's newer version refuses it too)", "ours", r"is a value set, not a code system"),
    Known("an answer that refers to a type the question does not allow (HL7's newer version refuses it too)", "ours",
          r"answer.*This may refer to|is not a FHIR R4 resource type"),
    Known("an empty array of primitives (a fault named in its README)", "ours", r"is empty; leave it out"),
    Known("minQuantity, which they compare the wrong way round", "ours", r"is less than the limit"),
    Known("white space where R4 wants a code, an id or a date", "ours", r"`[\s\ufeff]+\w?` is not an? (?:code|id|date|instant|time|dateTime|type of resource)|absolute, not `\s+`"),
    Known("base64 that only Java reads", "ours", r"is not base64"),
    Known("a narrative of two roots, with a prefix or a document type: not XHTML as R4 has it", "ours",
          r"not well-formed XHTML|document type or entities|must be one `div`|xmlns:h|namespace must be \S+, not ``"),
]  # fmt: skip
_COMPILED = [(k, re.compile(k.says)) for k in KNOWN]


UNITS = "a condition on a quantity: they compare the numbers, whatever the units"
TARGET = "the type that a reference states is held against its address or a profile: nothing is fetched"
_TARGET = re.compile(r"Reference_REF_BadTargetType .*Found (\w+), but expected")
_CONDITIONED = re.compile(r"not enabled|is not answered|No response answer found|QR_ITEM_MISSING|QR_ITEM_GROUP_REQUIRED")


def why(case: dict[str, Any], ours: Answer, hl7: Answer) -> str:
    """Why the two differ; "" when we do not know. Every error of the side that refuses must be one we know."""
    side, answer = ("hl7", hl7) if ours["valid"] else ("ours", ours)
    said = [f"{i.get('key') or ''} {'answer: ' if '.answer[' in i['location'] else ''}{i['message']}" for i in answer["issues"] if i["severity"] in ("error", "fatal")]
    reasons = []
    for words in said:
        if _CONDITIONED.search(words) and "answerQuantity" in str(case):
            reasons.append(UNITS)
            continue
        if (wrong := _TARGET.match(words)) and f'"type": "{wrong[1]}"' in json.dumps(case):
            reasons.append(TARGET)
            continue
        found = next((k.why for k, pattern in _COMPILED if k.refuses == side and pattern.search(words)), "")
        if not found:
            return ""
        reasons.append(found)
    return reasons[0] if reasons else ""
