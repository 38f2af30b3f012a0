"""`python -m tests.attacks.serving`: `fhir-gateway serve` without the command line before it, which takes a fifth of the time until it answers."""

from __future__ import annotations

import sys

from fhir_gateway import serving
from fhir_gateway.settings import load

if __name__ == "__main__":
    sys.exit(serving.serve(load()))
