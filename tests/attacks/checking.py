"""What an answer must be, and what no answer may ever be. Each function returns what is wrong, a sentence each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

from .wire import Answer

SLOWEST = 2000.0  # milliseconds, unless the case says otherwise
TRACES = re.compile(
    r"Traceback \(most recent call last\)|File \"[^\"]+\", line \d+|\bat [\w.$]+\([\w]+\.java:\d+\)|site-packages|"
    r"\b(sqlite3?|apsw|pymongo|bson|aiosqlite)\.\w+|\b(OperationalError|IntegrityError|SQLITE_[A-Z]+|SQLError|MongoServerError|PyMongoError|BulkWriteError)\b|"
    r"near \"[^\"]*\": syntax error|no such (table|column):|starlette\.|uvicorn\.|msgspec\.|pydantic_core|\b(KeyError|TypeError|AttributeError|ValueError|RecursionError|UnicodeDecodeError|AssertionError)\b"
)
ABOUT_A_FOUND_BUNDLE = ("total", "ids", "entries", "max_entries", "entry_status")
KNOWN = {
    "status", "absent", "present", "outcome", "total", "ids", "entries", "max_entries", "entry_status", "headers", "headers_absent", "headers_if_200",
    "no_headers", "no_location", "max_ms", "max_rss_mb", "same_as", "sink", "audit", "log_absent", "self_link_absent", "one_response", "race", "drip", "then",
}  # fmt: skip
IN_A_CASE = {"id", "area", "method", "path", "headers", "body", "expect", "raw", "pre", "repeat", "header_gen", "note", "src"}
IN_A_RACE = {"parallel", "exactly_one"}
IN_A_FOLLOW_UP = {"as", "method", "path", "headers", "body", "raw", "header_gen", "repeat", "note"}
AUDIT = {  # the word of a case -> AuditEvent.outcome
    "denied": ("4", "8", "12"), "refused": ("4", "8", "12"), "failure": ("4", "8", "12"), "failed": ("4", "8", "12"), "success": ("0",),
    "allowed": ("0",), "permitted": ("0",), "ok": ("0",), "0": ("0",), "4": ("4",), "8": ("8",), "12": ("12",),
}  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """What was asked, for the rules about what comes back."""

    target: str
    said: str  # all of it, as text
    of_b: bool = False  # by a token or session of B's


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def unread(case: Mapping[str, Any]) -> list[str]:
    """What the runner would pass over: words of the case that it does not know, and a case that expects nothing."""
    wrong = []
    if unknown := sorted(set(case) - IN_A_CASE):
        wrong.append(f"a word of the case that is not known: {', '.join(unknown)}")
    expect = case.get("expect")
    if not isinstance(expect, Mapping) or not expect:
        return [*wrong, "it expects nothing: say it in `expect`"]
    race = expect.get("race")
    if isinstance(race, Mapping) and (unknown := sorted(set(race) - IN_A_RACE)):
        wrong.append(f"a word of `race` that is not known: {', '.join(unknown)}")
    return wrong


# -- always -----------------------------------------------------------------------------------------------------------


def always(answer: Answer, sent: Sent, canary: str, slowest: float | None) -> list[str]:
    """What holds for every answer, whatever the case expects."""
    wrong = []
    if answer.status >= 500 and answer.status != 501:
        wrong.append(f"status {answer.status}")
    if answer.status == -1:
        wrong.append(f"no answer in {answer.ms:.0f} ms")
    if trace := TRACES.search(without(answer.whole, sent.said)):
        wrong.append(f"the answer tells of the program: `{trace[0][:60]}`")
    if slow := too_slow(answer, slowest):
        wrong.append(slow)
    if not sent.of_b and canary in plainly(answer, sent, canary):
        wrong.append("B's canary is in the answer to somebody else")
    return wrong


def too_slow(answer: Answer, slowest: float | None) -> str:
    most = SLOWEST if slowest is None else float(slowest)
    return f"took {answer.ms:.0f} ms, at most {most:.0f}" if answer.ms > most else ""


def without(text: str, said: str) -> str:
    """The answer without the lines in which the request's own words come back."""
    return "\n".join(line for line in text.split("\n") if not (len(line) < len(said) and line and line in said))


