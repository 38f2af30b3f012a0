"""A service directory in Open Referral UK (HSDS 3.x), JSON or CSV, as FHIR Organization, Location and HealthcareService.

https://docs.openreferral.org/en/3.0/hsds/schema_reference.html, https://docs.openreferraluk.org
"""

from .reading import Item, Read, Wrong, read
from .resources import COVERS, DISTRICT, Words, district_of, resources, system_of

__all__ = ["COVERS", "DISTRICT", "Item", "Read", "Words", "Wrong", "district_of", "read", "resources", "system_of"]
