"""The entries of a batch or transaction, read: what each asks for, checked for shape. https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from .limits import DEFAULT
from .modifiers import plain
from .preconditions import etag
from .problem import Problem
from .r4 import R4

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ORDER: Final = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
WRITES: Final = {"DELETE": "d", "POST": "c", "PUT": "u", "PATCH": "u"}


@dataclass(frozen=True, slots=True)
class Step:
    """One entry: `url` is `Type`, `Type/id`, `Type?condition` or what a GET can ask for."""

    at: int
    method: str
    url: str
    full_url: str
    resource: dict[str, Any] | None
    if_match: int | None
    if_none_exist: str | None
    if_none_match: str | None = None
    if_modified_since: str | None = None

    @property
    def where(self) -> str:
        return f"Bundle.entry[{self.at}]"

    @property
    def path(self) -> list[str]:
        return [p for p in self.url.split("?", 1)[0].split("/") if p]

    @property
    def type(self) -> str:
        return self.path[0] if self.path and self.path[0][:1] not in "_$" else ""

    @property
    def id(self) -> str | None:
        return "/".join(self.path[1:]) or None

    @property
    def condition(self) -> str | None:
        return self.url.split("?", 1)[1] if "?" in self.url else None

    @property
    def params(self) -> list[tuple[str, str]]:
        """The query of a GET. Problem bad-request."""
        try:
            return parse_qsl(self.condition or "", keep_blank_values=True, errors="strict", max_num_fields=200)
        except ValueError:
            raise Problem("bad-request", "The search is not readable: at most 200 parameters, in UTF-8.", self.where) from None

    @property
    def reads(self) -> bool:
        """Changes nothing: a GET, or an operation that only looks."""
        return self.method in ("GET", "HEAD") or (self.method == "POST" and any(p.startswith("$") for p in self.path))


def entries(bundle: Mapping[str, Any], most: int = DEFAULT.entries) -> list[Any]:
    """The entries of a Bundle that asks for something. Problem bad-request, too-large, business-rule, invalid: what changes what the Bundle means."""
    if bundle.get("resourceType") != "Bundle":
        raise Problem("bad-request", "Only a Bundle can be sent to this address.", "resourceType")
    if bundle.get("type") not in ("transaction", "batch"):
        raise Problem("bad-request", f"A Bundle sent here is a transaction or a batch, not `{str(bundle.get('type'))[:40]}`.", "Bundle.type")
    found = bundle.get("entry", [])
    if not isinstance(found, list):
        raise Problem("bad-request", "`entry` must be a list.", "Bundle.entry")
    if len(found) > most:
        raise Problem("too-large", f"A Bundle may have {most} entries, this one has {len(found)}.", "Bundle.entry")
    plain({k: v for k, v in bundle.items() if k != "entry"}, "Bundle")
    return found


def read(found: Sequence[Any], base: str, r4: R4) -> list[Step]:
    """Every entry of a transaction. Problem bad-request, also when two name the same resource."""
    steps = [step(at, entry, base, r4) for at, entry in enumerate(found)]
    _no_name_twice(steps)
    return steps


def step(at: int, entry: Any, base: str, r4: R4) -> Step:
    """One entry. Problem bad-request naming it, invalid where an extension changes what it asks for."""
    where = f"Bundle.entry[{at}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("request"), dict):
        raise Problem("bad-request", "Each entry needs a `request` with method and url.", f"{where}.request")
    plain(entry, where)
    request = entry["request"]
    method = request.get("method")
    if method not in METHODS:
        raise Problem("bad-request", f"`{str(method)[:40]}` is not a method for a Bundle entry.", f"{where}.request.method")
    texts = {name: _text(request.get(name), f"{where}.request.{name}") for name in ("ifNoneExist", "ifNoneMatch", "ifModifiedSince")}
    url = _address(request.get("url"), base, r4, f"{where}.request.url")
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise Problem("bad-request", "A `resource` is an object.", f"{where}.resource")
    full_url = _text(entry.get("fullUrl"), f"{where}.fullUrl") or ""
    if_match = etag(request.get("ifMatch"), f"{where}.request.ifMatch")
    made = Step(at, method, url, full_url, resource, if_match, texts["ifNoneExist"], texts["ifNoneMatch"], texts["ifModifiedSince"])
    _fits(made)
    return made


def _text(value: Any, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Problem("bad-request", "This must be a text.", where)
    return value


def _address(url: Any, base: str, r4: R4, where: str) -> str:
    """Relative to the base; of a type that R4 has, or of the whole system."""
    if not isinstance(url, str):
        raise Problem("bad-request", "The request needs a `url`.", where)
    bare = url.removeprefix(base + "/") if url.startswith(base + "/") else url.removeprefix("/")
    path = bare.split("?", 1)[0]
    first = path.split("/", 1)[0]
    if "//" in path or ".." in path or ":" in path or len(bare) > 8_000 or not (r4.has_type(first) or first in ("", "_history")):
        raise Problem("bad-request", f"`{url[:80]}` is not an address of a resource here.", where)
    return bare


def _fits(s: Step) -> None:
    """Each method with the address and the body that it needs."""
    if s.method in ("POST", "PUT", "PATCH") and s.resource is None and not s.reads:
        raise Problem("bad-request", f"{s.method} needs a resource.", f"{s.where}.resource")
    if s.reads:
        return
    named, asked = s.id is not None, s.condition is not None
    wrong = named or asked if s.method == "POST" else named == asked
    if not s.type or wrong or (s.id is not None and "/" in s.id):
        raise Problem("bad-request", f"{s.method} cannot be asked of `{s.url[:80]}`.", f"{s.where}.request.url")


def ordered(steps: Iterable[Step]) -> list[Step]:
    """DELETE, POST, PUT and PATCH, GET: whatever order they came in (https://hl7.org/fhir/R4/http.html#trules)."""
    return sorted(steps, key=lambda s: ORDER[s.method])


def _no_name_twice(steps: Iterable[Step]) -> None:
    named: set[str] = set()
    for s in steps:
        own = f"{s.type}/{s.id}" if s.id and not s.reads else ""
        for name in {s.full_url if not s.reads else "", own} - {""}:
            if name in named:
                raise Problem("bad-request", f"`{name[:80]}` is named by two entries.", s.where)
            named.add(name)
