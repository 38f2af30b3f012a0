"""One scenario for every peer: the steps, as data, and what carries them out.

Plans go out; people edit on both sides, delete on both, write the same element at once; some say no and yes again; the peer is away, the
gateway and its worker are killed. At each `agree` the gateway says `quiet`, and both sides are compared by agreement.py.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from ..conftest import VERIFY, Gateway
from ..staff import consent, permit, signed_in, system
from .agreement import Both
from .driving import START, Peer, demo_with, next_of, running

SURGERY = "https://fhir.nhs.uk/Id/ods-organization-code|D82001"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
THEIRS = "urn:scenario:theirs"  # identifier of what begins at the peer
Resource = dict[str, Any]
SOAK = "SOAK" in os.environ
PLANS = int(os.environ.get("PLANS", 500 if SOAK else 50))
MOST_SECONDS = 4 * 3600 if SOAK else 900


@dataclass(frozen=True)
class Step:
    """`do` names a method of Scenario; it is done for each plan n with n % every == first. What else it takes is in `what`."""

    do: str
    every: int = 1
    first: int = 0
    what: dict[str, Any] = field(default_factory=dict)


def here(type: str, nth: int, path: str, every: int, first: int = 0) -> Step:
    return Step("edit_here", every, first, {"type": type, "nth": nth, "path": path})


def there(type: str, nth: int, path: str, every: int, first: int = 0) -> Step:
    return Step("edit_there", every, first, {"type": type, "nth": nth, "path": path})


AGREE = Step("agree")
STEPS = (
    Step("plans"), AGREE,
    # edits, on one side, on the other, on both in two places of one resource; what begins here and there
    here("Observation", 0, "valueQuantity.value", 4, 2), there("Condition", 0, "note.0.text", 4, 1),
    here("Goal", 0, "description.text", 3), there("Goal", 0, "startDate", 3),
    Step("begin_there", 5), Step("begin_here", 5, 1), AGREE,
    # what began there, edited on each side
    here("theirs", 0, "note.0.text", 10), there("theirs", 0, "valueString", 10, 5), AGREE,
    # the same element at once
    here("Goal", 1, "description.text", 5, 2), there("Goal", 1, "description.text", 5, 2), Step("clash", 5, 2), AGREE, Step("waiting"),
    # deletions
    Step("delete_here", 6, 0, {"type": "Goal", "nth": 2}), Step("delete_here", 6, 1, {"type": "Observation", "nth": 0}),
    Step("delete_there", 6, 3, {"type": "Observation", "nth": 0}), Step("delete_there", 15, 10, {"type": "theirs", "nth": 0}), AGREE,
    # no, to one kind of thing and to everything; edits meanwhile stay here; the gateway starts again
    Step("refuse", 7, 1, {"types": ["Goal"]}), Step("refuse", 7, 3), AGREE,
    here("Goal", 0, "description.text", 7, 1), here("Condition", 1, "note.0.text", 7, 3), Step("gateway_again"), AGREE,
    Step("allow", 14, 1), Step("allow", 14, 3), AGREE,
    # we may not sign in there, then the peer is away: edits wait, and a no that is said meanwhile holds
    here("Condition", 1, "note.0.text", 4), Step("locked"), Step("away"), here("Task", 0, "description", 4, 1), Step("refuse", 7, 5), Step("fails"), Step("back"), AGREE,
    # a worker is killed while it sends, the gateway while it serves
    here("Goal", 0, "description.text", 2), here("Condition", 0, "code.text", 3, 1), there("Goal", 1, "startDate", 4, 3), Step("killed"), AGREE, Step("waiting"),
)  # fmt: skip


class Someone:
    """Somebody signed in at the gateway, anew when the token is over."""

    def __init__(self, g: Gateway, name: str, user: str = "") -> None:
        self.g, self.name, self.user = g, name, user
        self._colleague = signed_in(g, name, user, patient=user if user.startswith("Patient/") else None)

    def call(self, method: str, path: str, body: Resource | None = None, **headers: str) -> httpx2.Response:
        answer = self._colleague.call(method, path, body=body, headers=headers)
        if answer.status_code == 401:
            self._colleague = signed_in(self.g, self.name)
            answer = self._colleague.call(method, path, body=body, headers=headers)
        return answer

    def get(self, path: str) -> httpx2.Response:
        return self.call("GET", path)

    def put(self, resource: Resource) -> Resource:
        path = f"{resource['resourceType']}/{resource['id']}"
        return checked(self.call("PUT", path, resource, **{"If-Match": f'W/"{resource["meta"]["versionId"]}"'}))


@dataclass
class Person:
    """One plan's person: what is in the plan, by type, and their no."""

    n: int
    id: str
    who: Someone
    held: dict[str, list[str]] = field(default_factory=dict)  # type -> ids here, in the plan's order
    no: Resource | None = None