def plainly(answer: Answer, sent: Sent, word: str) -> str:
    """Headers and body; without a Bundle's own links when the word was in what was asked: a self link repeats the search."""
    found = answer.json
    if isinstance(found, dict) and isinstance(found.get("link"), list) and word in unquote_plus(sent.said):
        rest = {k: v for k, v in found.items() if k != "link"}
        return "\n".join(f"{k}: {v}" for k, v in answer.headers) + "\n\n" + json.dumps(rest, ensure_ascii=False)
    return answer.whole


# -- as the case expects ----------------------------------------------------------------------------------------------


def expected(expect: Mapping[str, Any], answer: Answer, sent: Sent) -> list[str]:
    """Everything that one answer can show. The rest (audit, log, sink, memory, races, follow-ups) is `running`'s."""
    wrong: list[str] = []
    if unknown := sorted(set(expect) - KNOWN - IN_A_FOLLOW_UP):
        wrong.append(f"an expectation that is not known: {', '.join(unknown)}")
    if "status" in expect and answer.status not in [int(s) for s in listed(expect["status"])]:
        wrong.append(f"status {answer.status}, expected {', '.join(str(s) for s in listed(expect['status']))}{_told(answer)}")
    wrong += [f"`{w[:60]}` is in the answer" for w in listed(expect.get("absent", [])) if str(w) in plainly(answer, sent, str(w))]
    wrong += [f"`{w[:60]}` is not in the answer" for w in listed(expect.get("present", [])) if str(w) not in answer.whole]
    if expect.get("outcome") and 400 <= answer.status < 500:
        wrong += outcome(answer)
    if 200 <= answer.status < 300:
        wrong += bundle(expect, answer)
    wrong += headers(expect, answer)
    if expect.get("one_response") and answer.answers > 1:
        wrong.append(f"{answer.answers} answers on one connection")
    return wrong


def _told(answer: Answer) -> str:
    """What the answer said, for the reader of the results: the first issue's words, or its beginning."""
    found = answer.json
    if isinstance(found, dict) and isinstance(found.get("issue"), list) and found["issue"]:
        first = found["issue"][0]
        return f" ({str(first.get('diagnostics') or first.get('details'))[:160]})"
    return f" ({answer.text[:120]!r})" if answer.body else ""


def outcome(answer: Answer) -> list[str]:
    found = answer.json
    if not isinstance(found, dict) or found.get("resourceType") != "OperationOutcome" or not found.get("issue"):
        return ["the refusal is no OperationOutcome"]
    kind = answer.header("content-type") or ""
    return [] if "json" in kind else [f"the OperationOutcome is sent as `{kind[:60]}`"]


def bundle(expect: Mapping[str, Any], answer: Answer) -> list[str]:
    """total, ids, entries, max_entries, entry_status, self_link_absent: of a Bundle that was found."""
    asked = [k for k in (*ABOUT_A_FOUND_BUNDLE, "self_link_absent") if k in expect]
    if not asked:
        return []
    found = answer.json
    if not isinstance(found, dict) or found.get("resourceType") != "Bundle":
        return ["the answer is no Bundle"]
    wrong: list[str] = []
    entries = [e for e in found.get("entry", []) if isinstance(e, dict)]
    matches = [e for e in entries if (e.get("search") or {}).get("mode", "match") == "match"]
    if "total" in expect:
        total = found.get("total", len(matches))
        if total != int(expect["total"]):
            wrong.append(f"total {total}, expected {expect['total']}")
        if int(expect["total"]) == 0 and matches:
            wrong.append(f"{len(matches)} entries where none should match")
    if "ids" in expect:
        have = sorted(str((e.get("resource") or {}).get("id")) for e in matches)
        if have != sorted(str(i) for i in listed(expect["ids"])):
            wrong.append(f"ids {have}, expected {sorted(listed(expect['ids']))}")
    if "entries" in expect and not _counts(entries, expect["entries"]):
        wrong.append(f"{len(entries)} entries, expected {expect['entries']}")
    if "max_entries" in expect and len(entries) > int(expect["max_entries"]):
        wrong.append(f"{len(entries)} entries, at most {expect['max_entries']}")
    if "entry_status" in expect:
        wrong += statuses(entries, listed(expect["entry_status"]))
    if "self_link_absent" in expect:
        own = " ".join(str(link.get("url")) for link in found.get("link", []) if isinstance(link, dict) and link.get("relation") == "self")
        wrong += [f"`{w}` is in the self link" for w in listed(expect["self_link_absent"]) if str(w) in own or str(w) in unquote_plus(own)]
    return wrong


