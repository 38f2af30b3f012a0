"""A plan of 1,000 goals to FHIR and back: `python -m benchmarks.mapping`. CPU seconds, best of five."""

from __future__ import annotations

import time

from fhir_gateway.domain import mapping
from fhir_gateway.tables import load_tables


def main() -> None:
    tables = load_tables()
    goals = [
        {
            "id": f"g{n}", "text": f"Walk to the shop, time {n}", "importance": 1 + n % 10, "status": "in progress", "start": "2026-02-03",
            "target": {"what": "Distance", "value": 800, "unit": "m", "by": "2027-03-28"}, "notes": [{"by": "person", "text": "Going well"}],
        }
        for n in range(1_000)
    ]  # fmt: skip
    plan = {"plan": "1", "id": "bench", "title": "A plan", "status": "active", "person": {"id": "p", "name": {"family": "B"}}, "goals": goals}
    out, back = [], []
    for _ in range(5):
        began = time.process_time()
        made = mapping.bundle(plan, tables)
        out.append(time.process_time() - began)
        began = time.process_time()
        again = mapping.from_fhir(made["entry"], tables)
        back.append(time.process_time() - began)
        assert again == plan
    print(f"1,000 goals: {min(out):.3f} s to FHIR, {min(back):.3f} s back, equal")


if __name__ == "__main__":
    main()
