"""The FHIR gateway for shared personal care plans."""

__version__ = "0.1.0"