def _counts(entries: Sequence[Any], wanted: Any) -> bool:
    """A number, or a list of the ids of all entries, included ones too."""
    if isinstance(wanted, list):
        return sorted(str((e.get("resource") or {}).get("id")) for e in entries) == sorted(str(w).rpartition("/")[2] for w in wanted)
    return len(entries) == int(wanted)


def statuses(entries: Sequence[Mapping[str, Any]], wanted: Sequence[Any]) -> list[str]:
    have = [str((e.get("response") or {}).get("status", ""))[:3] for e in entries]
    if len(have) != len(wanted):
        return [f"{len(have)} entries answered, expected {len(wanted)}"]
    return [f"entry {i} has status {h}, expected {w}" for i, (h, w) in enumerate(zip(have, wanted, strict=True)) if h not in str(w).split("|")]


def headers(expect: Mapping[str, Any], answer: Answer) -> list[str]:
    wrong = _have(expect.get("headers", {}), answer)
    if answer.status == 200:
        wrong += _have(expect.get("headers_if_200", {}), answer)
    for key in ("headers_absent", "no_headers"):
        given = expect.get(key, [])
        for name in given if isinstance(given, dict) else listed(given):
            value = answer.header(str(name))
            form = str(given[name]) if isinstance(given, dict) else ""
            if value is not None and re.search(form, value):
                wrong.append(f"the header {name} is `{value[:80]}`")
    place = (answer.header("location") or "").lower()
    wrong += [f"Location leads to `{w}`" for w in listed(expect.get("no_location", [])) if str(w).lower() in place]
    return wrong


def _have(wanted: Any, answer: Answer) -> list[str]:
    if isinstance(wanted, list):
        wanted = dict.fromkeys(wanted, "")
    wrong = []
    for name, form in wanted.items():
        value = answer.header(str(name))
        if value is None:
            wrong.append(f"there is no header {name}")
        elif not re.search(str(form), value):
            wrong.append(f"the header {name} is `{value[:80]}`, not `{form}`")
    return wrong


# -- beside the answer ------------------------------------------------------------------------------------------------


def log(text: str, words: Iterable[Any]) -> list[str]:
    """Words that must not be in the log, as they are or escaped as in an address."""
    wrong = []
    for word in map(str, words):
        if any(form in text for form in {word, quote(word), quote(word, safe=""), quote_plus(word)} if form):
            wrong.append(f"`{word.strip()[:60]}` is in the log")
    return wrong


def audited(wanted: Any, outcomes: Sequence[str]) -> list[str]:
    """An AuditEvent with that outcome was written."""
    word = "success" if wanted is True else str(wanted)
    codes = AUDIT.get(word)
    if codes is None:
        return [f"an audit outcome that is not known: `{word}`"]
    return [] if any(o in codes for o in outcomes) else [f"no AuditEvent with the outcome {word} (there are: {', '.join(outcomes) or 'none'})"]


CHANGING = {"date", "content-length", "last-modified", "etag", "location", "content-location"}
SAYS_NOTHING_BACK = {"content-security-policy", "referrer-policy"}  # compared as they are: `none` in them is no word of an address


def alike(answer: Answer, path: str, other: Answer, other_path: str) -> list[str]:
    """The same answer as another case's, apart from what was asked being said back."""
    if answer.status != other.status:
        return [f"status {answer.status}, and {other.status} in the other case"]
    one, two = (_faceless(a, p) for a, p in ((answer, path), (other, other_path)))
    if one[0] != two[0]:
        return [f"other headers than in the other case: {sorted(set(one[0].items()) ^ set(two[0].items()))[:4]}"]
    return [] if one[1] == two[1] else [f"another body than in the other case: `{one[1][:120]}` and `{two[1][:120]}`"]


def _faceless(answer: Answer, path: str) -> tuple[dict[str, str], str]:
    """Headers and body with the words of the address taken out."""
    words = sorted({w for w in re.split(r"[/?&=,|]", path) if len(w) > 3}, key=len, reverse=True)

    def out(text: str) -> str:
        for word in words:
            text = text.replace(word, "…")
        return text

    headers = {k.lower(): v for k, v in answer.headers if k.lower() not in CHANGING}
    return {k: v if k in SAYS_NOTHING_BACK else out(v) for k, v in headers.items()}, out(answer.text)
