// What a personal plan says and R4 has no element for. The tables in mappings/ write and read these, in both directions.
// An extension that is known here is held to its definition wherever it stands.

// -- goals ------------------------------------------------------------------------------------------------------------

RuleSet: OneToTen
* value[x] 1..1
* value[x] only integer
* valueInteger ^minValueInteger = 1
* valueInteger ^maxValueInteger = 10

Extension: GoalImportance
Id: goal-importance
Title: "How important this goal is to the person"
Description: "From 1 (a little) to 10 (nothing matters more), said by the person. Not Goal.priority, which is the team's."
Context: Goal
* insert OneToTen

Extension: GoalReview
Id: goal-review
Title: "When this goal is looked at again"
Description: "The day on which the person and their team look at the goal again."
Context: Goal
* value[x] 1..1
* value[x] only date

Extension: GoalOutcome
Id: goal-outcome
Title: "How the goal went, once"
Description: "One outcome of many; Goal.achievementStatus keeps only the latest."
Context: Goal
* extension contains
    on 0..1 and
    by 0..1 and
    result 0..1 and
    code 0..1 and
    text 0..1
* extension[on].value[x] only dateTime
* extension[by].value[x] only Reference
* extension[result].value[x] only code
* extension[code].value[x] only Coding
* extension[text].value[x] only string

Extension: SourceWords
Id: source-words
Title: "The word the person or their system used"
Description: "Kept beside the FHIR code it was mapped to, which is coarser."
Context: Goal, Condition, Observation, Observation.component, ServiceRequest
* value[x] 1..1
* value[x] only string

// -- actions ----------------------------------------------------------------------------------------------------------

Extension: ActionConfidence
Id: action-confidence
Title: "How confident the person is that they can do this"
Description: "From 1 (not at all) to 10 (certain), said by the person."
Context: Task
* insert OneToTen

Extension: WhenText
Id: when-text
Title: "When, in words"
Description: "`Tuesdays after lunch`: when a thing is done, as the person says it."
Context: Task
* value[x] 1..1
* value[x] only string

Extension: SuggestedStrategies
Id: suggested-strategies
Title: "What may help when it gets difficult"
Description: "Suggestions for problems that the person expects."
Context: Task
* value[x] 1..1
* value[x] only string or markdown

Extension: ActionReview
Id: action-review
Title: "When this action is looked at again"
Description: "The day on which the action is looked at again."
Context: Task
* value[x] 1..1
* value[x] only date

Extension: Service
Id: service
Title: "The service that does it"
Description: "The name of a service or group that has no record of its own here."
Context: Task, ServiceRequest
* value[x] 1..1
* value[x] only string

// -- the plan ---------------------------------------------------------------------------------------------------------

Extension: PlanFormat
Id: plan-format
Title: "The version of the plan format"
Description: "Which version of the personal plan's own JSON this came from."
Context: CarePlan
* value[x] 1..1
* value[x] only string

Extension: PlanLastReviewed
Id: plan-last-reviewed
Title: "When the person last looked at the plan"
Description: "The person's own date; meta.lastUpdated is the server's."
Context: CarePlan
* value[x] 1..1
* value[x] only date

Extension: PlanReview
Id: plan-review
Title: "When the plan is looked at again, and who sees to it"
Description: "The next review, how often, and whose task it is."
Context: CarePlan
* extension contains
    next 0..1 and
    every 0..1 and
    responsible 0..1
* extension[next].value[x] only date
* extension[every].value[x] only string
* extension[responsible].value[x] only Reference

Extension: PlanWritten
Id: plan-written
Title: "Who wrote it down"
Description: "Often somebody types for the person: by whom, for the person or not, when and where; and which professional led the conversation."
Context: CarePlan, ClinicalImpression
* extension contains
    by 0..1 and
    led-by 0..1 and
    for-person 0..1 and
    on 0..1 and
    where 0..1 and
    site 0..1
