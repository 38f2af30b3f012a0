"""Runs tables of rows, plan to FHIR and back (plans-and-mappings of the design; `mappings/*.yaml` are the tables).

`to_fhir(plan, tables)` gives every resource with references between them; `from_fhir(resources, tables)` gives the plan. For any
plan `from_fhir(to_fhir(plan).resources) == plan`: what FHIR has no place for travels beside it, and nothing is evaluated.
"""

from .inward import Read, from_fhir, read
from .outward import Entry, Mapped, bundle, to_fhir, transaction
from .partner import Partner, compile_partner
from .tables import Table, TableError, Tables, compile_tables

__all__ = [
    "Entry", "Mapped", "Partner", "Read", "Table", "TableError", "Tables", "bundle", "compile_partner", "compile_tables", "from_fhir", "read", "to_fhir",
    "transaction",
]  # fmt: skip
