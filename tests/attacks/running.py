"""One case after the other: made fresh when it writes, asked, judged."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_gateway.domain import audit
from fhir_gateway.domain.types import Note
from fhir_gateway.wiring import Wired, now

from . import checking, generators, seeding, wire
from .checking import Sent
from .placeholders import ACCOUNTS, Names, Unknown
from .seeding import Seeded
from .stand import Stand
from .wire import Answer, Sink

Case = dict[str, Any]
GRACE = 0.15  # seconds for what a server might do after its answer
B_ASKS = re.compile(r"TOK_PAT_B\b|TOK_B\b|UI_SESSION_COOKIE_B\b|UI:(PAT_)?B\b")


class Unreadable(Exception):
    """The file of cases cannot be read; says where."""


def read(file: Path) -> list[Case]:
    """The cases of a file. Unreadable names the file and the line."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogatepass").split("\n")
    except (OSError, UnicodeDecodeError) as wrong:
        raise Unreadable(f"{file} cannot be read: {getattr(wrong, 'strerror', None) or 'it is no UTF-8'}.") from None
    cases = []
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
        except ValueError as wrong:
            raise Unreadable(f"{file}, line {n}: no JSON ({wrong}).") from None
        if not isinstance(case, dict) or not isinstance(case.get("id"), str):
            raise Unreadable(f"{file}, line {n}: a case is an object with an `id`.")
        cases.append(case)
    return cases


@dataclass(frozen=True)
class Result:
    id: str
    area: str
    wrong: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.wrong

    def line(self) -> dict[str, str]:
        return {"id": self.id, "area": self.area, "result": "pass" if self.passed else "fail", "why": "; ".join(self.wrong)}


