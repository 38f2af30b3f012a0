"""Which types a partner is asked for: by its feeds, by a sweep, and to call us about."""

from __future__ import annotations

from typing import Final

from ..gate.context import Remote
from ..remote.abilities import Abilities

# What is asked for where a server has no feed over all and the agreement names no types: targets before what refers to them.
FIRST_CLASS: Final = (
    "Patient", "Consent", "RelatedPerson", "CareTeam", "Condition", "Flag", "Observation", "RiskAssessment", "Goal", "ServiceRequest", "Task",
    "Communication", "DocumentReference", "QuestionnaireResponse", "List", "CarePlan",
)  # fmt: skip


def types_of(terms: Remote, abilities: Abilities) -> list[str]:
    """Which types to ask for one by one. Consents always: they close here what they close."""
    wanted = [*FIRST_CLASS] if terms.types is None else [t for t in FIRST_CLASS if t in terms.types or t == "Consent"]
    wanted += sorted((terms.types or frozenset()) - set(FIRST_CLASS))
    return [t for t in wanted if not abilities.types or t in abilities.types]