* extension[by].value[x] only Reference
* extension[led-by].value[x] only Reference
* extension[site].value[x] only Reference
* extension[for-person].value[x] only boolean
* extension[on].value[x] only dateTime
* extension[where].value[x] only string

Extension: PlanAgreement
Id: plan-agreement
Title: "Who agreed to the plan"
Description: "The person or somebody who may speak for them, in which role, and when."
Context: CarePlan
* extension contains
    by 0..1 and
    role 0..1 and
    date 0..1
* extension[by].value[x] only Reference
* extension[role].value[x] only code
* extension[date].value[x] only dateTime

Extension: CareFundingSource
Id: care-funding-source
Title: "Who pays for the care"
Description: "In words, and the organisation where it is known."
Context: CarePlan
* extension contains
    text 0..1 and
    organisation 0..1
* extension[text].value[x] only string
* extension[organisation].value[x] only Reference

Extension: FundedBy
Id: funded-by
Title: "The budget"
Description: "How much, and for which time."
Context: CarePlan, ServiceRequest
* extension contains
    amount 0..1 and
    period 0..1
* extension[amount].value[x] only Money
* extension[period].value[x] only Period

Extension: HeldBy
Id: held-by
Title: "Who keeps the other plan or document"
Description: "The person or organisation that holds it."
Context: CarePlan, DocumentReference
* value[x] 1..1
* value[x] only Reference

Extension: KeptWhere
Id: kept-where
Title: "Where the other plan or document is kept"
Description: "In words: `in the blue folder in the hall`."
Context: CarePlan, DocumentReference
* value[x] 1..1
* value[x] only string

Extension: PlanUnmapped
Id: plan-unmapped
Title: "What the plan says and FHIR has no place for"
Description: "One value: the keys that lead to it (`path`, a JSON list), the value as JSON text (`json`), and what stands in FHIR instead (`as`)."
Context: Element
* extension contains
    path 1..1 and
    as 0..1 and
    json 0..1
* extension[path].value[x] only string
* extension[path].value[x] 1..1
* extension[as].value[x] only string
* extension[json].value[x] only string

// -- when things get worse --------------------------------------------------------------------------------------------

RuleSet: ContingencyWords
* value[x] 1..1
* value[x] only string

Extension: ContingencyTrigger
Id: contingency-trigger
Title: "What sets it off"
Description: "Something that makes things worse, in the person's words."
Context: CarePlan
* insert ContingencyWords

Extension: ContingencyEarlyWarning
Id: contingency-early-warning
Title: "An early warning sign"
Description: "How others can tell that it begins."
Context: CarePlan
* insert ContingencyWords

Extension: ContingencyStep
Id: contingency-step
Title: "What should happen"
Description: "One step, in order."
Context: CarePlan
* insert ContingencyWords

Extension: ContingencyCoping
Id: contingency-coping
Title: "What helps the person cope"
Description: "One way of coping."
Context: CarePlan
* insert ContingencyWords

Extension: ContingencyContact
Id: contingency-contact
Title: "Whom to call"
Description: "Somebody of the team or of the person's own life."
Context: CarePlan
* value[x] 1..1
* value[x] only Reference

Extension: AdvanceStatement
Id: advance-statement
Title: "Advance statement"
Description: "What the person wants to be known when they cannot say it."
Context: CarePlan
* insert ContingencyWords

Extension: AdvanceStatementMade
Id: advance-statement-made
Title: "How the advance statement was made"
Description: "When and where, with whom, its code, and where the signed paper is. The words themselves stand in advance-statement."
Context: CarePlan
* extension contains
    on 0..1 and
    code 0..1 and
    document 0..1 and
    led-by 0..1 and
    where 0..1 and
    site 0..1 and
    by 0..1 and
    written 0..1
* extension[on].value[x] only dateTime
* extension[code].value[x] only Coding
* extension[document].value[x] only string
* extension[led-by].value[x] only Reference
* extension[where].value[x] only string
* extension[site].value[x] only Reference
* extension[by].value[x] only Reference
* extension[written].value[x] only dateTime

