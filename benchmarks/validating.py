"""What validating costs: `python -m benchmarks.validating`. CPU milliseconds a resource, the best of ten rounds; resident memory at the end.

The budget is 0.5 ms for a CarePlan and 150 MB a process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.validate import check
from fhir_gateway.tables import load_tables

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
R4 = definitions.load_r4()


def main() -> None:
    own = definitions.read_definitions(None)
    entries = mapping.to_fhir(plans.read_plan(definitions.demo_file("plan.json")), load_tables()).entries
    plan = next(strict.read(strict.dump(e.resource)) for e in entries if e.kind == "plan")
    declared = {**plan, "meta": {"profile": [EXTENSIONS + "personal-plan"]}}
    measure("our plan's CarePlan, R4 alone", plan)
    measure("the same, our definitions known", plan, definitions=own)
    measure("the same, declaring personal-plan", declared, definitions=own)
    if not DATA.is_dir():
        print("../shared/data is not here: no examples are measured")
        return
    for name in ("CarePlan/CarePlan-example", "Patient/Patient-example", "CarePlan/CarePlan-integrate"):
        raw = (DATA / f"examples/hl7-r4/{name}.json").read_bytes()
        measure(f"R4's {name.partition('/')[2]}", strict.read(raw))
    judged = 0
    for file in DATA.rglob("*.json"):
        try:
            check(strict.read(file.read_bytes()), R4)
            judged += 1
        except Problem:
            continue
    print(f"after {judged:,} files: {_resident()} at most")


def measure(name: str, resource: dict[str, Any], **more: Any) -> None:
    check(resource, R4, **more)
    rounds = []
    for _ in range(10):
        began = time.process_time()
        for _ in range(100):
            check(resource, R4, **more)
        rounds.append((time.process_time() - began) * 10)
    print(f"{name} ({len(strict.dump(resource)) / 1000:.1f} KB): {min(rounds):.2f} ms")


def _resident() -> str:
    status = Path("/proc/self/status")
    if not status.exists():
        return f"unknown on {sys.platform}"
    return f"{int(next(line for line in status.read_text().splitlines() if line.startswith('VmHWM')).split()[1]) // 1024} MB"


if __name__ == "__main__":
    main()
