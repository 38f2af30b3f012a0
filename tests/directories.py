"""A made-up service directory of any size, as the tables of Open Referral UK. Nothing in it is anybody's."""

from __future__ import annotations

import csv
import io
from typing import Any

KINDS = ("befriending", "walking group", "lunch club", "carers", "falls class", "benefits advice", "bereavement", "men's shed", "gardening", "transport")
DISTRICTS = tuple(f"NR{n}" for n in range(1, 36)) + tuple(f"IP{n}" for n in range(1, 34)) + tuple(f"PE{n}" for n in range(30, 39))
Tables = dict[str, list[dict[str, Any]]]


def tables(services: int = 1000, organisations: int = 250) -> Tables:
    """So many services: each has an organisation, a place in a postcode district and a category; every third says whom it covers."""
    out: Tables = {name: [] for name in ("organizations", "services", "locations", "addresses", "service_at_location", "service_areas", "phones", "schedules", "taxonomies", "taxonomy_terms", "attributes", "contacts")}
    for n in range(organisations):
        out["organizations"].append({"id": f"o{n}", "name": f"Example Charity {n}", "description": "Helps people.", "website": f"https://charity-{n}.example", "email": f"office@charity-{n}.example"})
    out["taxonomies"].append({"id": "x", "name": "Kinds", "uri": "https://directory.example/kinds"})
    for n, kind in enumerate(KINDS):
        out["taxonomy_terms"].append({"id": f"k{n}", "code": kind.replace(" ", "-").replace("'", ""), "name": kind.title(), "taxonomy_id": "x"})
    for n in range(services):
        kind, district = KINDS[n % len(KINDS)], DISTRICTS[n % len(DISTRICTS)]
        out["services"].append({"id": f"s{n}", "organization_id": f"o{n % organisations}", "name": f"{kind.capitalize()} {n}", "description": f"A {kind} near you, “{n}”, on Tuesdays", "status": "active", "minimum_age": "50", "maximum_age": "", "fees_description": "Free", "email": f"s{n}@charity.example"})
        out["locations"].append({"id": f"l{n}", "name": f"Hall {n}", "latitude": "52.6", "longitude": "1.7", "location_type": "physical"})
        out["addresses"].append({"id": f"a{n}", "location_id": f"l{n}", "attention": "A. Person", "address_1": f"{n} Quay", "city": "Great Yarmouth", "postal_code": f"{district} 1AA"})
        out["service_at_location"].append({"id": f"sl{n}", "service_id": f"s{n}", "location_id": f"l{n}"})
        out["phones"].append({"id": f"p{n}", "service_id": f"s{n}", "number": "01632 960001", "type": "voice"})
        out["schedules"].append({"id": f"t{n}", "service_id": f"s{n}", "freq": "WEEKLY", "byday": "TU", "opens_at": "10:00", "closes_at": "12:00"})
        out["attributes"].append({"id": f"at{n}", "link_id": f"s{n}", "link_entity": "service", "taxonomy_term_id": f"k{n % len(KINDS)}"})
        out["contacts"].append({"id": f"c{n}", "service_id": f"s{n}", "name": "Ann Persona", "email": "ann.persona@charity.example"})
        if n % 3 == 0:
            out["service_areas"].append({"id": f"ar{n}", "service_id": f"s{n}", "name": f"Postcodes {district} and NR30"})
    return out


def as_csv(said: Tables) -> dict[str, bytes]:
    """File name to bytes."""
    out = {}
    for name, rows in said.items():
        text = io.StringIO(newline="")
        header = list(dict.fromkeys(k for r in rows for k in r)) or ["id"]
        writer = csv.DictWriter(text, header)
        writer.writeheader()
        writer.writerows(rows)
        out[f"{name}.csv"] = text.getvalue().encode()
    return out
