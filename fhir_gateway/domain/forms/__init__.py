"""Questionnaires: which questions are open, what is known already, what the answers become. Pure.

https://hl7.org/fhir/R4/questionnaire.html, https://hl7.org/fhir/uv/sdc/
"""

from . import items
from .enabling import Conditions, pruned
from .extracting import Extracted, extract, makes_something
from .filling import Filled, Sought, filled, sought

__all__ = ["Conditions", "Extracted", "Filled", "Sought", "extract", "filled", "items", "makes_something", "pruned", "sought"]
