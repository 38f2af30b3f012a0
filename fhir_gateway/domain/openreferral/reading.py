"""What the files of a directory say: services with everything nested below them, each with its file and line; what is wrong, likewise.

HSDS comes as one service, a list, numbered pages of a list, an organisation with its services, or as tables (CSV beside a
`datapackage.json`, or one JSON object of tables). All of them become the nested form.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

STATUSES: Final = ("active", "inactive", "defunct", "temporarily closed")
LONGEST: Final = 20_000  # characters of one text: nobody reads more about a service
OF_SERVICE: Final = ("phones", "schedules", "service_areas", "languages", "cost_options", "required_documents", "accessibility")
NOT_TAKEN: Final = ("contacts", "funding", "metadata", "meta_table_descriptions")  # names of people, money, who edited it


TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row that cannot be taken: where (`services.csv, line 12`), why, and whose id it had."""

    where: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One service as it was said, everything of it nested below."""

    where: str
    said: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.said["id"])

    @property
    def short(self) -> bool:
        """Is this a line of a list, which says nothing of where, when and how: what is known of that stays."""
        return not any(k in self.said for k in (*OF_SERVICE, "service_at_locations", "attributes", "contacts"))


@dataclass(slots=True)
class Read:
    """What came of all files. `whole`: they hold every service of their source, so that one that is not among them is gone."""

    items: list[Item] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    whole: bool = True


def read(files: Sequence[tuple[str, bytes]]) -> Read:
    """Every service in these files. Nothing raises: what cannot be read is in `wrong`, by file and line."""
    found, tables = Read(), dict[str, list[Item]]()
    pages, expected = 0, None
    for name, raw in files:
        base = name.rsplit("/", 1)[-1].lower()
        if base == "datapackage.json":
            continue
        if base.endswith(".csv"):
            tables[base] = [*tables.get(base, ()), *_rows(name, raw, found)]
            continue
        said = _json(name, raw, found)
        if said is None:
            continue
        if isinstance(said, dict) and any(str(k).endswith(".csv") for k in said):
            for table, rows in said.items():
                tables[table.lower()] = [*tables.get(table.lower(), ()), *_flat(f"{name}: {table}", rows, found)]
            continue
        if isinstance(said, dict) and "contents" in said:
            pages += 1
            expected = _number(said.get("total_pages")) or expected
            found.whole = found.whole and expected is not None
        elif isinstance(said, dict):
            found.whole = False
        found.items += _items(name, raw, said, found)
    if expected is not None and pages != expected:
        found.whole = False
    if tables:
        found.whole = found.whole and "services.csv" in tables
        found.items += _joined(tables, found)
    found.items = list(_checked(found))
    found.whole = found.whole and bool(found.items)
    return found


# -- JSON -------------------------------------------------------------------------------------------------------------


def _json(name: str, raw: bytes, found: Read) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_number)
    except UnicodeDecodeError as wrong:
        found.wrong.append(Wrong(name, f"This is not UTF-8 (byte {wrong.start})."))
    except json.JSONDecodeError as wrong:
        found.wrong.append(Wrong(f"{name}, line {wrong.lineno}", f"This is not JSON: {wrong.msg}."))
    except (ValueError, RecursionError):
        found.wrong.append(Wrong(name, "This is not JSON that anybody can read: a number that is none, or too deep."))
    found.whole = False
    return None


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _items(name: str, raw: bytes, said: Any, found: Read) -> Iterator[Item]:
    """The services in a file, wherever they stand in it, with the line on which their id is first said."""
    text = raw.decode("utf-8-sig", "replace")
    inside = said.get("contents") if isinstance(said, dict) and "contents" in said else said
    several = inside if isinstance(inside, list) else [inside]
    for n, one in enumerate(several):
        at = text.find(f'"{one["id"]}"') if isinstance(one, dict) and isinstance(one.get("id"), str) else -1
        where = (f"{name}, item {n + 1}" if len(several) > 1 else name) + (f", line {text.count(chr(10), 0, at) + 1}" if at >= 0 else "")
        if not isinstance(one, dict):
            found.wrong.append(Wrong(where, "This is no service: an object is expected."))
        elif isinstance(one.get("services"), list):  # an organisation with its services
            own = {k: v for k, v in one.items() if k != "services"}
            yield from (Item(where, {"organization": own, **s}) for s in one["services"] if isinstance(s, dict))
        elif "service" in one and isinstance(one["service"], dict):  # a service at a location
            here = {k: v for k, v in one.items() if k != "service"}
            yield Item(where, {**one["service"], "service_at_locations": [here]})
        elif one.keys() & {"organization", "organization_id", "status", "service_at_locations", "application_process", "service_areas"}:
            yield Item(where, one)
        else:
            found.wrong.append(Wrong(where, "This is no service of Open Referral (HSDS 3): it has neither `status` nor `organization`.", str(one.get("id", ""))[:80]))


def _flat(where: str, rows: Any, found: Read) -> Iterator[Item]:
    """The rows of a table in JSON: objects, whose ids are no lists and objects."""
    for n, row in enumerate(rows if isinstance(rows, list) else [None]):
        if isinstance(row, dict) and not any(k == "id" or str(k).endswith("_id") for k, v in row.items() if isinstance(v, list | dict)):
            yield Item(f"{where}[{n}]", row)
        else:
            found.wrong.append(Wrong(f"{where}[{n}]", "This is no row of a table: an object is expected, its ids text or numbers."))


# -- tables -----------------------------------------------------------------------------------------------------------


def _rows(name: str, raw: bytes, found: Read) -> Iterator[Item]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = raw.count(b"\n", 0, wrong.start) + 1
        found.wrong.append(Wrong(f"{name}, line {line}", "This is not UTF-8."))
        found.whole = False
        return
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    first = 1
    while True:
        first = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as wrong:
            found.wrong.append(Wrong(f"{name}, line {first}", f"This is not CSV: {wrong}."))
            found.whole = False
            return
        if row is None:
            return
        where = f"{name}, line {first}"
        if header is None:
            header = [h.strip().lower() for h in row]
        elif any(v.strip() for v in row):
            if len(row) != len(header):
                found.wrong.append(Wrong(where, f"It has {len(row)} values where the header has {len(header)}.", row[0][:80] if row else ""))
                continue
            yield Item(where, {k: v.strip() for k, v in zip(header, row, strict=True) if v.strip()})


def _joined(tables: Mapping[str, list[Item]], found: Read) -> Iterator[Item]:
    """The tables put together, as a nested service is."""
    for table in NOT_TAKEN:
        found.left_out[table] = found.left_out.get(table, 0) + len(tables.get(f"{table}.csv", ()))

    def all_of(table: str) -> list[dict[str, Any]]:
        return [dict(r.said) for r in tables.get(f"{table}.csv", ())]

    organisations = {o.get("id"): o for o in all_of("organizations")}
    for table in ("phones", "organization_identifiers"):
        for child in all_of(table):
            if (mine := organisations.get(child.get("organization_id"))) is not None and not child.get("service_id"):
                mine.setdefault(table, []).append(child)
    locations = {p.get("id"): p for p in all_of("locations")}
    for table in ("addresses", "accessibility", "phones"):
        for child in all_of(table):
            if (place := locations.get(child.get("location_id"))) is not None and not child.get("service_id"):
                place.setdefault(table, []).append(child)
    taxonomies = {t.get("id"): t for t in all_of("taxonomies")}
    terms = {t.get("id"): {**t, "taxonomy_detail": taxonomies.get(t.get("taxonomy_id"), {})} for t in all_of("taxonomy_terms")}
    programs = {p.get("id"): p for p in all_of("programs")}
    below: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for table in OF_SERVICE:
        for child in all_of(table):
            below.setdefault(str(child.get("service_id")), {}).setdefault(table, []).append(child)
    for at in all_of("service_at_location"):
        below.setdefault(str(at.get("service_id")), {}).setdefault("service_at_locations", []).append({**at, "location": locations.get(at.get("location_id"))})
    for a in all_of("attributes"):
        if (term := terms.get(a.get("taxonomy_term_id"))) is not None:
            below.setdefault(str(a.get("link_id")), {}).setdefault("attributes", []).append({**a, "taxonomy_term": term})
    for row in tables.get("services.csv", ()):
        said = {**row.said, **below.get(str(row.said.get("id")), {})}
        if "organization_id" in said and (mine := organisations.get(said["organization_id"])) is None:
            found.wrong.append(Wrong(row.where, f"There is no organization `{str(said['organization_id'])[:80]}` in organizations.csv.", str(said.get("id", ""))))
            continue
        yield Item(row.where, {"service_at_locations": [], **said, "organization": organisations.get(said.get("organization_id")), "program": programs.get(said.get("program_id"))})


# -- whether a service can be taken -----------------------------------------------------------------------------------


def _checked(found: Read) -> Iterator[Item]:
    seen: dict[str, str] = {}
    for item in found.items:
        said = item.said
        for table in NOT_TAKEN:
            if isinstance(said.get(table), list):
                found.left_out[table] = found.left_out.get(table, 0) + len(said[table])
        id, why = said.get("id"), _what_is_wrong(said)
        if not why and str(id) in seen:
            why = f"The service `{str(id)[:80]}` was said already, in {seen[str(id)]}."
        if why:
            found.wrong.append(Wrong(item.where, why, str(id or "")))
            continue
        seen[str(id)] = item.where
        for n, schedule in enumerate(schedules(said), 1):
            if time := no_time(schedule):
                found.wrong.append(Wrong(f"{item.where}, schedule {n}", f"`{time[:40]}` is no time (09:30): this schedule of the service is left out.", str(id)))
        yield item


def schedules(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """When a service is open: of its own, and of each of its places."""
    return [*listed(said.get("schedules")), *(s for at in listed(said.get("service_at_locations")) for s in listed(at.get("schedules")))]


def no_time(schedule: Mapping[str, Any]) -> str:
    """What a schedule says as a time that is none, such as 25:99; "" where there is nothing of the kind."""
    said = (str(schedule.get(k) or "").strip() for k in ("opens_at", "closes_at"))
    return next((t for t in said if t and not TIME.match(t)), "")


def _what_is_wrong(said: Mapping[str, Any]) -> str:
    id, status, owner = said.get("id"), said.get("status"), said.get("organization")
    if not isinstance(id, str | int) or not str(id).strip() or len(str(id)) > 200:
        return "A service needs an `id`."
    if not isinstance(said.get("name"), str) or not said["name"].strip():
        return "A service needs a `name`."
    if status is not None and status not in STATUSES:
        return f"`status` is one of {', '.join(STATUSES)}; not `{str(status)[:40]}`."
    if owner is not None and not (isinstance(owner, dict) and owner.get("id") and isinstance(owner.get("name"), str) and owner["name"].strip()):
        return "Its organization needs an `id` and a `name`."
    if owner is None:
        return "A service needs an `organization`, who offers it."
    if long := next((k for k, v in said.items() if isinstance(v, str) and len(v) > LONGEST), None):
        return f"`{long[:40]}` has more than {LONGEST} characters."
    return ""


def _number(said: Any) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said > 0 else None


def listed(said: Any) -> list[Mapping[str, Any]]:
    """The objects in this list; none where it is no list."""
    return [one for one in said if isinstance(one, Mapping)] if isinstance(said, Iterable) and not isinstance(said, str | Mapping) else []
