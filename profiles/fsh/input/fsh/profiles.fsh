// The profiles of a shared personal plan. Each derives from R4, so that it can be checked anywhere, and imposes the UK Core profile of its
// type, which holds too where a deployment knows it.

Alias: $sct = http://snomed.info/sct
Alias: $loinc = http://loinc.org
Alias: $impose = http://hl7.org/fhir/StructureDefinition/structuredefinition-imposeProfile

RuleSet: Impose(type)
* ^extension[0].url = $impose
* ^extension[0].valueCanonical = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-{type}"

Profile: PersonalPlan
Parent: CarePlan
Id: personal-plan
Title: "Personal plan"
Description: "The one overarching plan that a person and the people around them agreed; it belongs to the person."
* insert Impose(CarePlan)
* extension contains
    PlanFormat named format 0..1 and
    PlanLastReviewed named last-reviewed 0..1 and
    PlanReview named review 0..1 and
    PlanWritten named written 0..1 and
    PlanAgreement named agreement 0..* and
    CareFundingSource named funding 0..1 and
    FundedBy named budget 0..1
* intent = #plan
* category 1..*
* category ^slicing.discriminator.type = #pattern
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains personal 1..1
* category[personal] = $sct#2181441000000107
* subject only Reference(Patient)

Profile: ContingencyPlan
Parent: CarePlan
Id: contingency-plan
Title: "Contingency plan"
Description: "What to do when things get worse, and whom to call. Part of the personal plan."
* insert Impose(CarePlan)
* extension contains
    ContingencyTrigger named trigger 0..* and
    ContingencyEarlyWarning named early-warning 0..* and
    ContingencyStep named step 0..* and
    ContingencyContact named contact 0..* and
    ContingencyCoping named coping 0..* and
    AdvanceStatement named advance-statement 0..1 and
    AdvanceStatementMade named advance-statement-made 0..1 and
    ContingencyDetail named detail 0..* and
    AnticipatoryItem named anticipatory 0..* and
    PlanAgreement named agreement 0..* and
    PlanLastReviewed named last-reviewed 0..1 and
    PlanReview named review 0..1 and
    PlanWritten named written 0..1
* intent = #plan
* category 1..*
* partOf 1..*
* subject only Reference(Patient)

Profile: PlanGoal
Parent: Goal
Id: plan-goal
Title: "Goal or hope of a personal plan"
Description: "In the person's own words, which no code replaces. UK Core has no Goal."
* extension contains
    GoalImportance named importance 0..1 and
    GoalReview named review 0..1 and
    SourceWords named words 0..1 and
    GoalOutcome named outcome 0..*
* description.text 1..1
* subject only Reference(Patient)

Profile: PlanNeed
Parent: Condition
Id: plan-need
Title: "Need of a personal plan"
Description: "What the person needs help with, in their own words, which no code replaces."
* insert Impose(Condition)
* extension contains SourceWords named words 0..1
* category 1..*
* category ^slicing.discriminator.type = #pattern
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains concern 1..1
* category[concern] = http://hl7.org/fhir/us/core/CodeSystem/condition-category#health-concern
* code 1..1
* code.text 1..1
* subject only Reference(Patient)

Profile: PlanAction
Parent: Task
Id: plan-action
Title: "Action of a personal plan"
Description: "What will be done, by whom, when, and how confident the person is."
* insert Impose(Task)
* extension contains
    ActionConfidence named confidence 0..1 and
    WhenText named when 0..1 and
    SuggestedStrategies named strategies 0..1 and
    ActionReview named review 0..1 and
    Service named service 0..1
* intent = #plan
* for 1..1
* for only Reference(Patient)

Profile: PlanFormulation
Parent: ClinicalImpression
Id: plan-formulation
Title: "Formulation of a personal plan"
Description: "What the person and a professional together make of how things came to be as they are."
* extension contains PlanWritten named written 0..1
* status = #completed
* subject only Reference(Patient)

Profile: PlanWheel
Parent: Observation
Id: plan-wheel
Title: "Wheel of a personal plan"
Description: "The person's own spokes, none of them a licensed instrument's: how each is now, from 0 to 10, and how they would like it to be."
* insert Impose(Observation)
* status = #final
* code.coding ^slicing.discriminator.type = #pattern
* code.coding ^slicing.discriminator.path = "$this"
* code.coding ^slicing.rules = #open
* code.coding contains wheel 1..1
* code.coding[wheel] = https://fhir-gateway.example/CodeSystem/plan-observation#wheel
* subject 1..1
* subject only Reference(Patient)
* component.code.text 1..1
* component.value[x] only integer
* component.extension contains WheelNext named next 0..1 and SourceWords named why 0..1

Profile: AboutMe
Parent: QuestionnaireResponse
Id: about-me
Title: "About me"
Description: "Who I am and what matters to me: answers to our About me questionnaire, each in the person's words."
* insert Impose(QuestionnaireResponse)
* questionnaire 1..1
* questionnaire = "https://fhir-gateway.example/Questionnaire/about-me"
* subject 1..1
* subject only Reference(Patient)
* item.answer 0..1
* item.answer.value[x] only string
* item.item 0..0

Profile: SharingPreferences
Parent: Consent
Id: sharing-preferences
Title: "Sharing preferences"
Description: "Whom a person lets see which parts of their record, as provisions that a machine can decide by."
* insert Impose(Consent)
* scope = http://terminology.hl7.org/CodeSystem/consentscope#patient-privacy
* category ^slicing.discriminator.type = #pattern
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains privacy 1..1
* category[privacy] = $loinc#59284-0
* patient 1..1
* patient only Reference(Patient)
* performer 1..*
* policyRule 1..1
* provision.extension contains ConsentWords named words 0..1 and ConsentWhy named why 0..1
* provision.provision.extension contains ConsentWords named words 0..1 and ConsentWhy named why 0..1
