"""Profiles: StructureDefinitions given as definitions, compiled, and run over a resource beside R4's own check.

`Definitions` holds what is known; `Judge` checks one resource. https://hl7.org/fhir/R4/profiling.html
"""

from .checking import Judge
from .definitions import Definitions, Profile

__all__ = ["Definitions", "Judge", "Profile"]