Extension: ContingencyDetail
Id: contingency-detail
Title: "More of one of the words of a contingency plan"
Description: "Which of them it is about, the words again, the code they have, and from when to when they hold."
Context: CarePlan
* extension contains
    of 0..1 and
    text 0..1 and
    code 0..1 and
    period 0..1
* extension[of].value[x] only code
* extension[text].value[x] only string
* extension[code].value[x] only Coding
* extension[period].value[x] only Period

Extension: AnticipatoryItem
Id: anticipatory-item
Title: "A medicine or thing kept ready"
Description: "What it is, and where it is kept."
Context: CarePlan
* extension contains
    item 0..1 and
    where 0..1
* extension[item].value[x] only string
* extension[where].value[x] only string

// -- unmet needs ------------------------------------------------------------------------------------------------------

Extension: UnmetNeedReason
Id: unmet-need-reason
Title: "Why it could not be had"
Description: "Not available, not affordable, a waiting list, not accessible, declined: in words."
Context: ServiceRequest
* value[x] 1..1
* value[x] only string

// -- the wheel --------------------------------------------------------------------------------------------------------

Extension: WheelNext
Id: wheel-next
Title: "Where the person would like this spoke to be"
Description: "From 0 to 10, beside how it is now."
Context: Observation.component
* value[x] 1..1
* value[x] only integer

// -- a decision -------------------------------------------------------------------------------------------------------

Extension: OptionFor
Id: option-for
Title: "What speaks for this option"
Description: "In the person's words, or in those of whoever explained it."
Context: Observation.component
* value[x] 1..1
* value[x] only string

Extension: OptionAgainst
Id: option-against
Title: "What speaks against this option"
Description: "In the person's words, or in those of whoever explained it."
Context: Observation.component
* value[x] 1..1
* value[x] only string

// -- people -----------------------------------------------------------------------------------------------------------

RuleSet: YesOrNo
* value[x] 1..1
* value[x] only boolean

Extension: Carer
Id: carer
Title: "Cares for the person"
Description: "Whether this person cares for them, paid or not."
Context: RelatedPerson
* insert YesOrNo

Extension: NextOfKin
Id: next-of-kin
Title: "Next of kin"
Description: "Whether this is the person's next of kin."
Context: RelatedPerson
* insert YesOrNo

Extension: ContactRole
Id: contact-role
Title: "What somebody is to the person, besides kin"
Description: "In words: `lasting power of attorney`, `emergency contact`, `advocate`. It gives nobody a right."
Context: RelatedPerson
* value[x] 1..1
* value[x] only string

Extension: ContactComment
Id: contact-comment
Title: "What else to know of a contact"
Description: "In words."
Context: RelatedPerson
* value[x] 1..1
* value[x] only string

Extension: ContactPreference
Id: contact-preference
Title: "How the person wants to be reached"
Description: "In words."
Context: Patient
* value[x] 1..1
* value[x] only string

Extension: ReasonableAdjustment
Id: reasonable-adjustment
Title: "A reasonable adjustment"
Description: "What others do so that the person can be seen, heard and understood."
Context: Patient
* value[x] 1..1
* value[x] only string

Extension: KeyWorker
Id: key-worker
Title: "Key worker"
Description: "Whether this member of the team is the person's key worker."
Context: CareTeam.participant
* insert YesOrNo

Extension: TeamPerson
Id: team-person
Title: "Who in the organisation"
Description: "The person, where the member of the team is their organisation."
Context: CareTeam.participant
* value[x] 1..1
* value[x] only Reference

Extension: TeamPhone
Id: team-phone
Title: "Telephone of a member of the team"
Description: "How to call them: in the team, and where a plan for a crisis names them."
Context: CareTeam.participant, Reference
* value[x] 1..1
* value[x] only ContactPoint

Extension: TeamEmail
Id: team-email
Title: "E-mail of a member of the team"
Description: "How to write to them."
Context: CareTeam.participant
* value[x] 1..1
* value[x] only ContactPoint

