"""Plans and other people's FHIR, in and out of the record: a layer above the gate, which decides everything.

A plan becomes FHIR by the tables of `mappings/`; its items are found again by `identifier`. What came from elsewhere is found again
by a tag, `https://fhir-gateway.example/id/original|<its first address>`, so importing twice writes nothing.
"""

from .beside import Opened, Others, medicines_beside, others_beside
from .bringing import bring_in, bring_in_files
from .editing import Item, edit, item, item_then, kind_of
from .joining import joined
from .keeping import Saved, load, opened, save, version_of
from .texts import (
    as_written,
    from_fhir,
    from_partner,
    is_plan,
    parts,
    read_plan,
    read_resources,
    refuse_several,
    schema,
    to_fhir,
    to_partner,
)

__all__ = [
    "Item", "Opened", "Others", "Saved", "as_written", "bring_in", "bring_in_files", "edit", "from_fhir", "from_partner", "is_plan", "item", "item_then", "joined", "kind_of",
    "load", "medicines_beside", "opened", "others_beside", "parts", "read_plan", "read_resources", "refuse_several", "save", "schema", "to_fhir", "to_partner", "version_of",
]  # fmt: skip