class Runner:
    """A stand with its records, and what is needed to ask there. Close it in the end."""

    def __init__(self, folder: Path) -> None:
        self.sink, self.allowed = Sink(), Sink()
        self.stand = Stand(folder, f"127.0.0.1:{self.allowed.port}")
        self.seeded: Seeded = seeding.seed(self.stand.seed, self.stand.base, self.stand.allowed)
        self.names = Names(self.stand, self.seeded, self.sink.url)
        self.names.next_link = self.next_link
        self.others: dict[str, Case] = {}

    def close(self) -> None:
        self.stand.close()
        self.sink.close()
        self.allowed.close()

    def run(self, cases: list[Case], among: list[Case] | None = None) -> Iterator[Result]:
        """The results, in this order. `among` are all cases of the file, for those that are compared with another."""
        self.others = {c["id"]: c for c in among or cases}
        for case in cases:
            yield self.judged(case)

    def judged(self, case: Case) -> Result:
        if unread := checking.unread(case):
            return Result(case["id"], str(case.get("area", "")), tuple(unread))
        try:
            wrong = self.case(case)
            if wrong and all(w.startswith("took ") for w in wrong):  # the machine may have been busy: once more
                self.stand.used = True
                wrong = self.case(case)
        except Unknown as name:
            wrong = [f"unknown placeholder {name.args[0]}"]
        except Exception as broken:  # one case must not end the others
            wrong = [f"cannot be asked: {type(broken).__name__}: {str(broken)[:300]}"]
            self.stand.used = True
        return Result(case["id"], str(case.get("area", "")), tuple(wrong))

    # -- one case -----------------------------------------------------------------------------------------------------

    def case(self, case: Case) -> list[str]:
        """What is wrong with the answers to this case."""
        expect = case["expect"]
        alone = writes(case)
        if alone or self.stand.used or not self.stand.alive():
            self.fresh()
        self.stand.used = self.stand.used or alone
        wrong = self.before(case.get("pre") or [])
        wrong += self.met(case, self.prepared(case), self.names.fill({k: v for k, v in expect.items() if k != "then"}))
        for n, follow in enumerate(checking.listed(expect.get("then") or []), 1):
            wrong += [f"then {n}: {w}" for w in self.follow(follow)]
        wrong += self.still_there()
        return list(dict.fromkeys(wrong))

    def met(self, case: Mapping[str, Any], asked: Asked, expect: Mapping[str, Any]) -> list[str]:
        """Ask, and judge the answers and all that was seen beside them."""
        sinks, told, at = self.sink.requests, self.stand.log.stat().st_size, now()
        answers = self.answers(case, asked, expect)
        wrong = self.every(answers, asked, expect)
        wrong += checking.expected(expect, answers[-1], asked.sent)
        wrong += self.beside(expect, sinks, told, at)
        if "same_as" in expect:
            wrong += self.compared(str(expect["same_as"]), asked, answers[-1])
        return wrong

    def fresh(self) -> None:
        self.stand.fresh(seeding.settings(self.stand.data, self.stand.base, self.stand.allowed))
        self.names.renewed()

    def every(self, answers: list[Answer], asked: Asked, expect: Mapping[str, Any]) -> list[str]:
        wrong: list[str] = []
        for answer in answers:
            wrong += checking.always(answer, asked.sent, seeding.CANARY_B, expect.get("max_ms"))
        statuses = [int(s) for s in checking.listed(expect.get("status", []))]
        if len(answers) > 1 and statuses and (other := sorted({a.status for a in answers} - set(statuses))):
            wrong.append(f"status {other[0]} among {len(answers)} answers, expected {statuses}")
        race = expect.get("race")
        if race:
            wanted = race.get("exactly_one", True) if isinstance(race, dict) else True
            codes = range(200, 300) if wanted is True else [int(c) for c in checking.listed(wanted)]
            if (won := sum(a.status in codes for a in answers)) != 1:
                wrong.append(f"{won} of {len(answers)} got through, expected exactly one ({sorted({a.status for a in answers})})")
        return wrong

    def beside(self, expect: Mapping[str, Any], sinks: int, told: int, at: datetime) -> list[str]:
        """Sink, audit, log and memory."""
        wrong = []
        if "sink" in expect:
            time.sleep(GRACE)
            if (came := self.sink.requests - sinks) != int(expect["sink"]):
                wrong.append(f"the sink saw {came} requests, expected {expect['sink']}")
        if "audit" in expect:
            wrong += checking.audited(expect["audit"], self.outcomes(at))
        if "log_absent" in expect:
            time.sleep(GRACE)
            with open(self.stand.log, "rb") as log:
                log.seek(told)
                wrong += checking.log(log.read().decode("utf-8", "replace"), checking.listed(expect["log_absent"]))
        if "max_rss_mb" in expect and (most := self.stand.peak_mb()) > float(expect["max_rss_mb"]):
            wrong.append(f"the server took {most:.0f} MiB, at most {expect['max_rss_mb']}")
        return wrong

    def outcomes(self, since: datetime) -> list[str]:
        """The outcomes of the AuditEvents that were written since."""

        async def doing(w: Wired) -> list[Note]:
            return await w.store.notes(since=since, count=500)

        return [str(audit.event(note)["outcome"]) for note in self.names.live(doing)]

    def compared(self, id: str, asked: Asked, answer: Answer) -> list[str]:
        other = self.others.get(id)
        if other is None:
            return [f"same_as names `{id}`, which is not in this file"]
        theirs = self.prepared(other)
        return [f"not the same as {id}: {w}" for w in checking.alike(answer, asked.sent.target, self.send(theirs), theirs.sent.target)]

    def still_there(self) -> list[str]:
        raw = wire.request("GET", "/fhir/metadata", self.stand.host, [("Accept", "application/fhir+json")], None)
        try:
            after = wire.send(self.stand.address, raw, patience=5.0)
        except OSError as gone:
            self.stand.used = True
            return [f"the server is gone: {gone}"]
        return [] if after.status == 200 else [f"afterwards /metadata answers {after.status}"]

    # -- before and after ---------------------------------------------------------------------------------------------

    def before(self, steps: Iterable[Any]) -> list[str]:
        """`revoke:X`, `use:X`, `open_search:TOK`, as the people would do it."""
        wrong: list[str] = []
        for step in checking.listed(steps):
            kind, _, what = str(step).partition(":")
            if kind == "open_search":
                self.names.bind(f"NEXT_LINK_{what.removeprefix('TOK_')}", self.next_link(what.removeprefix("TOK_")))
            elif kind == "revoke":
                self.revoke(what)
            elif kind == "use":
                self.use(what)
            else:
                wrong.append(f"a step before it that is not known: `{step}`")
        return wrong

    def revoke(self, what: str) -> None:
        value = self.names[what]
        if what.startswith("CONSENT_"):
            who = "B" if what.startswith("CONSENT_B") else "A"
            now_it_is = self.ask(f"TOK_PAT_{who}", "GET", f"/fhir/Consent/{value}")
            etag = now_it_is.header("etag") or ""
            body = json.dumps({**now_it_is.json, "status": "inactive"}).encode()
            done = self.ask(f"TOK_PAT_{who}", "PUT", f"/fhir/Consent/{value}", body, [("If-Match", etag), ("Content-Type", "application/fhir+json")])
            if done.status != 200:
                raise RuntimeError(f"the consent could not be ended: {done.status} {done.text[:200]}")
        elif what.startswith(("TOK_", "RT_")):
            client = "hosp1" if "SYS" in what else "app-public"
            form = [("client_id", client), ("token", value)]
            if client == "hosp1":
                form = [
                    ("token", value), ("client_assertion", self.names["ASSERT_OK"]),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ]  # fmt: skip
            self.names.live(lambda w: self.names._oauth(w).revoke(form, None, now()))
        elif what.startswith("UI_SESSION_COOKIE"):
            self.names.end_session(value)
        else:
            raise Unknown(what)

    def use(self, what: str) -> None:
        """Spend a code, a refresh token or an assertion, unless its name says that it is spent already."""
        value = self.names[what]
        if f"TOK_FROM_{what}" in self.names or re.search(r"_(RE)?(USED|SPENT|ROTATED|REPLAY)", what):
            return
        kind = {"CODE": "code", "RT": "refresh_token", "ASSERT": "client_assertion", "TOK": ""}.get(what.partition("_")[0])
        if kind is None:
            raise Unknown(what)
        if kind:
            self.names.spend(kind, value, what)
        else:
            self.ask(what, "GET", "/fhir/CarePlan?_count=1")

    def next_link(self, who: str) -> str:
        """The way to the second page of this token's plans, one a page."""
        answer = self.ask(f"TOK_{who}", "GET", "/fhir/CarePlan?_count=1")
        for link in (answer.json or {}).get("link", []):
            if link["relation"] == "next":
                url = urlsplit(link["url"])
                return f"{url.path}?{url.query}"
        raise Unknown(f"NEXT_LINK_{who}")

    def ask(self, token: str, method: str, path: str, body: bytes | None = None, headers: list[tuple[str, str]] | None = None) -> Answer:
        given = [("Accept", "application/fhir+json"), ("Authorization", f"Bearer {self.names[token]}"), *(headers or [])]
        return wire.send(self.stand.address, wire.request(method, path, self.stand.host, given, body), method=method, patience=10.0)

    def follow(self, step: Mapping[str, Any]) -> list[str]:
        """A request afterwards, as somebody else."""
        if writes(dict(step)):
            self.stand.used = True
        who = str(step.get("as", ""))
        headers = dict(step.get("headers") or {})
        if who.startswith("UI:"):
            name = who.removeprefix("UI:")
            if name not in ACCOUNTS:
                raise Unknown(who)
            headers = {"Accept": "text/html", "Cookie": self.names[f"UI_SESSION_COOKIE_{name}"], **headers}
        else:
            token = {"Authorization": f"Bearer {self.names[who if who.startswith('TOK_') else f'TOK_{who}']}"} if who else {}
            headers = {"Accept": "application/fhir+json", **token, **headers}
            if step.get("body") is not None:
                headers.setdefault("Content-Type", "application/fhir+json")
        asked = self.prepared({"method": "GET", **step, "headers": headers}, by=who)
        expect = self.names.fill({k: v for k, v in step.items() if k not in checking.IN_A_FOLLOW_UP})
        return self.met(step, asked, expect)

    # -- asking -------------------------------------------------------------------------------------------------------

    def prepared(self, case: Mapping[str, Any], by: str = "") -> Asked:
        """The case's request as bytes. Unknown for a placeholder that stands for nothing."""
        of_b = bool(B_ASKS.search(json.dumps([case.get("headers"), case.get("raw"), case.get("header_gen"), by])))
        method, path = str(case.get("method", "GET")), str(self.names.fill(str(case.get("path", "/"))))
        path = path.removeprefix(self.stand.base)  # a link as an answer gives it
        if method == "RAW":
            raw = generators.body(self.names.fill(case.get("raw", ""))) or b""
            return Asked(raw, raw.split(b" ", 1)[0].decode("ascii", "replace"), Sent(path, raw[:100_000].decode("utf-8", "replace"), of_b), True)
        body = generators.body(self.names.fill(case.get("body")))
        given = [(k, generators.text(v)) for k, v in self.names.fill(case.get("headers") or {}).items() for v in checking.listed(v)]
        given += many(self.names.fill(case.get("header_gen")))
        if "CSRF_LOGIN" in json.dumps(case) and not any(k.lower() == "cookie" for k, _ in given):
            given.append(("Cookie", self.names.visitor()))  # the form's token is of this visitor, whose browser says where it is from
            if not any(k.lower() in ("origin", "referer") for k, _ in given):
                given.append(("Origin", self.stand.base))
        raw = wire.request(method, path, self.stand.host, given, body)
        said = f"{path}\n" + "\n".join(v for _, v in given) + "\n" + (body or b"")[:100_000].decode("utf-8", "replace")
        return Asked(raw, method, Sent(path, said, of_b))

    def send(self, asked: Asked, patience: float = 3.0, **more: Any) -> Answer:
        return wire.send(self.stand.address, asked.raw, method=asked.method, patience=patience, more=asked.bare, **more)

    def answers(self, case: Mapping[str, Any], asked: Asked, expect: Mapping[str, Any]) -> list[Answer]:
        """All answers to a case: one, or as many as it is repeated or raced."""
        patience, race = patience_of(expect), expect.get("race")
        if race:
            return self.raced(asked, patience, int(race.get("parallel", 2)) if isinstance(race, dict) else int(race))
        times = case.get("repeat") or 1
        times = int(times.get("n", times.get("times", 1)) if isinstance(times, dict) else times)
        slowly = dripping(expect.get("drip"))
        return [self.send(asked, patience, drip=slowly) for _ in range(max(1, times))]

    def raced(self, asked: Asked, patience: float, parallel: int) -> list[Answer]:
        """The same request from so many connections at the same moment."""
        gate, out, broken = threading.Barrier(parallel), list[Answer](), list[BaseException]()

        def one() -> None:
            try:
                out.append(self.send(asked, patience, start=lambda: gate.wait(10)))
            except BaseException as wrong:
                broken.append(wrong)

        threads = [threading.Thread(target=one) for _ in range(parallel)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if broken:
            raise broken[0]
        return out


@dataclass(frozen=True)
class Asked:
    """A request ready to be sent. `bare`: bytes of the case's own, so that several answers may come."""

    raw: bytes
    method: str
    sent: Sent
    bare: bool = False


def writes(case: Mapping[str, Any]) -> bool:
    """Whether it may change what others see: everything that is not a plain GET, and what is done before or counted alone."""
    expect = case.get("expect") or {}
    if case.get("method", "GET") == "RAW":
        return True
    return case.get("method", "GET") not in ("GET", "HEAD", "OPTIONS") or bool(case.get("pre") or case.get("repeat")) or bool({"race", "max_rss_mb"} & set(expect))


def patience_of(expect: Mapping[str, Any]) -> float:
    """How long to wait before giving up, in seconds: a little longer than the answer may take."""
    return float(expect.get("max_ms", checking.SLOWEST)) / 1000 + 3.0


def dripping(value: Any) -> tuple[int, float] | None:
    """(bytes at a time, seconds apart) of `drip`: true, a number of milliseconds, or `{bytes, ms}`."""
    if not value:
        return None
    if value is True:
        return 1, 0.2
    if isinstance(value, dict):
        size = next((int(value[k]) for k in ("bytes", "chunk", "size", "n") if k in value), 1)
        if (s := next((float(value[k]) for k in ("s", "seconds", "every_s", "interval_s", "delay_s") if k in value), None)) is not None:
            return max(1, size), s
        return max(1, size), next((float(value[k]) for k in ("ms", "every_ms", "interval_ms", "delay_ms", "pause_ms", "interval", "delay") if k in value), 200.0) / 1000
    return 1, float(value) / 1000


def many(value: Any) -> list[tuple[str, str]]:
    """The headers of `header_gen`: `{name: value or generator}`, `{name, value, n}` with %d in either, or a generator of lines."""
    if not value:
        return []
    if isinstance(value, list):
        return [h for v in value for h in many(v)]
    if generators.is_generator(value):
        lines = generators.text(value).replace("\r\n", "\n").split("\n")
        return [(k.strip(), v.strip()) for k, sep, v in (line.partition(":") for line in lines) if sep]
    if "n" in value:
        name, said = str(value.get("name") or value.get("fmt") or "X-%d"), value.get("value", "x")
        return [(name.replace("%d", str(i)), generators.text(said).replace("%d", str(i))) for i in range(int(value["n"]))]
    return [(k, generators.text(v)) for k, v in value.items()]