Extension: TeamDetails
Id: team-details
Title: "More of a member of the team"
Description: "The team they work in, their speciality and grade, and the number by which their profession knows them."
Context: CareTeam.participant
* extension contains
    team 0..1 and
    speciality 0..1 and
    grade 0..1 and
    professional-id 0..1
* extension[team].value[x] only string
* extension[speciality].value[x] only string
* extension[grade].value[x] only string
* extension[professional-id].value[x] only string

Extension: PlanMember
Id: plan-member
Title: "Which member of the plan's team"
Description: "The local id that the plan gives this member."
Context: CareTeam.participant, Reference
* value[x] 1..1
* value[x] only string

Extension: Sector
Id: sector
Title: "The sector of an organisation"
Description: "Health, social care, voluntary ...: as the plan says."
Context: Reference
* value[x] 1..1
* value[x] only code

// -- what an operator keeps on a person's record ----------------------------------------------------------------------

Extension: NationalDataOptOut
Id: national-data-opt-out
Title: "National data opt-out"
Description: "The person has opted out of uses beyond their own care."
Context: Patient
* insert YesOrNo

Extension: NoNotify
Id: no-notify
Title: "Not to be told"
Description: "The person is not told of emergency access, since that could harm them."
Context: Patient
* insert YesOrNo

Extension: CapacityLost
Id: capacity-lost
Title: "Cannot decide"
Description: "The person cannot decide for themselves; whoever may decide for them does. Counts only from an operator."
Context: Patient
* insert YesOrNo

Extension: SafeguardingProxy
Id: safeguarding-proxy
Title: "May not act for the person"
Description: "Somebody who may not speak for the person, for their safety."
Context: Patient
* value[x] 1..1
* value[x] only Reference

// -- consent ----------------------------------------------------------------------------------------------------------

Extension: ConsentWords
Id: consent-words
Title: "The sentence that the person agreed to"
Description: "As it stood on the page when they chose."
Context: Consent.provision, Consent.provision.provision
* value[x] 1..1
* value[x] only string

Extension: ConsentWhy
Id: consent-why
Title: "The person's own reason"
Description: "Why they chose so, where they said."
Context: Consent.provision, Consent.provision.provision
* value[x] 1..1
* value[x] only string

Extension: ConsentSupersedes
Id: consent-supersedes
Title: "The consent that ends with this one"
Description: "When this Consent is written, that one becomes inactive in the same commit."
Context: Consent
* value[x] 1..1
* value[x] only Reference(Consent)

Extension: ConsentPresent
Id: consent-present
Title: "Who was there"
Description: "Somebody who was there when a consent that staff write down was checked with whoever gave it."
Context: Consent.verification
* value[x] 1..1
* value[x] only Reference(Patient or Practitioner or PractitionerRole or RelatedPerson)

// -- scores -----------------------------------------------------------------------------------------------------------

Extension: Instrument
Id: instrument
Title: "The instrument of a score"
Description: "Which version of it, by which national value set, and who holds the licence: without these a score means nothing elsewhere. No wording of it is kept. Its name is Observation.method."
Context: Observation
* extension contains
    version 0..1 and
    value-set 0..1 and
    licence-holder 0..1
* extension[version].value[x] only string
* extension[value-set].value[x] only string
* extension[licence-holder].value[x] only string

// -- medicines --------------------------------------------------------------------------------------------------------

Extension: MedicineChange
Id: medicine-change
Title: "What was changed about a medicine"
Description: "New, changed, stopped, paused or unchanged; why; what was changed; how it was taken before; when and by whom."
Context: MedicationStatement, MedicationRequest
* extension contains
    kind 0..1 and
    reason 0..1 and
    what 0..1 and
    was 0..1 and
    on 0..1 and
    by 0..1
* extension[kind].value[x] only code
* extension[reason].value[x] only string
* extension[what].value[x] only string
* extension[was].value[x] only string
* extension[on].value[x] only dateTime
* extension[by].value[x] only Reference