class Scenario:
    def __init__(self, g: Gateway, peer: Peer, plans: int, seed: int = 1) -> None:
        self.g, self.peer, self.many = g, peer, plans
        self.g.patience = 120 + 3 * plans
        self.random = random.Random(seed)
        self.people: list[Person] = []
        self.gp, self.hospital = Someone(g, "gp"), Someone(g, "hospital")
        place = checked(self.gp.get("Organization?identifier=D82001"))["entry"][0]["resource"]["id"]
        system(g, "surgery-system", f"Organization/{place}")
        self.both = Both(Someone(g, "surgery-system"), peer, THEIRS)
        self.said: dict[tuple[str, str], set[Any]] = {}  # (Type/id here, path) -> what may stand there now
        self.clashes: set[str] = set()
        self.times: dict[str, float] = {}
        self.seen: list[tuple[int, float]] = []  # rounds until both sides were in step, and their seconds

    def run(self, steps: tuple[Step, ...] = STEPS) -> None:
        for place, step in enumerate(steps):
            began = time.monotonic()
            try:
                getattr(self, step.do)(step)
            except Exception as e:
                e.add_note(f"step {place}: {step}")
                raise
            self.times[step.do] = self.times.get(step.do, 0) + time.monotonic() - began
            if step.do == "agree":
                print(f"{place}: {self.seen[-1][0]} rounds, {self.seen[-1][1]:.1f} s, compared in {time.monotonic() - began - self.seen[-1][1]:.1f} s")

    def chosen(self, step: Step) -> list[Person]:
        return [p for p in self.people if p.n % step.every == step.first]

    # -- plans, edits, deletions ---------------------------------------------------------------------------------------

    def plans(self, step: Step) -> None:
        for n in range(self.many):
            answer = self.hospital.call("POST", "/plans", plan(n, self.random))
            assert answer.status_code == 201, answer.text
            id = answer.json()["patient"]
            asked = checked(self.gp.get(f"Task?patient={id}&status=requested"))["entry"]
            for entry in asked:
                self.gp.put(entry["resource"] | {"status": "accepted"})
            person = Person(n, id, Someone(self.g, f"person-{n}", f"Patient/{id}"))
            written = [r for r in everything(person.who, id) if "identifier" in r and r["resourceType"] != "Patient"]
            for resource in sorted(written, key=lambda r: str(r["identifier"][0]["value"])):
                person.held.setdefault(resource["resourceType"], []).append(resource["id"])
            self.people.append(person)

    def edit_here(self, step: Step) -> None:
        for person, ref in self.named(step):
            resource = checked(person.who.get(ref))
            person.who.put(self.written(resource, step.what["path"], ref, "here"))

    def edit_there(self, step: Step) -> None:
        for _, ref in self.named(step):
            copy = self.both.copy_of(ref)
            answer = self.peer.put(self.written(copy, step.what["path"], ref, "there"))
            assert answer.status_code == 200, answer.text

    def clash(self, step: Step) -> None:
        """The last two edits were of one element: either may be served, on both sides the same, and it waits for a person."""
        self.clashes |= {f"Goal/{p.held['Goal'][1]}" for p in self.chosen(step)}

    def begin_here(self, step: Step) -> None:
        for person in self.chosen(step):
            goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Mine {person.n}"}, "subject": {"reference": f"Patient/{person.id}"}}
            made = checked(person.who.call("POST", "Goal", goal), 201)
            person.held["Goal"].append(made["id"])

    def begin_there(self, step: Step) -> None:
        """Blood pressure is taken at the surgery, about a person and a goal of theirs."""
        for person in self.chosen(step):
            patient, goal = self.both.copy_of(f"Patient/{person.id}"), self.both.copy_of(f"Goal/{person.held['Goal'][0]}")
            answer = self.peer.post({
                "resourceType": "Observation", "status": "final", "code": {"text": "Blood pressure"}, "valueString": f"{100 + person.n} over 70",
                "identifier": [{"system": THEIRS, "value": f"bp-{person.n}"}], "subject": {"reference": f"Patient/{patient['id']}"},
                "focus": [{"reference": f"Goal/{goal['id']}"}],
            })  # fmt: skip
            assert answer.status_code == 201, answer.text
            person.held["theirs"] = [f"bp-{person.n}"]

    def delete_here(self, step: Step) -> None:
        for person, ref in self.named(step):
            version = checked(person.who.get(ref))["meta"]["versionId"]
            answer = person.who.call("DELETE", ref, None, **{"If-Match": f'W/"{version}"'})
            assert answer.status_code in (200, 204), answer.text
            self.forget(ref)

    def delete_there(self, step: Step) -> None:
        for _, ref in self.named(step):
            answer = self.peer.delete(self.both.copy_of(ref))
            assert answer.status_code in (200, 204), answer.text
            self.both.deleted_there.add(ref)
            self.forget(ref)

    # -- consent -------------------------------------------------------------------------------------------------------

    def refuse(self, step: Step) -> None:
        """The person says no to the surgery: to some types, or to everything."""
        for person in self.chosen(step):
            if person.no is None:
                kinds = {"class": [{"system": RESOURCE_TYPES, "code": t} for t in step.what["types"]]} if "types" in step.what else {}
                person.no = checked(person.who.call("POST", "Consent", consent(person.id, permit(SURGERY, type="deny", **kinds))), 201)

    def allow(self, step: Step) -> None:
        for person in self.chosen(step):
            if person.no is not None:
                person.who.put(person.no | {"status": "inactive"})
                person.no = None

    # -- outages -------------------------------------------------------------------------------------------------------

    def gateway_again(self, step: Step) -> None:
        self.g.stop()
        self.g.start("--demo", wait=START)

    def away(self, step: Step) -> None:
        self.peer.down()

    def back(self, step: Step) -> None:
        self.peer.up()

    def locked(self, step: Step) -> None:
        """Our credentials end there: a round says so, and nothing is lost."""
        if "GATEWAY_REMOTE_TOKEN" in self.peer.remote:
            done = self.g.command("sync", "run", "--once", "--json", env={"GATEWAY_REMOTE_TOKEN": secrets.token_urlsafe(32)})
            assert done.returncode == 1 and "401" in done.stderr + done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr

    def fails(self, step: Step) -> None:
        """A round says that it did not work, and loses nothing."""
        done = self.g.command("sync", "run", "--once", "--json")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stdout + done.stderr

    def killed(self, step: Step) -> None:
        """A worker with the first of several entries done, a second one, and then the gateway: SIGKILL."""
        for _ in range(2):
            before = self.sent()
            command = [sys.executable, "-m", "fhir_gateway", "sync", "run", "--once"]
            worker = subprocess.Popen(command, env=self.g.env, cwd=self.g.data.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while worker.poll() is None and self.sent() == before:
                time.sleep(0.01)
            worker.kill()
            worker.wait()
        assert self.g.process is not None
        self.g.process.kill()
        self.g.process.wait()
        self.g.start("--demo", wait=START)

    # -- agreement -----------------------------------------------------------------------------------------------------

    def agree(self, step: Step) -> None:
        self.settle()
        self.both.compare([self.g.patient, *(p.id for p in self.people)])
        self.nothing_lies()
        for (ref, path), may in self.said.items():
            owner = next(p for p in self.people if ref in self.refs_of(p))
            now = checked(owner.who.get(ref))
            assert at(now, path) in may, f"{ref} {path}: {at(now, path)!r} is here, {may} was written"

    def waiting(self, step: Step) -> None:
        """What waits for a person is what both sides wrote at once, and what was deleted there and stays here."""
        waiting = {c["ref"] for c in self.g.lines("sync", "conflicts", "--json")}
        assert waiting >= self.clashes, "what both sides wrote in the same place waits for a person"
        assert waiting <= self.clashes | self.both.deleted_there, waiting

    def sent(self) -> float:
        """How many entries were sent so far."""
        return self.figures()["outbox_entries", "sent"]

    def figures(self) -> dict[tuple[str, str], float]:
        """What the gateway itself counts of the peer, in its store, by name and state: quicker than a command's start."""
        answer = httpx2.get(f"{self.g.base}/metrics", verify=VERIFY)
        found = re.findall(r'^gateway_(\w+)\{remote="remote"(?:,state="(\w+)")?\} (\S+)', answer.text, re.MULTILINE)
        out = {(name, state): float(value) for name, state, value in found}
        assert ("recalls_open", "") in out, answer.text[-2000:]
        return {("outbox_entries", s): 0.0 for s in ("sent", "queued", "leased", "parked")} | out

    def nothing_lies(self) -> None:
        """Nothing was left lying but what is to be taken back and cannot: a person is asked to see to each of those."""
        now, fast = self.figures(), self.both.held_fast
        lies = (now["outbox_entries", "parked"], now["recalls_open", ""], now["quarantined", ""])
        assert lies == (len(fast), len(fast), 0), (lies, fast, self.g.lines("sync", "waiting", "--json"))
        if fast:
            assert {r["ref"] for r in self.g.lines("sync", "recalls", "--json") if r["open"]} == fast

    def settle(self) -> None:
        """Rounds, for some seconds for each plan, until the gateway says that nothing is under way or looked at again, or only what waits for a person."""
        began, rounds, most = time.monotonic(), 0, 240 + 6 * self.many
        self.g.env |= self.peer.remote  # a token that lasts
        sweep = () if self.peer.tells_deletions else ("--sweep",)
        while True:
            done = self.g.command("sync", "run", "--once", "--json", *sweep)
            rounds += 1
            now = self.figures()
            lies = now["outbox_entries", "queued"] + now["outbox_entries", "leased"] == 0 < now["recalls_open", ""] == now["outbox_entries", "parked"]
            over = '"quiet":true' in done.stdout or (lies and '"quiet":false' in done.stdout)
            if over and '"missing":0' in done.stdout:
                self.seen.append((rounds, time.monotonic() - began))
                return
            assert time.monotonic() < began + most, f"{now}\n{done.stdout[-500:]}{done.stderr[-3000:]}"
            time.sleep(0.5)

    def still(self) -> None:
        """Another round moves nothing: no version is added on either side."""
        people = [p.id for p in self.people]
        before = self.both.versions(people)
        self.settle()
        self.nothing_lies()
        assert self.both.versions(people) == before
        (status,) = self.g.lines("sync", "status", "--json")
        assert (status["quiet"], status["missing"], status["queued"]) == (not self.both.held_fast, 0, 0), status

    # -- small things --------------------------------------------------------------------------------------------------

    def named(self, step: Step) -> list[tuple[Person, str]]:
        """The resource of the step in each plan chosen that has it and whose surgery holds it, by its name here."""
        out = []
        for person in self.chosen(step):
            ids = person.held.get(step.what["type"], [])
            if len(ids) > step.what["nth"]:
                ref = self.ref(step.what["type"], ids[step.what["nth"]])
                if step.do == "edit_here" or (ref and self.both.has(ref)):
                    out.append((person, ref))
        return out

    def ref(self, type: str, id: str) -> str:
        return self.both.began_there(id) if type == "theirs" else f"{type}/{id}"

    def refs_of(self, person: Person) -> set[str]:
        return {self.ref(type, id) for type, ids in person.held.items() for id in ids}

    def written(self, resource: Resource, path: str, ref: str, side: str) -> Resource:
        value: Any = f"written {side} {self.random.randrange(10_000)}"
        if path.endswith("Date"):
            value = f"2026-{self.random.randint(1, 12):02}-{self.random.randint(1, 28):02}"
        elif path.endswith("value"):
            value = self.random.randint(400, 900) / 10
        known = self.said.setdefault((ref, path), set())
        if not (side == "there" and any(str(v).startswith("written here") for v in known)):
            known.clear()
        known.add(value)
        out: Resource = json.loads(json.dumps(resource))
        place(out, path, value)
        return out

    def forget(self, ref: str) -> None:
        self.said = {k: v for k, v in self.said.items() if k[0] != ref}


def told(peer: Peer, folder: Path) -> None:
    """The whole scenario with this peer, and that nothing moves afterwards; it says how long each step took."""
    with running(peer), demo_with(peer, folder) as g:
        scenario = Scenario(g, peer, PLANS)
        try:
            scenario.run()
            scenario.still()
        finally:
            print({k: round(v, 1) for k, v in scenario.times.items()})


def place(resource: Resource, path: str, value: Any) -> None:
    """Put a value where `note.0.text` says, making what is not there."""
    keys = path.split(".")
    node: Any = resource
    for key, after in pairwise(keys):
        empty: Any = [] if after.isdigit() else {}
        if key.isdigit():
            if int(key) == len(node):
                node.append(empty)
            node = node[int(key)]
        else:
            node = node.setdefault(key, empty)
    node[keys[-1]] = value


def at(resource: Resource, path: str) -> Any:
    node: Any = resource
    for key in path.split("."):
        node = (node[int(key)] if int(key) < len(node) else None) if key.isdigit() else node.get(key, [] if key == "note" else {})
    return node


def everything(who: Someone, patient: str) -> list[Resource]:
    """Someone's view of a record; nothing where they may not know of it."""
    found: list[Resource] = []
    more = f"Patient/{patient}/$everything?_count=200"
    while more:
        answer = who.get(more)
        if answer.status_code == 404:
            return []
        page = checked(answer)
        found += [e["resource"] for e in page.get("entry", []) if e["resource"]["resourceType"] != "OperationOutcome"]
        more = next_of(page).replace(f"{who.g.base}/fhir/", "")
    return found


def checked(answer: httpx2.Response, status: int = 200) -> Resource:
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:600]}"
    out: Resource = answer.json()
    return out


