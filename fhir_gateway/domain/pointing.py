"""Which elements of R4 are references, and which of them can point to nothing of a patient.

Compiled from the official tables by `scripts/compile_pointing.py`; do not edit. https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Every name that a Reference has in JSON, in some type.
REFERENCES: Final = frozenset(
    ("abnormalCodedValueSet about account actor additive additiveReference addresses administeredBy allergyIntolerance"
     " answerReference appointment asserter assessment assessor assigner associatedMedication attachedDocument authenticator"
     " author authorReference authority authorizingPrescription basedOn basis beneficiary candidate careManager careTeam"
     " chargeItemReference claim claimResponse clinicalTrial codeReference collector communicationRequest complicationDetail"
     " condition consent contact content contentReference context contract contraindication contributor costCenter coverage"
     " coverageArea criticalCodedValueSet custodian defaultValueReference definingSubstanceReference definition"
     " definitionReference deliverFrom deliverTo derivedFrom destination detail details detectedIssue device"
     " diagnosisReference domain encounter endpoint enrollment enterer entity entityReference entry episodeOfCare"
     " evaluatedResource evaluationMessage eventHistory exposure exposureAlternative exposureBackground exposureVariant"
     " expressedBy facility fixedReference focus for generalPractitioner goal hasMember healthcareService holder imagingStudy"
     " immunizationEvent implicated inResponseTo indicationReference individual information informationSource ingredient"
     " instance instantiatesCanonical insurance insurer interpreter issuer item itemReference legallyBindingReference link"
     " location locationReference managingEntity managingOrganization manipulated manufacturedItem manufacturer"
     " manufacturerReference marketingAuthorization masterFile medicationReference member nameReference network"
     " normalCodedValueSet nucleicAcid observationRequirement observationResultRequirement observer onBehalfOf operator"
     " orderer organization origin originalPrescription other outcome outcomeReference outputParameters ownedBy owner"
     " packagedMedicinalProduct parent parentDevice partOf participant participatingOrganization party patient"
     " patternReference payee payment paymentIssuer payor performer performingOrganization pharmaceuticalProduct pointer"
     " policyHolder polymer population practitioner prescriber prescription previous principalInvestigator priorPrescription"
     " priorRequest problem procedureReference productReference profile prognosisReference protein protocol providedBy"
     " provider publisher reasonReference receiver recipient recorder ref reference referenceDocument referenceInformation"
     " referenceSeqPointer referencedItem referral referralRequest referrer regulator regulatoryAuthority related"
     " relevantHistory replaces report reportedReference reporter request requestProvider requester requestingOrganization"
     " requestor resource response responsible responsibleParty result resultingCondition resultsInterpreter"
     " riskEvidenceSynthesis schedule securityContext sender service serviceProvider site slot source sourceMaterial"
     " sourcePatientInfo sourceReference specimen specimenRequirement sponsor statusReasonReference study subject"
     " subjectMedicalHistory subjectReference subjectResults submitter subscriber substanceReference supplier"
     " supportingImmunization supportingInfo supportingInformation supportingPatientInformation target targetReference team"
     " testScript therapeuticIndication timingReference topic topicReference typeReference udi undesirableEffect"
     " usedReference validCodedValueSet valueReference variantPointer verifiedWith what who").split()
)

# Those that point to no patient data in any type.
OF_NOBODY: Final = frozenset(
    ("abnormalCodedValueSet additive additiveReference administeredBy assessor assigner associatedMedication authenticator"
     " authority careManager collector contact costCenter coverageArea criticalCodedValueSet custodian deliverFrom"
     " destination domain endpoint facility generalPractitioner healthcareService holder insurer interpreter issuer location"
     " locationReference managingOrganization manufacturer manufacturerReference network normalCodedValueSet orderer"
     " organization origin ownedBy participatingOrganization payee paymentIssuer performingOrganization practitioner"
     " prescriber principalInvestigator protocol providedBy provider publisher referrer regulator regulatoryAuthority"
     " reporter requestProvider requestingOrganization requestor responsibleParty serviceProvider site specimenRequirement"
     " sponsor submitter supplier testScript validCodedValueSet").split()
)

# Those that do not in these types.
OF_NOBODY_IN: Final[Mapping[str, frozenset[str]]] = {
    "actor": frozenset("Immunization".split()),
    "author": frozenset("AdverseEvent Linkage MessageHeader".split()),
    "enterer": frozenset("Claim CoverageEligibilityRequest ExplanationOfBenefit MessageHeader".split()),
    "itemReference": frozenset("Medication MedicationKnowledge".split()),
    "medicationReference": frozenset("MedicationAdministration MedicationDispense MedicationRequest MedicationStatement".split()),
    "owner": frozenset("Account Device DeviceDefinition".split()),
    "partOf": frozenset("Location Organization".split()),
    "performer": frozenset("MolecularSequence".split()),
    "productReference": frozenset("ActivityDefinition CarePlan".split()),
    "receiver": frozenset("MessageHeader SupplyDelivery".split()),
    "recipient": frozenset("PaymentNotice".split()),
    "recorder": frozenset("MedicationRequest".split()),
    "reference": frozenset("MedicationKnowledge".split()),
    "responsible": frozenset("MessageHeader PaymentReconciliation".split()),
    "sender": frozenset("MessageHeader".split()),
    "substanceReference": frozenset("Substance".split()),
}
