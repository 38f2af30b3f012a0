"""Questionnaires of every kind of item, and responses to them: mostly right, then with one thing changed.

`asked(rnd, url)` gives (kind, questionnaire, response).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

Node = dict[str, Any]
EXT = "http://hl7.org/fhir/StructureDefinition/"
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-"
UCUM = "http://unitsofmeasure.org"
TYPES = [
    "boolean", "decimal", "integer", "date", "dateTime", "time", "string", "text", "url", "choice", "choice", "open-choice", "attachment", "reference", "quantity",
    "group", "group", "display",
]  # fmt: skip
CODES = [{"system": "http://q.test/c", "code": c, "display": c.upper()} for c in "abcd"]
VALUES: dict[str, list[tuple[str, Any]]] = {
    "boolean": [("Boolean", True), ("Boolean", False)],
    "decimal": [("Decimal", 1.5), ("Decimal", 3), ("Decimal", -0.25), ("Decimal", 10.125)],
    "integer": [("Integer", 1), ("Integer", 7), ("Integer", -2), ("Integer", 0)],
    "date": [("Date", "2024-02-29"), ("Date", "2024"), ("Date", "2024-02"), ("Date", "2025-01-01")],
    "dateTime": [("DateTime", "2024-02-29T10:00:00Z"), ("DateTime", "2024-02-29"), ("DateTime", "2024")],
    "time": [("Time", "10:00:00"), ("Time", "23:59:59"), ("Time", "00:00:00")],
    "string": [("String", "ab"), ("String", "some words"), ("String", "12345")], "text": [("String", "long\ntext"), ("String", "ab")],
    "url": [("Uri", "http://e.test/x"), ("Uri", "urn:oid:1.2.3.4")], "choice": [("Coding", c) for c in CODES],
    "open-choice": [*[("Coding", c) for c in CODES[:2]], ("String", "other"), ("String", "A")],
    "attachment": [("Attachment", {"contentType": "text/plain", "data": "aGVsbG8=", "title": "x"}), ("Attachment", {"contentType": "image/png", "url": "http://e.test/i"})],
    "reference": [("Reference", {"reference": "Patient/1"}), ("Reference", {"reference": "Organization/1"}), ("Reference", {"display": "x"})],
    "quantity": [("Quantity", {"value": v, "unit": u, "system": UCUM, "code": u}) for v in (1, 2.5, 100) for u in ("kg", "g")] + [("Quantity", {"value": 3})],
}  # fmt: skip
OPERATORS = ["exists", "=", "!=", ">", "<", ">=", "<="]


class Asking:
    """A random Questionnaire."""

    def __init__(self, rnd: Random, url: str) -> None:
        self.rnd = rnd
        self.links: list[tuple[str, str]] = []  # (linkId, type) of the questions so far
        self.n = 0
        self.contained: list[Node] = []
        items = [self.item(0) for _ in range(rnd.randint(2, 6))]
        self.questionnaire: Node = {"resourceType": "Questionnaire", "url": url, "status": "active", "item": items}
        if self.contained:
            self.questionnaire["contained"] = self.contained
        if rnd.random() < 0.2:
            self.questionnaire["version"] = "1"

    def item(self, depth: int) -> Node:
        rnd = self.rnd
        kind = rnd.choice(TYPES)
        self.n += 1
        link = f"{self.n}" if rnd.random() < 0.7 else f"g.{self.n}"
        out: Node = {"linkId": link, "type": kind}
        if rnd.random() < 0.7 or kind == "display":
            out["text"] = f"Question {self.n}"
        if rnd.random() < 0.35 and kind != "display":
            out["required"] = True
        if rnd.random() < 0.25 and kind != "display":
            out["repeats"] = True
        if self.links and rnd.random() < 0.4:
            self.conditions(out)
        self.limits(out, kind)
        if kind != "group" and kind != "display":
            self.links.append((link, kind))
        if kind == "group" or (kind != "display" and depth < 2 and rnd.random() < 0.2):
            out["item"] = [self.item(depth + 1) for _ in range(rnd.randint(1, 3))] if depth < 3 else [{"linkId": f"{link}.x", "type": "string"}]
        if kind not in ("group", "display") and "answerOption" not in out and rnd.random() < 0.1:
            name, value = rnd.choice(VALUES[kind])
            out["initial"] = [{"value" + name: value}]
        return out

    def conditions(self, out: Node) -> None:
        rnd = self.rnd
        some = []
        for _ in range(rnd.choice((1, 1, 1, 2, 3))):
            link, kind = rnd.choice(self.links)
            operator = rnd.choice(OPERATORS)
            if operator == "exists":
                answer: Node = {"answerBoolean": rnd.random() < 0.6}
            else:
                name, value = rnd.choice([v for v in VALUES[kind] if v[0] not in ("Attachment", "Uri")] or [("String", "x")])
                answer = {"answer" + name: deepcopy(value)}
            some.append({"question": link, "operator": operator, **answer})
        out["enableWhen"] = some
        if len(some) > 1 or rnd.random() < 0.2:
            out["enableBehavior"] = rnd.choice(["all", "any"])

    def limits(self, out: Node, kind: str) -> None:
        rnd, more = self.rnd, []
        if kind in ("choice", "open-choice"):
            self.options(out)
        elif kind in ("integer", "string", "date", "time") and rnd.random() < 0.25:
            out["answerOption"] = [{"value" + n: v} for n, v in VALUES[kind][:2]]
        if kind in ("string", "text", "url", "integer", "decimal") and rnd.random() < 0.3:
            out["maxLength"] = rnd.choice([1, 2, 5, 20])
        if kind in ("string", "text") and rnd.random() < 0.3:
            more.append({"url": EXT + "minLength", "valueInteger": rnd.choice([1, 3, 8])})
        if kind == "string" and rnd.random() < 0.15:
            more.append({"url": EXT + "regex", "valueString": rnd.choice(["[a-z]+", "[0-9]{5}", ".*"])})
        if kind in ("integer", "decimal", "date", "dateTime") and rnd.random() < 0.4:
            name, value = rnd.choice(VALUES[kind])
            more.append({"url": EXT + rnd.choice(["minValue", "maxValue"]), "value" + name: value})
        if kind == "decimal" and rnd.random() < 0.3:
            more.append({"url": EXT + "maxDecimalPlaces", "valueInteger": rnd.choice([0, 1, 2])})
        if kind == "quantity" and rnd.random() < 0.4:
            more.append({"url": SDC + rnd.choice(["minQuantity", "maxQuantity"]), "valueQuantity": VALUES["quantity"][rnd.randrange(4)][1]})
        if kind == "quantity" and rnd.random() < 0.3:
            more.append({"url": EXT + "questionnaire-unitOption", "valueCoding": {"system": UCUM, "code": "kg"}})
        if kind == "attachment" and rnd.random() < 0.3:
            more.append({"url": EXT + "mimeType", "valueCode": "text/plain"})
        if kind == "attachment" and rnd.random() < 0.2:
            more.append({"url": EXT + "maxSize", "valueDecimal": 0.000001})
        if kind == "reference" and rnd.random() < 0.4:
            more.append({"url": EXT + "questionnaire-referenceResource", "valueCode": "Patient"})
        if more:
            out["extension"] = more

    def options(self, out: Node) -> None:
        match self.rnd.randrange(5):
            case 0 | 1:
                out["answerOption"] = [{"valueCoding": c} for c in CODES[:3]]
                if self.rnd.random() < 0.2:
                    out["answerOption"][0]["extension"] = [{"url": EXT + "questionnaire-optionExclusive", "valueBoolean": True}]
            case 2:
                id_ = f"vs{len(self.contained)}"
                self.contained.append({"resourceType": "ValueSet", "id": id_, "status": "active", "compose": {"include": [
                    {"system": "http://q.test/c", "concept": [{"code": c["code"]} for c in CODES[:2]]}]}})  # fmt: skip
                out["answerValueSet"] = "#" + id_
            case 3:
                out["answerValueSet"] = self.rnd.choice(["http://hl7.org/fhir/ValueSet/administrative-gender", "http://e.test/unknown"])


class Answering:
    """A response that answers what is enabled."""

    def __init__(self, rnd: Random, questionnaire: Node) -> None:
        self.rnd = rnd
        self.given: dict[str, list[Any]] = {}
        self.response: Node = {
            "resourceType": "QuestionnaireResponse", "status": rnd.choice(["completed"] * 4 + ["in-progress", "amended", "stopped"]),
            "questionnaire": questionnaire["url"],
        }  # fmt: skip
        if items := self.items(questionnaire):
            self.response["item"] = items

    def items(self, asked: Node) -> list[Node]:
        out = []
        for q in asked.get("item", []):
            if q["type"] == "display" and self.rnd.random() < 0.7:
                continue
            if not q.get("required") and self.rnd.random() < 0.3:
                continue
            if not self.enabled(q) and self.rnd.random() < 0.93:
                continue
            times = self.rnd.choice((1, 2)) if q["type"] == "group" and q.get("repeats") else 1
            out += [self.item(q) for _ in range(times)]
        return out

    def item(self, q: Node) -> Node:
        out: Node = {"linkId": q["linkId"]}
        if "text" in q and self.rnd.random() < 0.6:
            out["text"] = q["text"]
        if q["type"] == "group":
            if items := self.items(q):
                out["item"] = items
        elif q["type"] != "display":
            out["answer"] = [self.answer(q) for _ in range(self.rnd.choice((1, 2)) if q.get("repeats") else 1)]
        return out

    def answer(self, q: Node) -> Node:
        name, value = self.value(q)
        self.given.setdefault(q["linkId"], []).append(value)
        out: Node = {"value" + name: deepcopy(value)}
        if q.get("item") and (items := self.items(q)):
            out["item"] = items
        return out

    def value(self, q: Node) -> tuple[str, Any]:
        if q.get("answerOption"):
            option = self.rnd.choice(q["answerOption"])
            name = next(k for k in option if k.startswith("value"))
            return name[5:], option[name]
        if str(q.get("answerValueSet", "")).endswith("gender"):
            return "Coding", {"system": "http://hl7.org/fhir/administrative-gender", "code": self.rnd.choice(["male", "female", "other"])}
        return self.rnd.choice(VALUES[q["type"]][:2] if q["type"] in ("choice", "open-choice") else VALUES[q["type"]])

    def enabled(self, q: Node) -> bool:
        """A guess, so that most responses are right; which it is, the validators say."""
        held = []
        for c in q.get("enableWhen", []):
            given, wanted = self.given.get(c["question"], []), next(v for k, v in c.items() if k.startswith("answer"))
            if c["operator"] == "exists":
                held.append(bool(given) is wanted)
            elif c["operator"] == "=":
                held.append(wanted in given)
            elif c["operator"] == "!=":
                held.append(bool(given) and wanted not in given)
            else:
                held.append(bool(given) and self.rnd.random() < 0.5)
        return not held or (any(held) if q.get("enableBehavior") == "any" else all(held))


# -- one thing changed ------------------------------------------------------------------------------------------------


class Nothing(Exception):
    pass


def _every(node: Node, holder: list[Node] | None = None) -> list[tuple[list[Node], Node]]:
    out = []
    for item in node.get("item", []):
        out.append((node["item"], item))
        out += _every(item)
        for answer in item.get("answer", []):
            out += _every(answer)
    return out


def _pick(rnd: Random, r: Node, answered: bool = False) -> tuple[list[Node], Node]:
    some = [(h, i) for h, i in _every(r) if not answered or i.get("answer")]
    if not some:
        raise Nothing
    return rnd.choice(some)


def drop(rnd: Random, q: Node, r: Node) -> None:
    holder, item = _pick(rnd, r)
    holder.remove(item)


def drop_answer(rnd: Random, q: Node, r: Node) -> None:
    _, item = _pick(rnd, r, True)
    match rnd.randrange(4):
        case 0:
            item.pop("answer")
        case 1:
            item["answer"] = rnd.choice([[{}], [], [{"valueString": ""}], [{"extension": [{"url": "http://e.test/x", "valueCode": "y"}]}]])
        case 2:
            answer = rnd.choice(item["answer"])
            for k in [k for k in answer if k.startswith("value")]:
                del answer[k]
        case 3:
            answer = rnd.choice(item["answer"])
            for k in [k for k in answer if k.startswith("value")]:
                answer["_" + k] = {"extension": [{"url": EXT + "data-absent-reason", "valueCode": "unknown"}]}
                del answer[k]


def other_value(rnd: Random, q: Node, r: Node) -> None:
    _, item = _pick(rnd, r, True)
    answer = rnd.choice(item["answer"])
    for k in [k for k in answer if k.startswith("value")]:
        del answer[k]
    name, value = rnd.choice(VALUES[rnd.choice(sorted(VALUES))])
    answer["value" + name] = deepcopy(value)


def same_type(rnd: Random, q: Node, r: Node) -> None:
    """Another value of the same type: against options, limits, lengths, conditions."""
    _, item = _pick(rnd, r, True)
    answer = rnd.choice(item["answer"])
    k = next((k for k in answer if k.startswith("value")), "")
    some: dict[str, list[Any]] = {
        "valueString": ["", " ", "x" * 30, "ab", "AB", "12345", "1", "A", "a"], "valueInteger": [-100, 100, 0, 1, 7], "valueDecimal": [-100, 100, 1.123, 1.50, 0],
        "valueDate": ["2020-01-01", "2030", "2024-02", "2024"], "valueDateTime": ["2020", "2030-01-01T00:00:00Z", "2024-02-29T11:00:00+01:00"], "valueTime": ["00:00:00", "10:00:00", "10:00:01"],
        "valueBoolean": [True, False], "valueUri": ["x", "http://e.test/" + "x" * 20],
        "valueCoding": [{"system": "http://q.test/c", "code": "d"}, {"system": "http://q.test/c", "code": "a", "display": "other"}, {"code": "a"}, {"system": "http://other.test", "code": "a"}, {"display": "A"},
                        {"system": "http://q.test/c"}, {"system": "http://q.test/c", "version": "2", "code": "a"}, {"system": "http://hl7.org/fhir/administrative-gender", "code": "x"}],
        "valueQuantity": [{"value": 5000, "unit": "g", "system": UCUM, "code": "g"}, {"value": 0.1, "system": UCUM, "code": "kg"}, {"value": 1}, {"unit": "kg"}, {"value": 1, "unit": "kg"}, {"value": 1, "system": UCUM, "code": "cm"}],
        "valueReference": [{"reference": "Practitioner/1"}, {"reference": "http://e.test/Patient/1"}, {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}, {"type": "Patient", "display": "x"}, {"reference": "#x"}, {"reference": "Foo/1"}],
        "valueAttachment": [{"contentType": "application/pdf", "data": "aGVsbG8="}, {"title": "x"}, {"data": "aGVsbG8="}, {"contentType": "text/plain", "url": "http://e.test/x", "size": 10}],
    }  # fmt: skip
    if k not in some:
        raise Nothing
    answer[k] = rnd.choice(some[k])


def more_answers(rnd: Random, q: Node, r: Node) -> None:
    _, item = _pick(rnd, r, True)
    item["answer"].append(deepcopy(rnd.choice(item["answer"])))


def more_items(rnd: Random, q: Node, r: Node) -> None:
    holder, item = _pick(rnd, r)
    holder.insert(holder.index(item) + rnd.choice((0, 1)), deepcopy(item))


def order(rnd: Random, q: Node, r: Node) -> None:
    holder, _ = _pick(rnd, r)
    if len(holder) < 2:
        raise Nothing
    rnd.shuffle(holder)


def link(rnd: Random, q: Node, r: Node) -> None:
    _, item = _pick(rnd, r)
    links = [i["linkId"] for _, i in _every(q)]
    match rnd.randrange(3):
        case 0:
            item["linkId"] = rnd.choice(["nope", "", " ", item["linkId"] + " ", "1.1"])
        case 1:
            item["linkId"] = rnd.choice(links)
        case 2:
            del item["linkId"]


def words(rnd: Random, q: Node, r: Node) -> None:
    _, item = _pick(rnd, r)
    item["text"] = rnd.choice(["Other", str(item.get("text", "")) + " ", str(item.get("text", "x")).upper(), " ", ""])


def nesting(rnd: Random, q: Node, r: Node) -> None:
    """Items below a question instead of its answer, answers on groups, and the other ways round."""
    holder, item = _pick(rnd, r)
    match rnd.randrange(6):
        case 0:
            for a in item.get("answer", []):
                if "item" in a:
                    item.setdefault("item", []).extend(a.pop("item"))
        case 1:
            item["answer"] = [{"valueString": "x"}]
        case 2:
            item["answer"] = [{"item": item.pop("item", [{"linkId": "1"}])}]
        case 3:
            _, other = _pick(rnd, r)
            if other is item:
                raise Nothing
            holder.remove(item)
            other.setdefault("item", []).append(item)
        case 4:
            holder.remove(item)
            r.setdefault("item", []).append(item)
        case 5:
            holder.remove(item)
            holder += item.get("item", [])


def disable(rnd: Random, q: Node, r: Node) -> None:
    """Answers of what others depend on change."""
    named = {c["question"] for _, i in _every(q) for c in i.get("enableWhen", [])}
    some = [i for _, i in _every(r) if i.get("linkId") in named and i.get("answer")]
    if not some:
        raise Nothing
    item = rnd.choice(some)
    answer = rnd.choice(item["answer"])
    k = next(k for k in answer if k.startswith("value"))
    kind = next(i["type"] for _, i in _every(q) if i["linkId"] == item["linkId"])
    options = [v for n, v in VALUES[kind] if "value" + n == k]
    if not options:
        raise Nothing
    answer[k] = rnd.choice(options)


def status(rnd: Random, q: Node, r: Node) -> None:
    r["status"] = rnd.choice(["completed", "in-progress", "amended", "entered-in-error", "stopped", "bogus"])
    if rnd.random() < 0.5:
        drop(rnd, q, r)


def canonical(rnd: Random, q: Node, r: Node) -> None:
    url = q["url"]
    r["questionnaire"] = rnd.choice([url + "|1", url + "|9", url + "#x", "http://e.test/none", url + " ", "Questionnaire/1", url + "|"])


def held(rnd: Random, q: Node, r: Node) -> None:
    """The Questionnaire inside the response."""
    inner = {k: v for k, v in deepcopy(q).items() if k not in ("contained",)} | {"id": "q"}
    if "answerValueSet" in str(inner):
        raise Nothing
    r["contained"] = [inner]
    r["questionnaire"] = "#q"
    if rnd.random() < 0.6:
        rnd.choice([drop, link, more_answers, other_value])(rnd, q, r)


def asked_oddly(rnd: Random, q: Node, r: Node) -> None:
    """The Questionnaire itself is judged: one thing odd in an item."""
    _, item = _pick(rnd, q)
    match rnd.randrange(12):
        case 0:
            item["type"] = rnd.choice([*TYPES, "bogus", "question"])
        case 1:
            item["enableWhen"] = [{"question": rnd.choice(["nope", item["linkId"], "1"]), "operator": rnd.choice(OPERATORS), **rnd.choice([{"answerBoolean": True}, {"answerString": "x"}, {}, {"answerInteger": 1}])}]
        case 2:
            item["linkId"] = rnd.choice(["1", "", " "])
        case 3:
            item["answerOption"] = rnd.choice([[{"valueString": "x"}], [{"valueCoding": CODES[0]}] * 2, [{}], [], [{"valueBoolean": True}], [{"valueString": "x", "initialSelected": True}]])
        case 4:
            item["answerValueSet"] = rnd.choice(["#none", "http://e.test/x", "x"])
        case 5:
            item["initial"] = rnd.choice([[{"valueString": "x"}], [{"valueString": "x"}, {"valueString": "y"}], [{}], []])
        case 6:
            item["maxLength"] = rnd.choice([5, 0, -1, "5"])
        case 7:
            item[rnd.choice(["required", "repeats", "readOnly"])] = rnd.choice([True, False])
        case 8:
            item["item"] = [{"linkId": f"new{rnd.randrange(9)}", "type": "display", "text": "x"}]
        case 9:
            item.setdefault("enableWhen", [{"question": "1", "operator": "exists", "answerBoolean": True}] * 2)
            item.pop("enableBehavior", None)
        case 10:
            item["code"] = [{"system": "http://e.test/x", "code": "y"}]
        case 11:
            item["definition"] = rnd.choice(["http://e.test/x#y", "x", " "])


KINDS: dict[str, tuple[int, Callable[[Random, Node, Node], None]]] = {
    "qr-none": (3, lambda rnd, q, r: None), "qr-drop": (3, drop), "qr-drop-answer": (3, drop_answer), "qr-other-type": (4, other_value), "qr-value": (7, same_type),
    "qr-repeat-answer": (2, more_answers), "qr-repeat-item": (3, more_items), "qr-order": (2, order), "qr-linkid": (3, link), "qr-text": (2, words), "qr-nesting": (5, nesting),
    "qr-enable": (5, disable), "qr-status": (2, status), "qr-canonical": (1, canonical), "qr-contained": (2, held), "questionnaire": (6, asked_oddly),
}  # fmt: skip


def asked(rnd: Random, url: str) -> tuple[str, Node, Node]:
    """(kind, questionnaire, response); of the kind `questionnaire` it is the first that is to be judged."""
    while True:
        q = Asking(rnd, url).questionnaire
        r = Answering(rnd, q).response
        kind = rnd.choices(list(KINDS), [w for w, _ in KINDS.values()])[0]
        try:
            KINDS[kind][1](rnd, q, r)
        except (Nothing, StopIteration, KeyError, ValueError):
            continue
        if r.get("item") == []:
            del r["item"]
        return kind, q, r