def nhs_number(n: int) -> str:
    """The nth number of the range set aside for tests that has a check digit, from 999 000 1000 on."""
    prefix = 999000100 + 2 * n  # of two neighbours one has a check digit
    while True:
        digit = 11 - sum(int(d) * w for d, w in zip(str(prefix), range(10, 1, -1), strict=True)) % 11
        if digit != 10:
            return f"{prefix}{0 if digit == 11 else digit}"
        prefix += 1


WORDS = ("the garden", "cooking", "my sister", "the stairs", "Sunday café", "naïve tunes", "日曜の散歩", "swimming", "bread & butter", "“home”")


def plan(n: int, dice: random.Random) -> Resource:
    """A plan of about ten resources."""
    word = lambda: f"{dice.choice(WORDS)} {dice.randrange(1000)}"  # noqa: E731
    return {
        "plan": "1", "id": f"plan-{n:04}", "title": f"Plan {n}", "status": "active", "created": "2026-01-19",
        "person": {"id": f"p-{n:04}", "nhs_number": nhs_number(n), "name": {"given": ["Ann"], "family": f"Scenario{n:04}"}, "birth_date": f"19{30 + n % 60}-0{1 + n % 9}-11"},
        "team": [{"id": "t-gp", "name": "Dr Asha Patel", "role": "GP", "organisation": {"ods": "D82001", "name": "Example Street Surgery", "sector": "health"}}],
        "needs": [{"id": f"n-{i}", "text": word()} for i in range(2)],
        "goals": [{"id": f"g-{i}", "text": word(), "needs": [f"n-{i}"] if i < 2 else [], "set_by": "person", "status": "in progress"} for i in range(3)],
        "actions": [{"id": "a-1", "text": word(), "goals": ["g-0"], "kind": "self-care", "who": "person", "status": "in progress"}],
        "measurements": [{"id": "m-1", "on": "2026-10-05T10:20:00+01:00", "what": {"text": "Body weight"}, "value": 61.5, "unit": "kg", "by": "person"}],
    }  # fmt: skip
